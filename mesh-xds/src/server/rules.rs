use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::access::Permissions;
use super::ledger::Seconds;

/// By what rules one stream is served.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Types of which a list without names never means everything
    /// ([`Settings::named_only`](super::Settings::named_only)).
    pub named_only: Arc<BTreeSet<String>>,
    /// What the client may see; `None`: everything.
    pub permissions: Option<Arc<dyn Permissions>>,
    /// Whether resources are made when they are asked for by name, so that of no type a list without names means everything.
    pub on_demand: bool,
}

impl Rules {
    pub(super) fn is_named_only(&self, type_url: &str) -> bool {
        self.on_demand || self.named_only.contains(type_url)
    }
}

/// The time as a machine was told it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    began: Option<Instant>,
    now: Option<Instant>,
}

impl Clock {
    pub(super) fn advance(&mut self, now: Instant) {
        self.began.get_or_insert(now);
        self.now = Some(now);
    }

    pub(super) fn now(&self) -> Option<Instant> {
        self.now
    }

    /// Since the time was told first.
    pub(super) fn seconds(&self) -> Seconds {
        let elapsed = self.began.zip(self.now).map(|(began, now)| now.saturating_duration_since(began).as_secs());
        elapsed.and_then(|seconds| Seconds::try_from(seconds).ok()).unwrap_or_default()
    }
}
