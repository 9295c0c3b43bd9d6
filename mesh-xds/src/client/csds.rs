//! What a client believes, asked by gRPC's client status discovery service: each resource as it was received, its version, and
//! what was rejected last. gRFC A40.

use std::pin::Pin;

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ClientStatusResponse};
use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::known::{Known, WatchError};
use super::watch::Client;
use crate::pb::{Any, Node, timestamp};

/// The client status discovery service of a [`Client`].
#[derive(Debug, Clone)]
pub struct StatusService {
    client: Client,
    node: Node,
}

impl StatusService {
    /// A service that tells what a client believes; `node`: as whom it speaks to its servers.
    #[must_use]
    pub fn new(client: Client, node: Node) -> Self {
        Self { client, node }
    }

    /// The tonic server.
    #[must_use]
    pub fn server(self) -> ClientStatusDiscoveryServiceServer<Self> {
        ClientStatusDiscoveryServiceServer::new(self)
    }

    fn answer(&self, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
        if !request.node_matchers.is_empty() {
            return Err(Status::invalid_argument("a client knows one node: node_matchers must be empty"));
        }
        let dumps = self.client.registries().iter().flat_map(super::registry::Registry::dump);
        let one = |(type_url, name, known): (&str, String, std::sync::Arc<Known>)| {
            config(type_url, name, &known, request.exclude_resource_contents)
        };
        let mut configs: Vec<GenericXdsConfig> = dumps.map(one).collect();
        configs.sort_by(|one, other| (&one.type_url, &one.name).cmp(&(&other.type_url, &other.name)));
        let config =
            ClientConfig { node: Some(self.node.clone()), generic_xds_configs: configs, ..ClientConfig::default() };
        Ok(ClientStatusResponse { config: vec![config] })
    }
}

fn config(type_url: &str, name: String, known: &Known, without_content: bool) -> GenericXdsConfig {
    let content = |body: &[u8]| {
        (!without_content && !body.is_empty()).then(|| Any { type_url: type_url.to_owned(), value: body.to_vec() })
    };
    let failed = known.refused.as_ref().map(|refused| UpdateFailureState {
        failed_configuration: content(&refused.body),
        last_update_attempt: timestamp(refused.at),
        details: known.error.as_ref().map(ToString::to_string).unwrap_or_default(),
        version_info: refused.version.clone(),
    });
    GenericXdsConfig {
        type_url: type_url.to_owned(),
        name,
        version_info: known.version.to_string(),
        xds_config: content(&known.body),
        last_updated: known.received.and_then(timestamp),
        client_status: status(known).into(),
        error_state: failed,
        ..GenericXdsConfig::default()
    }
}

fn status(known: &Known) -> ClientResourceStatus {
    match known.error.as_deref() {
        Some(WatchError::Rejected(_)) => ClientResourceStatus::Nacked,
        Some(WatchError::NotFound) => ClientResourceStatus::DoesNotExist,
        Some(WatchError::Server { .. }) => ClientResourceStatus::ReceivedError,
        Some(WatchError::Silence) => ClientResourceStatus::Timeout,
        _ if known.value.is_some() => ClientResourceStatus::Acked,
        _ => ClientResourceStatus::Requested,
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for StatusService {
    type StreamClientStatusStream = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Status>> + Send>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let service = self.clone();
        let answers = request.into_inner().map(move |request| service.answer(&request?));
        Ok(Response::new(answers.boxed()))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        self.answer(request.get_ref()).map(Response::new)
    }
}
