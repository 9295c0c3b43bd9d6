use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use twox_hash::XxHash3_64;

use crate::pb::discovery::ResourceError;
use crate::server::cache::Entry;
use crate::server::heartbeat::Heartbeats;
use crate::server::ledger::Ledger;
use crate::server::machine::WILDCARD;
use crate::server::precedence::Subscribed;
use crate::server::protocol;
use crate::server::rules::Clock;
use crate::server::visible::Visible;

/// A client's subscription to one type.
#[derive(Debug, Default)]
pub(in crate::server) struct Subscription {
    pub(super) wildcard: bool,
    /// Whether an empty list means everything: the client never named a resource of the type, and the type allows it.
    legacy: bool,
    pub(super) names: BTreeSet<String>,
    /// What the client was sent.
    pub(super) ledger: Ledger<Entry>,
    pub(super) heartbeats: Heartbeats,
    /// What it was sent and is gone: told, of full-state types, when nothing can refer to it any more.
    leaving: BTreeSet<Arc<str>>,
    /// Names that it asks for anew, and is told of if they are not there.
    asked: BTreeSet<String>,
    /// Resources that are sent again, as far as they are there.
    repeated: BTreeSet<Arc<str>>,
    /// Number of changes of the cache that the client has seen.
    seen: u64,
    /// Whether the subscription changed, so that all of it must be looked at.
    changed: bool,
    /// Whether it grew: of full-state types the client is then told at once what is not there.
    grown: bool,
    /// Whether the first answer is still to be given.
    first: bool,
}

/// What the next answer holds.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) resources: Vec<(Arc<str>, Entry)>,
    /// Which of them are new or changed.
    pub(super) new: BTreeSet<Arc<str>>,
    pub(super) errors: Vec<ResourceError>,
}

impl Subscribed for Subscription {
    type Content = Entry;

    fn ledger(&self) -> &Ledger<Entry> {
        &self.ledger
    }

    fn loses(&self) -> bool {
        !self.leaving.is_empty()
    }

    fn is_leaving(&self, name: &str) -> bool {
        self.leaving.contains(name)
    }
}

impl protocol::Subscription for Subscription {
    fn wanted(&self) -> (bool, &BTreeSet<String>) {
        (self.wildcard, &self.names)
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        // One answer of a type is under way at most; its acknowledgement comes first.
        if self.ledger.is_waiting() { None } else { self.heartbeats.next() }
    }
}

impl Subscription {
    /// The first request of the type.
    pub(super) fn begin(&mut self, legacy: bool) {
        (self.first, self.legacy) = (true, legacy);
    }

    /// Takes the whole list of names that a request holds.
    pub(super) fn set_names(&mut self, list: &[String]) {
        let names: BTreeSet<String> = list.iter().filter(|name| *name != WILDCARD).cloned().collect();
        self.legacy &= list.is_empty();
        // The old form of the wildcard: an empty list, as long as none was ever named.
        let wildcard = list.iter().any(|name| name == WILDCARD) || self.legacy;
        if (wildcard, &names) != (self.wildcard, &self.names) {
            self.grown |= wildcard && !self.wildcard || names.iter().any(|name| !self.covers(name));
            self.asked.extend(names.difference(&self.names).cloned());
            self.asked.retain(|name| names.contains(name));
            (self.wildcard, self.names) = (wildcard, names);
            self.changed = true;
            // What is given up is forgotten, so that it is sent again when it is asked for again.
            let (wildcard, names) = (self.wildcard, &self.names);
            let wanted = |name: &str| wildcard || names.contains(name);
            self.ledger.retain(wanted);
            self.heartbeats.retain(wanted);
            self.leaving.retain(|name| wanted(name));
        }
    }

    /// These are to be sent again, as far as the client holds them.
    pub(super) fn repeat(&mut self, names: BTreeSet<Arc<str>>) {
        self.repeated.extend(names.into_iter().filter(|name| self.ledger.contains(name)));
    }

    /// The next answer, with this nonce, if one is due. Records it as sent. Nothing that was rejected in answers later than
    /// `pardoned` is in use.
    pub(super) fn due(
        &mut self,
        of_type: Visible<'_>,
        (full_state, removals, pardoned): (bool, bool, u64),
        (nonce, clock): (u64, &Clock),
    ) -> Option<Due> {
        let first = std::mem::take(&mut self.first) && (self.wildcard || !self.names.is_empty());
        let grown = std::mem::take(&mut self.grown);
        let new = self.changed(of_type, first, full_state);
        let asked = std::mem::take(&mut self.asked);
        let absent = asked.iter().filter(|name| of_type.get(name).is_none());
        let errors: Vec<_> = absent.map(|name| of_type.absence(name)).collect();
        let gone = removals && !self.leaving.is_empty();
        if new.is_empty() && errors.is_empty() && !(full_state && (first || grown || gone)) {
            return None;
        }
        // What leaves is still there until nothing refers to it, as the client has it: what it rejected it would reject again,
        // and all else with it.
        let (mut staying, mut resources) = (BTreeSet::new(), Vec::new());
        for name in std::mem::take(&mut self.leaving) {
            let held = self.ledger.held(&name).filter(|_| !removals && !self.ledger.is_refused(&name, pardoned));
            if let Some(held) = held {
                resources.push((Arc::clone(&name), held.clone()));
                staying.insert(name);
            } else {
                self.ledger.remove(&name);
                self.heartbeats.forget(&name);
            }
        }
        self.leaving = staying;
        let names = if full_state { self.subscribed(of_type) } else { new.clone() };
        for name in names {
            if let Some((_, entry)) = of_type.get(&name) {
                self.ledger.send(&name, entry.clone(), nonce, clock.seconds());
                resources.push((name, entry.clone()));
            }
        }
        Some(Due { resources, new, errors })
    }

    /// A version that differs whenever what the client holds differs, and is the same on every replica.
    pub(super) fn version(&self) -> String {
        let versions = self.ledger.iter().map(|(name, entry)| (name, &entry.version));
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

    /// The resources that are new or changed since the client was told last, or sent again. What is gone begins to leave.
    fn changed(&mut self, of_type: Visible<'_>, first: bool, full_state: bool) -> BTreeSet<Arc<str>> {
        let everything = std::mem::take(&mut self.changed) || first;
        let recent = if everything { None } else { of_type.changed_since(self.seen) };
        self.seen = of_type.changes();
        // Only what changed is looked at, unless the subscription itself did, or the client is far behind.
        let looked_at: BTreeSet<Arc<str>> = match recent {
            Some(names) => names.into_iter().collect(),
            None => {
                let sent = self.ledger.iter().map(|(name, _)| Arc::clone(name));
                self.subscribed(of_type).into_iter().chain(sent).collect()
            }
        };
        let repeated = std::mem::take(&mut self.repeated).into_iter();
        let mut new: BTreeSet<_> = repeated.filter(|name| of_type.get(name).is_some()).collect();
        for name in looked_at {
            let sent = self.ledger.version(&name);
            match of_type.get(&name) {
                Some((_, entry)) => {
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
                    self.ledger.remove(&name);
                    self.heartbeats.forget(&name);
                }
            }
        }
        new
    }

    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// All resources there are that the client wants.
    fn subscribed(&self, of_type: Visible<'_>) -> BTreeSet<Arc<str>> {
        if self.wildcard {
            return of_type.names().cloned().collect();
        }
        self.names.iter().filter_map(|name| of_type.get(name)).map(|(name, _)| Arc::clone(name)).collect()
    }
}
