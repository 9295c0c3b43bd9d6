use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a client must hear next that its resources live on. Holds those with a time to live, and no others.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    due: BTreeSet<(Instant, Arc<str>)>,
    by_name: HashMap<Arc<str>, Instant>,
}

/// Heartbeats within the time to live: two may be lost.
const BEATS: u32 = 3;

/// So that a time to live of nothing is no busy loop.
const SHORTEST: Duration = Duration::from_millis(100);

impl Heartbeats {
    /// The client hears of a resource now. Without a time to live it need not hear of it again.
    pub(super) fn heard(&mut self, name: &Arc<str>, ttl: Option<Duration>, now: Option<Instant>) {
        self.forget(name);
        let (Some(ttl), Some(now)) = (ttl, now) else { return };
        let Some(next) = now.checked_add((ttl / BEATS).max(SHORTEST)) else { return };
        self.due.insert((next, Arc::clone(name)));
        self.by_name.insert(Arc::clone(name), next);
    }

    /// Takes those that are due.
    pub(super) fn take(&mut self, now: Option<Instant>) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        while let Some((at, _)) = self.due.first()
            && now.is_some_and(|now| *at <= now)
            && let Some((_, name)) = self.due.pop_first()
        {
            self.by_name.remove(&name);
            taken.push(name);
        }
        taken
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn forget(&mut self, name: &str) {
        if let Some((name, at)) = self.by_name.remove_entry(name) {
            self.due.remove(&(at, name));
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.by_name.retain(|name, _| keep(name));
        self.due.retain(|(_, name)| keep(name));
    }
}
