//! The server's side of the state-of-the-world protocol for one stream, without sockets, tasks or clocks.
//!
//! As the delta machine ([`super::machine`]), it compares what the client was sent with a snapshot of the cache when it is
//! asked. Per type one answer is under way at most; what changes meanwhile is in the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::cache::{Entry, Snapshot, TypeSnapshot};
use super::machine::{Error, Progress, WILDCARD};
use super::precedence::{self, Subscribed};
use crate::limits::MAX_SUBSCRIBED_NAMES;
use crate::pb::Any;
use crate::pb::discovery::{DiscoveryRequest, DiscoveryResponse};

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Machine {
    types: BTreeMap<String, Subscription>,
    nonces: u64,
    holding: bool,
}

/// A client's subscription to one type.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    /// Whether the client ever named a resource of the type: an empty list then means nothing, and not everything.
    named: bool,
    names: BTreeSet<String>,
    /// What the client was sent.
    sent: HashMap<Arc<str>, Entry>,
    /// What it was sent and is gone: told, of full-state types, when nothing can refer to it any more.
    leaving: BTreeSet<Arc<str>>,
    /// Of clusters: names that were sent for the first time, so that the client will want their endpoints.
    introduced: BTreeSet<Arc<str>>,
    introduces: bool,
    /// Number of changes of the cache that the client has seen.
    seen: u64,
    /// Whether the subscription changed, so that all of it must be looked at.
    changed: bool,
    /// Whether it grew: of full-state types the client is then told at once what is not there.
    grown: bool,
    /// Whether the first answer is still to be given.
    first: bool,
    /// Whether an answer is under way that the client has not answered.
    waiting: bool,
    nonce: String,
    progress: Progress,
}

impl Machine {
    /// A request came: a subscription, a change of it, an acknowledgement, or both.
    ///
    /// # Errors
    /// [`Error`]: the stream must be ended.
    pub fn handle_request(&mut self, request: &DiscoveryRequest) -> Result<(), Error> {
        if request.type_url.is_empty() {
            return Err(Error::NoType);
        }
        if request.resource_names.len() > MAX_SUBSCRIBED_NAMES {
            return Err(Error::TooManyNames(request.type_url.clone()));
        }
        let first = !self.types.contains_key(&request.type_url);
        let subscription = self.types.entry(request.type_url.clone()).or_default();
        if first {
            subscription.first = true;
            subscription.introduces = request.type_url == precedence::CLUSTER;
        } else if request.response_nonce != subscription.nonce {
            // About an answer that is not the last one. A later request says the same again.
            return Ok(());
        } else if subscription.waiting {
            subscription.waiting = false;
            match &request.error_detail {
                None => {
                    subscription.progress.acknowledged = Some(request.response_nonce.clone());
                    subscription.progress.rejected = None;
                }
                Some(detail) => subscription.progress.rejected = Some(detail.message.clone()),
            }
        }
        subscription.set_names(&request.resource_names);
        Ok(())
    }

    /// The next answer that is due against this snapshot, types in the order given; `None`: the client has all, or has yet to
    /// answer what it was sent.
    ///
    /// Of Envoy's types, each waits until the client has accepted those before it (clusters, endpoints, listeners, routes), and
    /// removals wait for all of them: when a route moves from one cluster to another, the client first has both. Who does not
    /// want to wait any longer ([`Machine::is_holding`]) says so by `patient`.
    pub fn poll_response(&mut self, snapshot: &Snapshot, order: &[&str], patient: bool) -> Option<DiscoveryResponse> {
        let urls = precedence::sorted(&self.types, order);
        self.holding = false;
        if !patient {
            self.types.values_mut().for_each(|subscription| subscription.introduced.clear());
        }
        for url in &urls {
            if patient && precedence::must_wait(&self.types, url, snapshot) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, false) {
                return Some(answer);
            }
        }
        for url in &urls {
            if !self.types.get(url).is_some_and(Subscribed::loses) {
                continue;
            }
            if patient && precedence::must_stay(&self.types, url, snapshot, self.holding) {
                self.holding = true;
            } else if let Some(answer) = self.poll_type(url, snapshot, true) {
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

    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, removals: bool) -> Option<DiscoveryResponse> {
        let subscription = self.types.get_mut(type_url)?;
        if subscription.waiting {
            return None;
        }
        let empty = TypeSnapshot::default();
        let of_type = snapshot.of(type_url).unwrap_or(&empty);
        let resources = subscription.due(of_type, precedence::is_full_state(type_url), removals)?;
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        subscription.nonce.clone_from(&nonce);
        subscription.progress.sent = Some(nonce.clone());
        subscription.waiting = true;
        Some(DiscoveryResponse {
            version_info: subscription.version(),
            resources: resources
                .into_iter()
                .map(|entry| Any { type_url: type_url.to_owned(), value: entry.body.to_vec() })
                .collect(),
            type_url: type_url.to_owned(),
            nonce,
            ..DiscoveryResponse::default()
        })
    }
}

impl Subscribed for Subscription {
    fn is_waiting(&self) -> bool {
        self.waiting
    }

