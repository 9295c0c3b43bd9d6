//! The server's side of the state-of-the-world protocol for one stream, without sockets, tasks or clocks.
//!
//! As the delta machine ([`super::machine`]), it compares what the client was sent with a snapshot of the cache when it is
//! asked. Per type one answer is under way at most; what changes meanwhile is in the next one.
//!
//! # What a client is told of what it does not get
//!
//! Names that it asks for anew and that do not exist, or that it is not permitted to see, are in `resource_errors`
//! (NOT_FOUND, PERMISSION_DENIED), once. Of types whose answers hold everything, absence says it as well. A name that goes
//! later is not told of the other types: a client may still be referred to it by what it has yet to replace. A type that is
//! not served is as one that is empty.
//!
//! # Times to live
//!
//! They are sent to clients that say that they understand the wrapper they need, with the version of the answer in it: Envoy
//! knows a heartbeat by that. Of the types whose answers hold everything, a heartbeat is the whole answer once more, for
//! what is absent from one is deleted, and Envoy passes over what has no body.

mod subscription;

use std::sync::Arc;
use std::time::Instant;

use prost::Message;

use self::subscription::{Due, Subscription};
use super::cache::{Entry, Snapshot};
use super::error::{Error, check_names, check_type};
use super::ledger::{Heard, Progress};
use super::machine::pb_duration;
use super::node::understands_wrapper;
use super::protocol::{Core, Protocol};
use super::rules::Rules;
use super::visible::Visible;
use crate::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, is_full_state};
use crate::limits::MAX_SUBSCRIBED_NAMES;
use crate::pb::discovery::{DiscoveryRequest, DiscoveryResponse, Resource};
use crate::pb::{self, Any, Node};

/// What wraps a resource that has a time to live.
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Machine {
    core: Core<Subscription>,
    /// Whether the client understands resources with a wrapper.
    wraps: bool,
}

impl Machine {
    /// A stream that is served by these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { core: Core::new(rules), wraps: false }
    }

    /// Says what time it is. Before it is said once, no heartbeat is due.
    pub fn advance(&mut self, now: Instant) {
        self.core.clock.advance(now);
    }

    /// A request came: a subscription, a change of it, an acknowledgement, or both.
    ///
    /// # Errors
    /// [`Error`]: the stream must be ended.
    pub fn handle_request(&mut self, request: &DiscoveryRequest) -> Result<Heard, Error> {
        let type_url = &request.type_url;
        let core = &mut self.core;
        let first = !core.types.contains_key(type_url);
        check_type(type_url, (core.types.len(), !first))?;
        check_names(type_url, &request.resource_names)?;
        if request.resource_names.len() > MAX_SUBSCRIBED_NAMES {
            return Err(Error::TooManyNames(type_url.clone()));
        }
        self.wraps |= request.node.as_ref().is_some_and(understands_wrapper);
        let subscription = core.types.entry(type_url.clone()).or_default();
        if first {
            subscription.begin(!core.rules.is_named_only(type_url));
        } else if !subscription.ledger.is_newest(&request.response_nonce) {
            // About an answer that is not the last one. A later request says the same again.
            return Ok(Heard::Nothing);
        }
        subscription.set_names(&request.resource_names);
        Ok(subscription.ledger.answer(&request.response_nonce, request.error_detail.as_ref(), core.clock.seconds()))
    }

    /// The next answer that is due against this snapshot, types in the order given; `None`: the client has all, or has yet to
    /// answer what it was sent.
    ///
    /// Of Envoy's types, listeners and routes wait for clusters and endpoints, and what is gone for all of them, as in the
    /// delta machine ([`super::machine::Machine::poll_response`]): when a route moves from one cluster to another, the client
    /// first has both. Who does not want to wait any longer ([`Machine::is_holding`]) says so by `patient`.
    ///
    /// A cluster that is new or changed brings its endpoints once more: Envoy warms it anew, and what it asks for then looks
    /// like an acknowledgement.
    pub fn poll_response(&mut self, snapshot: &Snapshot, order: &[&str], patient: bool) -> Option<DiscoveryResponse> {
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

    fn answer(&mut self, type_url: &str, resources: &[(Arc<str>, Entry)], bodies: bool) -> DiscoveryResponse {
        let core = &mut self.core;
        core.nonces += 1;
        let mut version_info = String::new();
        if let Some(subscription) = core.types.get_mut(type_url) {
            subscription.ledger.close(core.nonces);
            version_info = subscription.version();
            for (name, entry) in resources {
                subscription.heartbeats.heard(name, entry.ttl.filter(|_| self.wraps), core.clock.now());
            }
        }
        let any = |(name, entry): &(Arc<str>, Entry)| match entry.ttl {
            Some(ttl) if self.wraps => {
                let body = Any { type_url: type_url.to_owned(), value: entry.body.to_vec() };
                let resource = Resource {
                    name: name.as_ref().to_owned(),
                    version: version_info.clone(),
                    ttl: Some(pb_duration(ttl)),
                    resource: bodies.then_some(body),
                    ..Resource::default()
                };
                Any { type_url: WRAPPER.to_owned(), value: resource.encode_to_vec() }
            }
            _ => Any { type_url: type_url.to_owned(), value: entry.body.to_vec() },
        };
        let resources = resources.iter().map(any).collect();
        let nonce = core.nonces.to_string();
        DiscoveryResponse {
            version_info,
            resources,
            type_url: type_url.to_owned(),
            nonce,
            ..DiscoveryResponse::default()
        }
    }
}

