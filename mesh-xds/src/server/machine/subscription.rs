use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::WILDCARD;
use crate::server::cache::Entry;
use crate::server::heartbeat::Heartbeats;
use crate::server::ledger::Ledger;
use crate::server::precedence::Subscribed;
use crate::server::protocol;
use crate::server::rules::Clock;
use crate::server::visible::Visible;

/// A client's subscription to one type.
#[derive(Debug, Default)]
pub(in crate::server) struct Subscription {
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<String>,
    /// What the client has been sent, or said that it holds.
    pub(super) ledger: Ledger<Arc<str>>,
    pub(super) heartbeats: Heartbeats,
    /// Number of changes of the cache that the client has seen.
    seen: u64,
    /// Names that must be answered, whether they changed or not.
    unanswered: BTreeSet<String>,
    /// Resources that are sent again, as far as they are there.
    repeated: BTreeSet<Arc<str>>,
    /// Names that are gone and that the client has yet to be told of.
    pub(super) gone: BTreeSet<String>,
    /// Names that were asked for, are not there and were not held: to hear of that breaks nothing.
    pub(super) absent: BTreeSet<String>,
    /// Whether the wildcard was taken up or given up, so that all of the type must be looked at.
    widened: bool,
    narrowed: bool,
    /// Whether the first answer is still to be given; it is, even when there is nothing to say.
    pub(super) first: bool,
}

impl Subscribed for Subscription {
    type Content = Arc<str>;

    fn ledger(&self) -> &Ledger<Arc<str>> {
        &self.ledger
    }

    fn loses(&self) -> bool {
        !self.gone.is_empty()
    }

    /// What is gone is not in the ledger.
    fn is_leaving(&self, _: &str) -> bool {
        false
    }
}

impl protocol::Subscription for Subscription {
    fn wanted(&self) -> (bool, &BTreeSet<String>) {
        (self.wildcard, &self.names)
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        self.heartbeats.next()
    }
}

impl Subscription {
    /// The first request of the type.
    pub(super) fn begin(&mut self, wildcard: bool, held: &HashMap<String, String>) {
        self.first = true;
        self.wildcard = wildcard;
        for (name, version) in held {
            self.ledger.restore(Arc::from(name.as_str()), Arc::from(version.as_str()));
        }
    }

