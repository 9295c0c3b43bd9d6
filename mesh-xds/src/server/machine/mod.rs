//! The server's side of the delta protocol for one stream, without sockets, tasks or clocks.
//!
//! The machine compares what the client was sent with a snapshot of the cache whenever it is asked, so nothing is queued
//! per client: one that reads slowly gets the newest state when it reads, however many changes it missed.
//!
//! # What a client is told of what it does not get
//!
//! A name that it asked for and that does not exist is in `removed_resources`, for clients that know nothing else, and in
//! `resource_errors` with NOT_FOUND; one that it is not permitted to see is in both with PERMISSION_DENIED. What it holds and
//! may not see any more is in `removed_resources`. A type that is not served is answered as one that is empty: istiod says
//! nothing of such a type, and an Envoy that asks for it waits out its `initial_fetch_timeout` before it begins to serve.

mod subscription;

use std::time::Instant;

use prost::Message;

use super::cache::{Entry, Snapshot};
pub use super::error::Error;
use super::error::{check_names, check_type};
pub use super::ledger::{Heard, Progress};
use super::limits::MAX_HELD;
pub use super::node::{node_key, node_name};
use super::protocol::{Core, Protocol};
use super::rules::Rules;
use super::visible::Visible;
use crate::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE};
use crate::limits::MAX_SUBSCRIBED_NAMES;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::pb::{self, Any, Node};
use subscription::Subscription;

/// The wildcard name.
pub(super) const WILDCARD: &str = "*";

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Machine {
    core: Core<Subscription>,
    /// What comes to the client unasked: the key of its node.
    implied: Option<String>,
}

impl Machine {
    /// A stream that is served by these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { core: Core::new(rules), implied: None }
    }

    /// Says what time it is. Before it is said once, no heartbeat is due.
    pub fn advance(&mut self, now: Instant) {
        self.core.clock.advance(now);
    }

    /// A request came: a subscription, a change of it, an acknowledgement, or several of these.
    ///
    /// # Errors
    /// [`Error`]: the stream must be ended.
    pub fn handle_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<Heard, Error> {
        let type_url = &request.type_url;
        let core = &mut self.core;
        let first = !core.types.contains_key(type_url);
        check_type(type_url, (core.types.len(), !first))?;
        check_names(type_url, &request.resource_names_subscribe)?;
        check_names(type_url, request.initial_resource_versions.keys())?;
        if request.initial_resource_versions.len() > MAX_HELD {
            return Err(Error::TooManyHeld(type_url.clone()));
        }
        if let Some(name) = request.node.as_ref().and_then(node_name)
            && self.implied.is_none()
        {
            self.implied = Some(node_key(name));
        }
        let subscription = core.types.entry(type_url.clone()).or_default();
        if first {
            // The old form of the wildcard: a first request that names nothing.
            let wildcard = request.resource_names_subscribe.is_empty() && !core.rules.is_named_only(type_url);
            subscription.begin(wildcard, &request.initial_resource_versions);
        }
        // Before the names that are given up: a client that subscribes to nothing sends `*` in both lists.
        subscription.subscribe(&request.resource_names_subscribe);
        subscription.unsubscribe(&request.resource_names_unsubscribe, first);
        if subscription.asked() > MAX_SUBSCRIBED_NAMES {
            return Err(Error::TooManyNames(type_url.clone()));
        }
        // A nonce only says which answer is meant; subscriptions count even when it is old.
        Ok(subscription.ledger.answer(&request.response_nonce, request.error_detail.as_ref(), core.clock.seconds()))
    }

    /// The next answer that is due against this snapshot; `None`: the client has all.
    ///
    /// What is new comes first, types in the order given, and what is gone after it: when a workload changes from one policy
    /// to another, the client gets the new policy, then the workload, and loses the old policy last. Also after a
    /// reconnect, when both were asked for before the first answer.
    ///
    /// Envoy's own types (clusters, endpoints, listeners, routes) come in this order whatever the one given says of them, and
    /// wait: listeners and routes until the client has accepted the clusters and their first endpoints, routes also until it
    /// has accepted the listeners. What is gone waits until it has accepted everything else, and goes the other way, from
    /// listeners to endpoints, each when the client has accepted the removal before it. Who does not want to wait any longer
    /// ([`Machine::is_holding`]) says so by `patient`.
    ///
    /// A cluster or endpoints that the client rejected hold listeners and routes as long as that, and once. Removals of that to
    /// which something rejected may lead stay without regard to `patient`, for a version before it is still in use, until the
    /// client accepts another or it is gone itself; nothing leads to listeners. Which resources of an answer a client means
    /// the protocol does not say, so all of it count as rejected.
    ///
    /// A cluster that was sent brings its endpoints once more: Envoy warms it anew, and does not ask for what it holds.
    pub fn poll_response(
        &mut self,
        snapshot: &Snapshot,
        order: &[&str],
        patient: bool,
    ) -> Option<DeltaDiscoveryResponse> {
        Protocol::poll_response(self, snapshot, order, patient)
    }

    /// Whether an answer waits for the client to accept another first.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.core.holding
    }

    /// When the client must hear next that its resources live on, though nothing changes.
    #[must_use]
    pub fn next_heartbeat(&self) -> Option<Instant> {
        self.core.next_heartbeat()
    }

    /// How far the client is with each type it asked for.
    pub fn progress(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.core.progress()
    }

    fn close(&mut self, type_url: &str, answer: DeltaDiscoveryResponse) -> DeltaDiscoveryResponse {
        let core = &mut self.core;
        core.nonces += 1;
        if let Some(subscription) = core.types.get_mut(type_url) {
            subscription.ledger.close(core.nonces);
        }
        DeltaDiscoveryResponse { type_url: type_url.to_owned(), nonce: core.nonces.to_string(), ..answer }
    }
}