impl Protocol for Machine {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
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

    fn handle_request(&mut self, request: &DiscoveryRequest) -> Result<Heard, Error> {
        Self::handle_request(self, request)
    }

    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, gone: bool) -> Option<DiscoveryResponse> {
        let core = &mut self.core;
        let subscription = core.types.get_mut(type_url)?;
        if subscription.ledger.is_waiting() {
            return None;
        }
        let visible = Visible::new(snapshot, type_url, core.rules.permissions.as_deref());
        if type_url == ENDPOINT_TYPE {
            subscription.repeat(core.precedence.take_warming());
        }
        let what = (is_full_state(type_url), gone, core.precedence.pardoned());
        let Due { resources, new, errors } = subscription.due(visible, what, (core.nonces + 1, &core.clock))?;
        if type_url == CLUSTER_TYPE {
            core.precedence.sent_clusters(&core.types, new.iter().filter_map(|name| visible.get(name)));
        }
        let answer = self.answer(type_url, &resources, true);
        Some(DiscoveryResponse { resource_errors: errors, ..answer })
    }

    fn poll_heartbeat(&mut self, type_url: &str, snapshot: &Snapshot) -> Option<DiscoveryResponse> {
        let core = &mut self.core;
        let subscription = core.types.get_mut(type_url)?;
        if subscription.ledger.is_waiting() {
            return None;
        }
        let now = core.clock.now();
        let visible = Visible::new(snapshot, type_url, core.rules.permissions.as_deref());
        let names = subscription.heartbeats.take(now);
        let living = names.iter().filter_map(|name| visible.get(name));
        let living = living.filter(|(name, entry)| subscription.ledger.version(name) == Some(&entry.version));
        let mut resources: Vec<_> = living.map(|(name, entry)| (Arc::clone(name), entry.clone())).collect();
        if resources.is_empty() {
            return None;
        }
        let full_state = is_full_state(type_url);
        if full_state {
            let all = subscription.ledger.iter();
            resources = all.map(|(name, entry)| (Arc::clone(name), entry.clone())).collect();
        }
        Some(self.answer(type_url, &resources, full_state))
    }

    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn told(response: &DiscoveryResponse) -> (&str, usize, usize, usize) {
        (&response.type_url, response.resources.len(), 0, response.encoded_len())
    }

    fn said(request: &DiscoveryRequest) -> (&str, Option<&pb::Status>) {
        (&request.type_url, request.error_detail.as_ref())
    }
}
