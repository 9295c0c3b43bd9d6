//! When to renew: half of the actual life with jitter, and back-off after a failure. Pure; times are handed in.

use std::time::{Duration, SystemTime};

/// First pause after a failed renewal.
const BACKOFF_START: Duration = Duration::from_secs(1);

/// Longest pause after a failed renewal.
const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// The renewal schedule of one SVID. A new one is due at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    due: Option<SystemTime>,
    not_after: Option<SystemTime>,
    failures: u32,
}

impl Schedule {
    /// A new SVID is there, with the life from `issued` to `not_after`. `jitter` is a random number in 0..=1 that spreads
    /// renewals over ±10 % of the half life, so that what started together does not renew together.
    pub fn handle_issued(&mut self, issued: SystemTime, not_after: SystemTime, jitter: f64) {
        let half = not_after.duration_since(issued).unwrap_or_default() / 2;
        self.due = Some(issued + half.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)));
        self.not_after = Some(not_after);
        self.failures = 0;
    }

    /// A renewal failed. The pauses double from one second to thirty; near the end of the SVID they shrink to a quarter
    /// of what remains of it, so that no chance is missed.
    pub fn handle_failure(&mut self, now: SystemTime) {
        let doubled = BACKOFF_START.saturating_mul(1 << self.failures.min(16));
        let remaining = self.not_after.and_then(|end| end.duration_since(now).ok());
        let cap = remaining.map_or(BACKOFF_CAP, |left| (left / 4).clamp(BACKOFF_START, BACKOFF_CAP));
        self.due = Some(now + doubled.min(cap));
        self.failures = self.failures.saturating_add(1);
    }

    /// How long to wait from `now` until the next renewal; zero when it is due.
    #[must_use]
    pub fn poll_wait(&self, now: SystemTime) -> Duration {
        self.due.and_then(|due| due.duration_since(now).ok()).unwrap_or_default()
    }
}
