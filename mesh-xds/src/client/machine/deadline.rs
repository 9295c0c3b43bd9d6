use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Something must be heard of a resource.
    Missing,
    /// A resource must be confirmed.
    TimeToLive,
}

type Key = (Kind, usize, Arc<str>);

/// Deadlines by kind, type and name.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadlines {
    by_time: BTreeSet<(Instant, Key)>,
    by_key: HashMap<Key, Instant>,
}

impl Deadlines {
    pub(super) fn set(&mut self, kind: Kind, index: usize, name: &str, at: Instant) {
        self.cancel(kind, index, name);
        self.set_once(kind, index, name, at);
    }

    /// Unless there is one.
    pub(super) fn set_once(&mut self, kind: Kind, index: usize, name: &str, at: Instant) {
        let key: Key = (kind, index, name.into());
        if !self.by_key.contains_key(&key) {
            self.by_key.insert(key.clone(), at);
            self.by_time.insert((at, key));
        }
    }

    pub(super) fn cancel(&mut self, kind: Kind, index: usize, name: &str) {
        if self.by_key.is_empty() {
            return;
        }
        let key: Key = (kind, index, name.into());
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(super) fn cancel_all(&mut self, kind: Kind) {
        self.by_time.retain(|(_, (of, ..))| *of != kind);
        self.by_key.retain(|(of, ..), _| *of != kind);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// What has passed, names joined by kind and type.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Kind, usize, Vec<String>)> {
        let mut passed: BTreeMap<(Kind, usize), Vec<String>> = BTreeMap::new();
        while let Some((at, key)) = self.by_time.pop_first() {
            if at > now {
                self.by_time.insert((at, key));
                break;
            }
            self.by_key.remove(&key);
            let (kind, index, name) = key;
            passed.entry((kind, index)).or_default().push(name.as_ref().to_owned());
        }
        passed.into_iter().map(|((kind, index), names)| (kind, index, names)).collect()
    }
}
