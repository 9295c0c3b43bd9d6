//! The server's side of the delta protocol for one stream, without sockets, tasks or clocks.
//!
//! The machine compares what the client was sent with a snapshot of the cache whenever it is asked, so nothing is queued
//! per client: one that reads slowly gets the newest state when it reads, however many changes it missed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cache::{Entry, Snapshot, TypeSnapshot};
use super::precedence::{self, Subscribed};
use crate::limits::MAX_SUBSCRIBED_NAMES;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::pb::{Any, Kind};

/// The wildcard name.
pub(super) const WILDCARD: &str = "*";

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Machine {
    types: BTreeMap<String, Subscription>,
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

/// A client's subscription to one type.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the client has been sent, or said that it holds.
    returned: HashMap<Arc<str>, Arc<str>>,
    /// Names that the client did not ask for and is given what comes with them all the same: its node.
    implied: Option<String>,
    /// Number of changes of the cache that the client has seen.
    seen: u64,
    /// Whether everything is wanted from now on: what was passed over before must be looked at again.
    widened: bool,
    /// Names that must be answered, whether they changed or not.
    unanswered: BTreeSet<String>,
    /// Names that are gone and that the client has yet to be told of.
    gone: BTreeSet<String>,
    /// Whether the first answer is still to be given; it is, even when there is nothing to say.
    first: bool,
    /// Of clusters: names that were sent for the first time, so that the client will want their endpoints.
    introduced: BTreeSet<Arc<str>>,
    introduces: bool,
    sent_nonce: String,
    /// Whether the client has yet to accept or reject what it was sent last.
    waiting: bool,
    progress: Progress,
}

/// How far a client is with a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nonce of the last answer sent.
    pub sent: Option<String>,
    /// Nonce of the last answer accepted.
    pub acknowledged: Option<String>,
    /// What the client said against the last answer it rejected.
    pub rejected: Option<String>,
}

/// A request breaks the protocol or a limit; the stream is ended with this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No type.
    #[error("a request without a type")]
    NoType,
    /// More names than [`MAX_SUBSCRIBED_NAMES`].
    #[error("more than {MAX_SUBSCRIBED_NAMES} names of `{0}`")]
    TooManyNames(String),
}

