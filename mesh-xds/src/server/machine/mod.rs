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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::cache::{Entry, Snapshot};
pub use super::error::Error;
use super::error::{check_names, check_type};
pub use super::ledger::{Heard, Progress};
use super::limits::MAX_HELD;
pub use super::node::node_key;
use super::node::node_name;
use super::precedence::{self, Subscribed};
use super::rules::{Clock, Rules};
use super::told::{self, Told};
use super::visible::Visible;
use crate::limits::MAX_SUBSCRIBED_NAMES;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::pb::{self, Any};
use subscription::Subscription;

/// The wildcard name.
pub(super) const WILDCARD: &str = "*";

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Machine {
    rules: Rules,
    clock: Clock,
    types: BTreeMap<String, Subscription>,
    /// What comes to the client unasked: the key of its node.
    implied: Option<String>,
    /// Clusters that were sent and whose endpoints the client waits for again.
    warming: BTreeSet<Arc<str>>,
    nonces: u64,
    holding: bool,
}

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Resources that are new or changed; names that are gone wait.
    New,
    /// Names that are gone as well.
    Both,
}

impl Machine {
    /// A stream that is served by these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Says what time it is. Before it is said once, no heartbeat is due.
    pub fn advance(&mut self, now: Instant) {
        self.clock.advance(now);
    }

    /// A request came: a subscription, a change of it, an acknowledgement, or several of these.
    ///
    /// # Errors
    /// [`Error`]: the stream must be ended.
    pub fn handle_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<Heard, Error> {
        let type_url = &request.type_url;
        let first = !self.types.contains_key(type_url);
        check_type(type_url, (self.types.len(), !first))?;
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
        let subscription = self.types.entry(type_url.clone()).or_default();
        if first {
            // The old form of the wildcard: a first request that names nothing.
            let wildcard = request.resource_names_subscribe.is_empty() && !self.rules.is_named_only(type_url);
            subscription.begin(type_url == precedence::CLUSTER, wildcard, &request.initial_resource_versions);
        }
        // Before the names that are given up: a client that subscribes to nothing sends `*` in both lists.
        subscription.subscribe(&request.resource_names_subscribe);
        subscription.unsubscribe(&request.resource_names_unsubscribe, first);
        if subscription.asked() > MAX_SUBSCRIBED_NAMES {
            return Err(Error::TooManyNames(type_url.clone()));
        }
        // A nonce only says which answer is meant; subscriptions count even when it is old.
        Ok(subscription.ledger.answer(&request.response_nonce, request.error_detail.as_ref(), self.clock.seconds()))
    }

    /// The next answer that is due against this snapshot; `None`: the client has all.
    ///
    /// What is new comes first, types in the order given, and what is gone after it: when a workload changes from one policy
    /// to another, the client gets the new policy, then the workload, and loses the old policy last. Also after a
    /// reconnect, when both were asked for before the first answer.
    ///
    /// Envoy's own types also wait until the client has accepted those before them (clusters, endpoints, listeners, routes), and
    /// their removals for all of them. Who does not want to wait any longer ([`Machine::is_holding`]) says so by `patient`.
    ///
    /// A cluster that was sent brings its endpoints once more: Envoy warms it anew, and does not ask for what it holds.
    pub fn poll_response(
        &mut self,
        snapshot: &Snapshot,
        order: &[&str],
        patient: bool,
    ) -> Option<DeltaDiscoveryResponse> {
        let urls = precedence::sorted(&self.types, order);
        let permissions = self.rules.permissions.clone();
        let endpoints = Visible::new(snapshot, precedence::ENDPOINTS, permissions.as_deref());
        // What comes last may lose and gain in one answer.
        let phase = |url: &String| match order.split_last() {
            Some((_, before)) if before.contains(&url.as_str()) => Phase::New,
            _ if precedence::is_chained(url) => Phase::New,
            _ => Phase::Both,
        };
        self.holding = false;
        if !patient {
            self.types.values_mut().for_each(|subscription| subscription.introduced.clear());
        }
        for url in &urls {
            if patient && precedence::must_wait(&self.types, url, endpoints) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, phase(url)) {
                return Some(answer);
            }
        }
        for url in &urls {
            if !self.types.get(url).is_some_and(Subscribed::loses) {
                continue;
            }
            if patient && precedence::must_stay(&self.types, url, endpoints, self.holding) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, Phase::Both) {
                return Some(answer);
            }
        }
        urls.iter().find_map(|url| self.poll_heartbeat(url, snapshot))
    }

    /// Whether an answer waits for the client to accept another first.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// When the client must hear next that its resources live on, though nothing changes.
    #[must_use]
    pub fn next_heartbeat(&self) -> Option<Instant> {
        self.types.values().filter_map(|subscription| subscription.heartbeats.next()).min()
    }

    /// How far the client is with each type it asked for.
    pub fn progress(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.types.iter().map(|(url, subscription)| (url.as_str(), subscription.ledger.progress()))
    }

    /// How every resource that the client asked for stands with it.
    pub(super) fn visit(&self, snapshot: &Snapshot, visit: &mut dyn FnMut(Told<'_>)) {
        for (url, subscription) in &self.types {
            let visible = Visible::new(snapshot, url, self.rules.permissions.as_deref());
            told::visit(url, visible, (subscription.wildcard, &subscription.names), &subscription.ledger, visit);
        }
    }

    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, phase: Phase) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.types.get_mut(type_url)?;
        let visible = Visible::new(snapshot, type_url, self.rules.permissions.as_deref());
        if type_url == precedence::ENDPOINTS {
            subscription.repeat(std::mem::take(&mut self.warming));
        }
        let nonce = self.nonces + 1;
        let resources = subscription.difference(visible, self.implied.as_deref(), (nonce, &self.clock));
        let first = std::mem::take(&mut subscription.first);
        let mut removed = std::mem::take(&mut subscription.absent);
        if phase == Phase::Both {
            removed.append(&mut subscription.gone);
        }
        if resources.is_empty() && removed.is_empty() && !first {
            return None;
        }
        if type_url == precedence::CLUSTER {
            self.warming.extend(resources.iter().map(|(name, _)| Arc::clone(name)));
            self.warming.retain(|name| subscription.ledger.contains(name));
        }
        let errors = removed.iter().filter(|name| subscription.names.contains(*name) && visible.find(name).is_none());
        let resource_errors = errors.map(|name| visible.absence(name)).collect();
        let resources = resources.into_iter().map(|(name, entry)| resource(type_url, &name, &entry)).collect();
        let answer = DeltaDiscoveryResponse {
            resources,
            removed_resources: removed.into_iter().collect(),
            resource_errors,
            ..DeltaDiscoveryResponse::default()
        };
        Some(self.close(type_url, answer))
    }

    /// Says of resources that nothing but their time changes.
    fn poll_heartbeat(&mut self, type_url: &str, snapshot: &Snapshot) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.types.get_mut(type_url)?;
        let visible = Visible::new(snapshot, type_url, self.rules.permissions.as_deref());
        let now = self.clock.now();
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

    fn close(&mut self, type_url: &str, answer: DeltaDiscoveryResponse) -> DeltaDiscoveryResponse {
        self.nonces += 1;
        if let Some(subscription) = self.types.get_mut(type_url) {
            subscription.ledger.close(self.nonces);
        }
        DeltaDiscoveryResponse { type_url: type_url.to_owned(), nonce: self.nonces.to_string(), ..answer }
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
