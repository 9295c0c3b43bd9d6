//! The client status discovery service (`envoy.service.status.v3`): what every connected client was sent, and what it said
//! to it.
//!
//! One answer per request, not a watch. `config_status` says how what is served now stands with the client: SYNCED, it has
//! accepted it; STALE, it was sent it and has not answered; ERROR, it rejected the answer that held it (which resources of
//! the answer it meant, the protocol does not say); NOT_SENT, it was not sent it, or there is nothing to send by that name.
//! `version_info` is what the client accepted last, `xds_config` what is served now. The contents of secrets are never shown.

mod matcher;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use self::matcher::Matcher;
use super::ledger::Seconds;
use super::limits::MAX_STATUS_BYTES;
use super::registry::Served;
use super::service::Inner;
use super::told::{self, Told};
use crate::envoy::SECRET_TYPE;
use crate::pb::status::client_config::GenericXdsConfig;
use crate::pb::status::client_status_discovery_service_server::ClientStatusDiscoveryService;
use crate::pb::status::{ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus};
use crate::pb::{Any, UpdateFailureState, timestamp};

/// The client status discovery service of a [`Service`](super::Service).
#[derive(Clone)]
pub struct StatusService {
    inner: Arc<Inner>,
    clock: fn() -> SystemTime,
}

impl fmt::Debug for StatusService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusService").field(&self.inner).finish()
    }
}

impl StatusService {
    pub(super) fn new(inner: Arc<Inner>, clock: fn() -> SystemTime) -> Self {
        Self { inner, clock }
    }

    /// Every client that one of the matchers means; without matchers, every client.
    fn answer(&self, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
        let matchers: Result<Vec<_>, _> = request.node_matchers.iter().map(Matcher::new).collect();
        let matchers = matchers.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut room = MAX_STATUS_BYTES;
        let mut config = Vec::new();
        for peer in self.inner.registry.peers() {
            // A stream that has not asked for anything has no node.
            let Some(served) = peer.served.get() else { continue };
            if matchers.is_empty() || matchers.iter().any(|matcher| matcher.is_match(&served.node)) {
                config.push(self.client(served, !request.exclude_resource_contents, &mut room)?);
            }
        }
        Ok(ClientStatusResponse { config })
    }

    fn client(&self, served: &Served, contents: bool, room: &mut usize) -> Result<ClientConfig, Status> {
        let snapshot = served.cache.live().snapshot();
        // The wall time at which the stream was opened.
        let began = (self.clock)().checked_sub(Instant::now().duration_since(served.since));
        let mut generic_xds_configs = Vec::new();
        let left = room.checked_sub(served.node.encoded_len());
        let mut full = left.is_none();
        *room = left.unwrap_or_default();
        served.machine.lock().visit(&snapshot, &mut |told| {
            let shown = contents && told.type_url != SECRET_TYPE;
            let body = told.entry.filter(|_| shown).map_or(0, |entry| entry.body.len());
            let reason = told.rejection.as_ref().map_or(0, |rejection| rejection.reason.len());
            match room.checked_sub(told.type_url.len() + told.name.len() + body + reason) {
                Some(left) if !full => {
                    *room = left;
                    generic_xds_configs.push(config(&told, shown, began));
                }
                _ => full = true,
            }
        });
        if full {
            return Err(Status::resource_exhausted(
                "too much for one answer: ask for fewer clients, or without contents",
            ));
        }
        generic_xds_configs.sort_by(|a, b| (&a.type_url, &a.name).cmp(&(&b.type_url, &b.name)));
        Ok(ClientConfig { node: Some(served.node.clone()), generic_xds_configs, ..ClientConfig::default() })
    }

    fn check(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<(), Status> {
        self.inner.access.inspect(metadata, extensions)
    }
}

fn config(told: &Told<'_>, shown: bool, began: Option<SystemTime>) -> GenericXdsConfig {
    let at = |seconds: Seconds| timestamp(began?.checked_add(Duration::from_secs(seconds.into()))?);
    let text = |version: Option<&Arc<str>>| version.map(|version| version.as_ref().to_owned()).unwrap_or_default();
    let error_state = told.rejection.as_ref().map(|rejection| UpdateFailureState {
        failed_configuration: None,
        last_update_attempt: at(rejection.at),
        details: rejection.reason.as_ref().to_owned(),
        version_info: text(told.sent),
    });
    let status = match told.status {
        told::Status::Synced => ConfigStatus::Synced,
        told::Status::NotSent => ConfigStatus::NotSent,
        told::Status::Stale => ConfigStatus::Stale,
        told::Status::Error => ConfigStatus::Error,
    };
    let body = told.entry.filter(|_| shown).map(|entry| entry.body.to_vec());
    GenericXdsConfig {
        type_url: told.type_url.to_owned(),
        name: told.name.to_owned(),
        version_info: text(told.accepted),
        xds_config: body.map(|value| Any { type_url: told.type_url.to_owned(), value }),
        last_updated: told.at.and_then(at),
        config_status: status.into(),
        error_state,
        ..GenericXdsConfig::default()
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for StatusService {
    type StreamClientStatusStream = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Status>> + Send>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        self.check(request.metadata(), request.extensions())?;
        let service = self.clone();
        // Ends after the first request that cannot be answered.
        let answers = request.into_inner().scan(false, move |failed, request| {
            let answer = (!*failed).then(|| request.and_then(|request| service.answer(&request)));
            *failed = answer.as_ref().is_none_or(Result::is_err);
            std::future::ready(answer)
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        self.check(request.metadata(), request.extensions())?;
        self.answer(request.get_ref()).map(Response::new)
    }
}