    pub(super) fn subscribe(&mut self, names: &[String]) {
        for name in names {
            if name == WILDCARD {
                self.widened |= !self.wildcard;
                self.wildcard = true;
            } else {
                self.names.insert(name.clone());
                self.unanswered.insert(name.clone());
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, names: &[String], first: bool) {
        for name in names {
            if name == WILDCARD {
                self.wildcard = false;
                // On a first request what the client says that it holds stays: it wants it to be kept up to date.
                self.narrowed |= !first;
            } else {
                let named = self.names.remove(name);
                self.unanswered.remove(name);
                if self.wildcard {
                    // The name alone is given up; the wildcard may still cover it, and the client must know.
                    if named {
                        self.unanswered.insert(name.clone());
                    }
                } else {
                    self.ledger.remove(name);
                    self.heartbeats.forget(name);
                    // The client dropped it, and is not to be told when it asks for it again.
                    self.gone.remove(name);
                }
            }
        }
    }

    /// How many names the client asks about.
    pub(super) fn asked(&self) -> usize {
        self.names.len().max(self.unanswered.len())
    }

    /// These are to be sent again, as far as the client subscribes to them or holds them.
    pub(super) fn repeat(&mut self, names: BTreeSet<Arc<str>>) {
        let wanted =
            |name: &Arc<str>| self.wildcard || self.names.contains(name.as_ref()) || self.ledger.contains(name);
        self.repeated.extend(names.into_iter().filter(wanted));
    }

    /// Resources that are new or changed; names that are gone are kept for later. Records both as told, in the answer with
    /// this nonce.
    pub(super) fn difference(
        &mut self,
        of_type: Visible<'_>,
        implied: Option<&str>,
        (nonce, clock): (u64, &Clock),
    ) -> Vec<(Arc<str>, Entry)> {
        let (mut resources, mut removed) = self.changed(of_type, implied);
        for name in std::mem::take(&mut self.unanswered) {
            match of_type.find(&name) {
                Some((found, entry)) => {
                    resources.insert(Arc::clone(found), entry.clone());
                    // Clients that know no aliases wait for this very name. There is no resource that is named so, and
                    // saying that beside the resource itself lets them go on and find it.
                    if **found != *name {
                        self.absent.insert(name);
                    }
                }
                None if self.ledger.contains(&name) => {
                    removed.insert(name);
                }
                // The client has it still, and hears of it in its turn.
                None if self.gone.contains(&name) => {}
                None => {
                    self.absent.insert(name);
                }
            }
        }
        for name in std::mem::take(&mut self.repeated) {
            if let Some((name, entry)) = of_type.get(&name) {
                resources.insert(Arc::clone(name), entry.clone());
            }
        }
        if !self.wildcard {
            self.add_companions(of_type, implied, &mut resources);
        }
        for (name, entry) in &resources {
            self.ledger.send(name, Arc::clone(&entry.version), nonce, clock.seconds());
            self.heartbeats.heard(name, entry.ttl, clock.now());
            // Gone and back before the client was told.
            self.gone.remove(name.as_ref());
        }
        for name in removed {
            self.ledger.remove(&name);
            self.heartbeats.forget(&name);
            self.gone.insert(name);
        }
        resources.into_iter().collect()
    }

    /// Resources that are new or changed, and names that are gone, since the client was told last.
    fn changed(
        &mut self,
        of_type: Visible<'_>,
        implied: Option<&str>,
    ) -> (BTreeMap<Arc<str>, Entry>, BTreeSet<String>) {
        if std::mem::take(&mut self.narrowed) {
            self.forget_others(of_type);
        }
        let whole = std::mem::take(&mut self.widened) || self.first;
        let recent = if whole { None } else { of_type.changed_since(self.seen) };
        self.seen = of_type.changes();
        let (mut resources, mut removed) = (BTreeMap::new(), BTreeSet::new());
        let mut compare = |name: &Arc<str>| match of_type.get(name) {
            // What was sent once is kept up to date, also when nothing covers it any more: an endpoint that leaves a service
            // must be seen to leave.
            Some((_, entry)) if self.covers(name, entry, implied) || self.ledger.contains(name) => {
                if self.ledger.version(name) != Some(&entry.version) {
                    resources.insert(Arc::clone(name), entry.clone());
                }
            }
            Some(_) => {}
            None => {
                if self.ledger.contains(name) {
                    removed.insert(name.as_ref().to_owned());
                }
            }
        };
        match recent {
            Some(names) => names.iter().for_each(compare),
            None if !self.wildcard => self.candidates(of_type, implied).iter().for_each(compare),
            None => {
                of_type.names().for_each(&mut compare);
                let held = self.ledger.iter().map(|(name, _)| name);
                held.filter(|name| of_type.get(name).is_none()).for_each(compare);
            }
        }
        (resources, removed)
    }

    /// All that names can cover, and what is held: found at the cost of what the client names and holds, however much there is of
    /// the type.
    fn candidates(&self, of_type: Visible<'_>, implied: Option<&str>) -> BTreeSet<Arc<str>> {
        let held = || self.ledger.iter().map(|(name, _)| name);
        let named = self.names.iter().flat_map(|name| of_type.called(name));
        let with = held().map(AsRef::as_ref).chain(implied);
        let along = with.flat_map(|with| of_type.companions(with)).map(|(name, _)| name);
        held().chain(named).chain(along).cloned().collect()
    }

    /// The wildcard was given up: the client keeps what it asked for by another name, and what came with that.
    fn forget_others(&mut self, of_type: Visible<'_>) {
        let found = self.names.iter().filter_map(|name| of_type.find(name)).map(|(name, _)| Arc::clone(name));
        let named = self.names.iter().map(|name| Arc::from(name.as_str()));
        let mut left: Vec<Arc<str>> = named.chain(found).collect();
        let mut kept = BTreeSet::new();
        while let Some(name) = left.pop() {
            if kept.insert(Arc::clone(&name)) {
                left.extend(of_type.companions(&name).map(|(name, _)| Arc::clone(name)));
            }
        }
        self.ledger.retain(|name| kept.contains(name));
        self.heartbeats.retain(|name| kept.contains(name));
    }

    /// What comes with a resource that is sent now, and was not sent before.
    fn add_companions(&self, of_type: Visible<'_>, implied: Option<&str>, resources: &mut BTreeMap<Arc<str>, Entry>) {
        let implied = implied.filter(|_| self.first).map(Arc::from);
        let mut left: Vec<Arc<str>> = resources.keys().cloned().chain(implied).collect();
        // What comes along may bring more: a service its waypoint, and that its endpoints.
        while let Some(with) = left.pop() {
            for (name, entry) in of_type.companions(&with) {
                if self.ledger.version(name) != Some(&entry.version) && !resources.contains_key(name) {
                    resources.insert(Arc::clone(name), entry.clone());
                    left.push(Arc::clone(name));
                }
            }
        }
    }

    fn covers(&self, name: &str, entry: &Entry, implied: Option<&str>) -> bool {
        self.wildcard
            || self.names.contains(name)
            || entry.aliases.iter().any(|alias| self.names.contains(alias))
            || entry.comes_with.iter().any(|with| implied == Some(with.as_str()) || self.ledger.contains(with))
    }
}
