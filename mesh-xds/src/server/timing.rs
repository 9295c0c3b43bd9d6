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

/// How long a client has to accept an answer before others that wait for that are sent.
const STEP: Duration = Duration::from_secs(5);

/// How long others wait at most for a client that accepts one after another, while changes never cease.
const ALL_STEPS: Duration = Duration::from_secs(60);

/// Whether answers wait for the client to accept others that must come first.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when an answer has been waiting, and since when the client has had its last step.
    since: Option<(Instant, Instant)>,
}

impl Patience {
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.ends().is_none_or(|end| now < end)
    }

    /// When it ends, unless the client does something.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.since.map(|(held, step)| (step + STEP).min(held + ALL_STEPS))
    }

    /// All that may be sent was sent; whether something waits.
    pub(super) fn held(&mut self, holding: bool, now: Instant) {
        self.since = holding.then(|| self.since.unwrap_or((now, now)));
    }

    /// The client accepted something, or was sent something that did not wait any longer.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        if let Some((_, step)) = &mut self.since {
            *step = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_lasts_a_step_after_each_acceptance_and_not_for_ever() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert!(patience.lasts(at(1_000)), "nothing waits");
        patience.begin_anew(at(0));
        assert_eq!(patience.ends(), None);
        patience.held(true, at(0));
        // That it still waits changes nothing.
        patience.held(true, at(4));
        assert!(patience.lasts(at(4)) && !patience.lasts(at(5)));
        for seconds in (4..=56).step_by(4) {
            patience.begin_anew(at(seconds));
            assert!(patience.lasts(at(seconds + 3)));
        }
        patience.begin_anew(at(59));
        assert_eq!(patience.ends(), Some(at(60)));
        patience.held(false, at(60));
        patience.held(true, at(61));
        assert_eq!(patience.ends(), Some(at(66)));
    }
}
