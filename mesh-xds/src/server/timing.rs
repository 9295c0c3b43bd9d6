//! The times of one stream, as pure decisions.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::{Debounce, Pace};

/// How far a client is ahead of its pace.
#[derive(Debug)]
pub(super) struct Pacer {
    each: Duration,
    ahead: Duration,
    /// When the requests so far would have come, had they come at the pace.
    at: Instant,
}

impl Pacer {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        let each = Duration::from_secs(1) / pace.per_second.max(1);
        Self { each, ahead: each.saturating_mul(pace.burst.saturating_sub(1)), at: now }
    }

    /// When the next request may be taken.
    pub(super) fn ready_at(&self) -> Instant {
        self.at.checked_sub(self.ahead).unwrap_or(self.at)
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.at = self.at.max(now) + self.each;
    }
}

/// Changes that have not been sent on yet.
#[derive(Debug)]
pub(super) struct Gathering {
    setting: Debounce,
    /// When the first and the last of them came.
    since: Option<(Instant, Instant)>,
}

impl Gathering {
    pub(super) fn new(setting: Debounce) -> Self {
        Self { setting, since: None }
    }

    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.since.map_or(now, |(first, _)| first);
        self.since = Some((first, now));
    }

    /// When they are to be sent on.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.since?;
        [last.checked_add(self.setting.quiet), first.checked_add(self.setting.latest)].into_iter().flatten().min()
    }

    /// Whether they are to be sent on now; then there are none any more.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.since = None;
        }
        due
    }
}