impl Machine {
    /// A request came: a subscription, a change of it, an acknowledgement, or several of these.
    ///
    /// # Errors
    /// [`Error`]: the stream must be ended.
    pub fn handle_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Error> {
        if request.type_url.is_empty() {
            return Err(Error::NoType);
        }
        let first = !self.types.contains_key(&request.type_url);
        let subscription = self.types.entry(request.type_url.clone()).or_default();
        if first {
            subscription.first = true;
            subscription.introduces = request.type_url == precedence::CLUSTER;
            // The old form of the wildcard: a first request that names nothing.
            subscription.wildcard = request.resource_names_subscribe.is_empty();
            let held = request.initial_resource_versions.iter();
            subscription.returned =
                held.map(|(name, version)| (Arc::from(name.as_str()), Arc::from(version.as_str()))).collect();
        }
        // Before the names that are given up: a client that subscribes to nothing sends `*` in both lists.
        for name in &request.resource_names_subscribe {
            if name == WILDCARD {
                subscription.widened |= !subscription.wildcard;
                subscription.wildcard = true;
            } else {
                subscription.names.insert(name.clone());
                subscription.unanswered.insert(name.clone());
            }
        }
        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                subscription.wildcard = false;
                // On a first request what the client says that it holds stays: it wants it to be kept up to date.
                if !first {
                    let names = &subscription.names;
                    subscription.returned.retain(|name, _| names.contains(name.as_ref()));
                }
            } else {
                subscription.names.remove(name);
                subscription.unanswered.remove(name);
                if subscription.wildcard {
                    // The name alone is given up; the wildcard may still cover it, and the client must know.
                    subscription.unanswered.insert(name.clone());
                } else {
                    subscription.returned.remove(name.as_str());
                }
            }
        }
        if subscription.names.len() > MAX_SUBSCRIBED_NAMES {
            return Err(Error::TooManyNames(request.type_url.clone()));
        }
        if let Some(node) = &request.node
            && let Some(name) = node_name(node)
        {
            subscription.implied = Some(node_key(&name));
        }
        // A nonce only says which answer is meant; subscriptions count even when it is old.
        if !request.response_nonce.is_empty() && request.response_nonce == subscription.sent_nonce {
            subscription.waiting = false;
            match &request.error_detail {
                None => {
                    subscription.progress.acknowledged = Some(request.response_nonce.clone());
                    subscription.progress.rejected = None;
                }
                Some(detail) => subscription.progress.rejected = Some(detail.message.clone()),
            }
        }
        Ok(())
    }

    /// The next answer that is due against this snapshot; `None`: the client has all.
    ///
    /// What is new comes first, types in the order given, and what is gone after it: when a workload changes from one policy
    /// to another, the client gets the new policy, then the workload, and loses the old policy last. Also after a
    /// reconnect, when both were asked for before the first answer.
    ///
    /// Envoy's own types also wait until the client has accepted those before them (clusters, endpoints, listeners, routes), and
    /// their removals for all of them. Who does not want to wait any longer ([`Machine::is_holding`]) says so by `patient`.
    pub fn poll_response(
        &mut self,
        snapshot: &Snapshot,
        order: &[&str],
        patient: bool,
    ) -> Option<DeltaDiscoveryResponse> {
        let urls = precedence::sorted(&self.types, order);
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
            if patient && precedence::must_wait(&self.types, url, snapshot) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, phase(url)) {
                return Some(answer);
            }
        }
        for url in &urls {
            if !self.types.get(url).is_some_and(Subscribed::loses) {
                continue;
            }
            if patient && precedence::must_stay(&self.types, url, snapshot, self.holding) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, Phase::Both) {
                return Some(answer);
            }
        }
        None
    }

    /// Whether an answer waits for the client to accept another first.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// How far the client is with each type it asked for.
    pub fn progress(&self) -> impl Iterator<Item = (&str, &Progress)> {
        self.types.iter().map(|(url, subscription)| (url.as_str(), &subscription.progress))
    }

    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, phase: Phase) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.types.get_mut(type_url)?;
        let empty = TypeSnapshot::default();
        let of_type = snapshot.of(type_url).unwrap_or(&empty);
        let resources = subscription.difference(of_type);
        subscription.seen = of_type.changes;
        let first = std::mem::take(&mut subscription.first);
        let removed: Vec<String> = match phase {
            Phase::New => Vec::new(),
            Phase::Both => std::mem::take(&mut subscription.gone).into_iter().collect(),
        };
        if resources.is_empty() && removed.is_empty() && !first {
            return None;
        }
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        subscription.sent_nonce.clone_from(&nonce);
        subscription.progress.sent = Some(nonce.clone());
        subscription.waiting = true;
        let resource = |(name, entry): (Arc<str>, Entry)| Resource {
            name: name.as_ref().to_owned(),
            version: entry.version.as_ref().to_owned(),
            aliases: entry.aliases.to_vec(),
            resource: Some(Any { type_url: type_url.to_owned(), value: entry.body.to_vec() }),
            ..Resource::default()
        };
        Some(DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            resources: resources.into_iter().map(resource).collect(),
            removed_resources: removed,
            nonce,
            ..DeltaDiscoveryResponse::default()
        })
    }
}

impl Subscribed for Subscription {
    fn is_waiting(&self) -> bool {
        self.waiting
    }

    fn has(&self, name: &str) -> bool {
        self.returned.contains_key(name)
    }

    fn loses(&self) -> bool {
        !self.gone.is_empty()
    }

    fn introduced(&self) -> &BTreeSet<Arc<str>> {
        &self.introduced
    }
}