    fn has(&self, name: &str) -> bool {
        self.sent.contains_key(name)
    }

    fn loses(&self) -> bool {
        !self.leaving.is_empty()
    }

    fn introduced(&self) -> &BTreeSet<Arc<str>> {
        &self.introduced
    }
}

impl Subscription {
    /// Takes the whole list of names that a request holds.
    fn set_names(&mut self, list: &[String]) {
        let names: BTreeSet<String> = list.iter().filter(|name| *name != WILDCARD).cloned().collect();
        self.named |= !list.is_empty();
        // The old form of the wildcard: an empty list, as long as none was ever named.
        let wildcard = list.iter().any(|name| name == WILDCARD) || !self.named;
        if (wildcard, &names) != (self.wildcard, &self.names) {
            self.grown |= wildcard && !self.wildcard || names.iter().any(|name| !self.covers(name));
            (self.wildcard, self.names) = (wildcard, names);
            self.changed = true;
            // What is given up is forgotten, so that it is sent again when it is asked for again.
            let (wildcard, names) = (self.wildcard, &self.names);
            self.sent.retain(|name, _| wildcard || names.contains(name.as_ref()));
            self.leaving.retain(|name| wildcard || names.contains(name.as_ref()));
            self.introduced.retain(|name| wildcard || names.contains(name.as_ref()));
        }
    }

    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// All resources there are that the client wants.
    fn subscribed(&self, of_type: &TypeSnapshot) -> BTreeSet<Arc<str>> {
        if self.wildcard {
            return of_type.entries.keys().cloned().collect();
        }
        let known = self.names.iter().filter_map(|name| of_type.entries.get_key_value(name.as_str()));
        known.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The resources of the next answer, if one is due. Records them as sent.
    fn due(&mut self, of_type: &TypeSnapshot, full_state: bool, removals: bool) -> Option<Vec<Entry>> {
        let (first, changed) = (std::mem::take(&mut self.first), std::mem::take(&mut self.changed));
        let grown = std::mem::take(&mut self.grown);
        let recent = if first || changed { None } else { of_type.changed_since(self.seen) };
        // Only what changed is looked at, unless the subscription itself did, or the client is far behind.
        let looked_at: BTreeSet<Arc<str>> = match recent {
            Some(names) => names.cloned().collect(),
            None => of_type.entries.keys().chain(self.sent.keys()).cloned().collect(),
        };
        self.seen = of_type.changes;
        let mut new = BTreeSet::new();
        for name in looked_at {
            let sent = self.sent.get(&name).map(|entry| &entry.version);
            match of_type.entries.get(&name) {
                Some(entry) => {
                    self.leaving.remove(&name);
                    if self.covers(&name) && sent != Some(&entry.version) {
                        new.insert(name);
                    }
                }
                // A removal can be told of full-state types alone; of others a client learns it by no longer being referred
                // to them.
                None if sent.is_some() && full_state => {
                    self.leaving.insert(name);
                }
                None => {
                    self.sent.remove(&name);
                }
            }
        }
        let gone = removals && !self.leaving.is_empty();
        if new.is_empty() && !(full_state && (first || grown || gone)) {
            return None;
        }
        if gone {
            for name in std::mem::take(&mut self.leaving) {
                self.sent.remove(&name);
                self.introduced.remove(&name);
            }
        }
        let names = if full_state { self.subscribed(of_type) } else { new };
        // What leaves is still there until nothing refers to it.
        let staying = self.leaving.iter().filter_map(|name| self.sent.get(name)).cloned();
        let mut all: Vec<Entry> = staying.collect();
        for name in names {
            if let Some(entry) = of_type.entries.get(&name) {
                if self.sent.insert(Arc::clone(&name), entry.clone()).is_none() && self.introduces {
                    self.introduced.insert(name);
                }
                all.push(entry.clone());
            }
        }
        Some(all)
    }

    /// A version that differs whenever what the client holds differs, and is the same on every replica.
    fn version(&self) -> String {
        let versions = self.sent.iter().map(|(name, entry)| (name, &entry.version));
        let ordered: BTreeMap<&Arc<str>, &Arc<str>> = versions.collect();
        let mut content = Vec::new();
        for (name, version) in ordered {
            for part in [name, version] {
                content.extend((part.len() as u64).to_be_bytes());
                content.extend(part.as_bytes());
            }
        }
        format!("{:016x}", XxHash3_64::oneshot(&content))
    }
}