impl Protocol for Machine {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    type Subscription = Subscription;

    fn open(rules: Rules) -> Self {
        Self::new(rules)
    }

    fn core(&self) -> &Core<Subscription> {
        &self.core
    }

    fn core_mut(&mut self) -> &mut Core<Subscription> {
        &mut self.core
    }

    fn handle_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<Heard, Error> {
        Self::handle_request(self, request)
    }

    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, gone: bool) -> Option<DeltaDiscoveryResponse> {
        let core = &mut self.core;
        let subscription = core.types.get_mut(type_url)?;
        let visible = Visible::new(snapshot, type_url, core.rules.permissions.as_deref());
        if type_url == ENDPOINT_TYPE {
            subscription.repeat(core.precedence.take_warming());
        }
        let resources = subscription.difference(visible, self.implied.as_deref(), (core.nonces + 1, &core.clock));
        let first = std::mem::take(&mut subscription.first);
        let mut removed = std::mem::take(&mut subscription.absent);
        if gone {
            removed.append(&mut subscription.gone);
        }
        if resources.is_empty() && removed.is_empty() && !first {
            return None;
        }
        let errors = removed.iter().filter(|name| subscription.names.contains(*name) && visible.find(name).is_none());
        let resource_errors = errors.map(|name| visible.absence(name)).collect();
        if type_url == CLUSTER_TYPE {
            core.precedence.sent_clusters(&core.types, resources.iter().map(|(name, entry)| (name, entry)));
        }
        let resources = resources.into_iter().map(|(name, entry)| resource(type_url, &name, &entry)).collect();
        let answer = DeltaDiscoveryResponse {
            resources,
            removed_resources: removed.into_iter().collect(),
            resource_errors,
            ..DeltaDiscoveryResponse::default()
        };
        Some(self.close(type_url, answer))
    }

    fn poll_heartbeat(&mut self, type_url: &str, snapshot: &Snapshot) -> Option<DeltaDiscoveryResponse> {
        let core = &mut self.core;
        let subscription = core.types.get_mut(type_url)?;
        let visible = Visible::new(snapshot, type_url, core.rules.permissions.as_deref());
        let now = core.clock.now();
        let mut resources = Vec::new();
        for name in subscription.heartbeats.take(now) {
            let Some((_, entry)) = visible.get(&name) else { continue };
            if entry.ttl.is_some() && subscription.ledger.version(&name) == Some(&entry.version) {
                subscription.heartbeats.heard(&name, entry.ttl, now);
                resources.push(heartbeat(&name, entry));
            }
        }
        if resources.is_empty() {
            return None;
        }
        Some(self.close(type_url, DeltaDiscoveryResponse { resources, ..DeltaDiscoveryResponse::default() }))
    }

    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn told(response: &DeltaDiscoveryResponse) -> (&str, usize, usize, usize) {
        let (resources, removed) = (response.resources.len(), response.removed_resources.len());
        (&response.type_url, resources, removed, response.encoded_len())
    }

    fn said(request: &DeltaDiscoveryRequest) -> (&str, Option<&pb::Status>) {
        (&request.type_url, request.error_detail.as_ref())
    }
}

fn resource(type_url: &str, name: &str, entry: &Entry) -> Resource {
    let body = Any { type_url: type_url.to_owned(), value: entry.body.to_vec() };
    Resource { resource: Some(body), aliases: entry.aliases.to_vec(), ..heartbeat(name, entry) }
}

/// A resource without a body: the client goes on with the one that it has.
fn heartbeat(name: &str, entry: &Entry) -> Resource {
    Resource {
        name: name.to_owned(),
        version: entry.version.as_ref().to_owned(),
        ttl: entry.ttl.map(pb_duration),
        ..Resource::default()
    }
}

/// A duration as a message.
pub(super) fn pb_duration(duration: std::time::Duration) -> pb::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    pb::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default() }
}