impl Subscription {
    /// Resources that are new or changed; names that are gone are kept for later. Records both as told.
    fn difference(&mut self, of_type: &TypeSnapshot) -> Vec<(Arc<str>, Entry)> {
        let mut resources = BTreeMap::new();
        let mut removed = BTreeSet::new();
        if self.first || std::mem::take(&mut self.widened) {
            self.compare_all(of_type, &mut resources, &mut removed);
        } else if let Some(changed) = of_type.changed_since(self.seen) {
            for name in changed {
                self.compare(name, of_type, &mut resources, &mut removed);
            }
        } else {
            self.compare_all(of_type, &mut resources, &mut removed);
        }
        for name in std::mem::take(&mut self.unanswered) {
            match of_type.find(&name) {
                Some((found, entry)) => {
                    resources.insert(Arc::clone(found), entry.clone());
                    // Clients that know no aliases wait for this very name. There is no resource that is named so, and
                    // saying that beside the resource itself lets them go on and find it.
                    if **found != *name {
                        removed.insert(name);
                    }
                }
                None => {
                    removed.insert(name);
                }
            }
        }
        if !self.wildcard {
            self.add_companions(of_type, &mut resources);
        }
        for (name, entry) in &resources {
            if self.returned.insert(Arc::clone(name), Arc::clone(&entry.version)).is_none() && self.introduces {
                self.introduced.insert(Arc::clone(name));
            }
            // Gone and back before the client was told.
            self.gone.remove(name.as_ref());
        }
        for name in removed {
            self.returned.remove(name.as_str());
            self.introduced.remove(name.as_str());
            self.gone.insert(name);
        }
        resources.into_iter().collect()
    }

    fn compare_all(
        &self,
        of_type: &TypeSnapshot,
        resources: &mut BTreeMap<Arc<str>, Entry>,
        removed: &mut BTreeSet<String>,
    ) {
        for name in of_type.entries.keys() {
            self.compare(name, of_type, resources, removed);
        }
        let gone = self.returned.keys().filter(|name| !of_type.entries.contains_key(name.as_ref()));
        removed.extend(gone.map(|name| name.as_ref().to_owned()));
    }

    fn compare(
        &self,
        name: &Arc<str>,
        of_type: &TypeSnapshot,
        resources: &mut BTreeMap<Arc<str>, Entry>,
        removed: &mut BTreeSet<String>,
    ) {
        match of_type.entries.get(name) {
            // What was sent once is kept up to date, also when nothing covers it any more: an endpoint that leaves a service
            // must be seen to leave.
            Some(entry) if self.covers(name, entry) || self.returned.contains_key(name) => {
                if self.returned.get(name) != Some(&entry.version) {
                    resources.insert(Arc::clone(name), entry.clone());
                }
            }
            Some(_) => {}
            None => {
                if self.returned.contains_key(name) {
                    removed.insert(name.as_ref().to_owned());
                }
            }
        }
    }

    /// What comes with a resource that is sent now, and was not sent before.
    fn add_companions(&self, of_type: &TypeSnapshot, resources: &mut BTreeMap<Arc<str>, Entry>) {
        let implied = self.implied.as_deref().filter(|_| self.first).map(Arc::from);
        let mut left: Vec<Arc<str>> = resources.keys().cloned().chain(implied).collect();
        // What comes along may bring more: a service its waypoint, and that its endpoints.
        while let Some(with) = left.pop() {
            for (name, entry) in of_type.companions(&with) {
                if self.returned.get(name) != Some(&entry.version) && !resources.contains_key(name) {
                    resources.insert(Arc::clone(name), entry.clone());
                    left.push(Arc::clone(name));
                }
            }
        }
    }

    fn covers(&self, name: &str, entry: &Entry) -> bool {
        self.wildcard
            || self.names.contains(name)
            || entry.aliases.iter().any(|alias| self.names.contains(alias))
            || entry
                .comes_with
                .iter()
                .any(|with| self.implied.as_ref() == Some(with) || self.returned.contains_key(with.as_str()))
    }
}

/// The name with which the workloads of a node come to it.
#[must_use]
pub fn node_key(node: &str) -> String {
    // No resource is named so: a uid does not begin with a slash, a service key has one slash.
    format!("//node/{node}")
}

/// The node that a client runs on, as Istio's proxies say it.
fn node_name(node: &crate::pb::Node) -> Option<String> {
    match node.metadata.as_ref()?.fields.get("NODE_NAME")?.kind.as_ref()? {
        Kind::StringValue(name) if !name.is_empty() => Some(name.clone()),
        _ => None,
    }
}
