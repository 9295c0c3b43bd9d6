//! When an authority's keys change. Pure; times are handed in.
//!
//! There is a current key and, in good time, a next one. The next one is *prepared* and published at once, and *activated*
//! only after every verifier had the time to learn of it: no SVID is ever signed by an authority that was not published
//! before. The times are SPIRE's.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an authority that ended stays in the bundle.
const RETIRED: Duration = DAY;

/// Validity of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its begin.
    pub begin: SystemTime,
    /// Its end.
    pub end: SystemTime,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Wait(SystemTime),
    /// Make the next key and publish it.
    Prepare,
    /// Sign with the next key from now on.
    Activate,
}

impl Life {
    fn span(self) -> Duration {
        self.end.duration_since(self.begin).unwrap_or_default()
    }

    /// When the next key is prepared: at half of the life, at most 30 days before its end.
    #[must_use]
    pub fn prepare_at(self) -> SystemTime {
        self.end - (self.span() / 2).min(30 * DAY)
    }

    /// When the next key takes over: a sixth of the life, at most 7 days, before the end.
    #[must_use]
    pub fn activate_at(self) -> SystemTime {
        self.end - longest_issued(self.span())
    }

    /// Until when it stays in the bundle.
    #[must_use]
    pub fn retired_at(self) -> SystemTime {
        self.end + RETIRED
    }

    /// Until when it stays in the bundle if it signs for the last time at `last`, nothing that lives for more than
    /// `max_life`: an authority of ten years that was replaced is not trusted for ten years.
    #[must_use]
    pub fn retired_after(self, last: SystemTime, max_life: Duration) -> SystemTime {
        let ended = last.checked_add(max_life.max(longest_issued(self.span())));
        ended.map_or(self.end, |ended| ended.min(self.end)) + RETIRED
    }
}

/// The longest life of what a key of such a life may sign, so that nothing outlives its signer: a sixth, at most 7 days.
#[must_use]
pub fn longest_issued(life: Duration) -> Duration {
    (life / 6).min(7 * DAY)
}

/// Time between publication and first use of a key of such a life.
#[must_use]
pub fn lead(life: Duration) -> Duration {
    (life / 2).min(30 * DAY) - longest_issued(life)
}

/// What is due now.
#[must_use]
pub fn step(now: SystemTime, current: Life, next: Option<Life>) -> Step {
    match next {
        None if now >= current.prepare_at() => Step::Prepare,
        None => Step::Wait(current.prepare_at()),
        // A process that slept over the time of activation still gives verifiers the lead that they need, as long as the
        // current key lives.
        Some(next) => {
            let published = next.begin + lead(current.span());
            let due = current.activate_at().max(published.min(current.end));
            if now >= due { Step::Activate } else { Step::Wait(due) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_spire() {
        for (life, wanted_lead, wanted_issued) in [
            (DAY, DAY / 3, DAY / 6),
            (9 * DAY, 3 * DAY, DAY * 3 / 2),
            (30 * DAY, 10 * DAY, 5 * DAY),
            (90 * DAY, 23 * DAY, 7 * DAY),
        ] {
            assert_eq!((lead(life), longest_issued(life)), (wanted_lead, wanted_issued), "{life:?}");
        }
    }

    #[test]
    fn a_signer_is_retired_when_what_it_signed_has_ended() {
        let begin = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let month = Life { begin, end: begin + 30 * DAY };
        // At its regular time that is its own end, earlier it is what it may have signed last.
        assert_eq!(month.retired_after(month.activate_at(), DAY), month.retired_at());
        assert_eq!(month.retired_after(begin + 10 * DAY, DAY), begin + 16 * DAY);
        let decade = Life { begin, end: begin + 3650 * DAY };
        assert_eq!(decade.retired_after(begin + DAY, DAY), begin + 9 * DAY);
        assert_eq!(decade.retired_after(begin + DAY, 20 * DAY), begin + 22 * DAY);
        assert_eq!(decade.retired_after(begin + DAY, Duration::MAX), decade.retired_at());
    }

    #[test]
    fn one_life_after_another() {
        let begin = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let current = Life { begin, end: begin + 30 * DAY };
        assert_eq!(step(begin, current, None), Step::Wait(begin + 15 * DAY));
        assert_eq!(step(begin + 15 * DAY, current, None), Step::Prepare);
        let next = Life { begin: begin + 15 * DAY, end: begin + 45 * DAY };
        assert_eq!(step(begin + 15 * DAY, current, Some(next)), Step::Wait(begin + 25 * DAY));
        assert_eq!(step(begin + 25 * DAY, current, Some(next)), Step::Activate);
        // Prepared late: it still gets its lead, but not beyond the end of the current one.
        let late = Life { begin: begin + 18 * DAY, end: begin + 48 * DAY };
        assert_eq!(step(begin + 25 * DAY, current, Some(late)), Step::Wait(begin + 28 * DAY));
        let too_late = Life { begin: begin + 29 * DAY, end: begin + 59 * DAY };
        assert_eq!(step(begin + 29 * DAY, current, Some(too_late)), Step::Wait(begin + 30 * DAY));
    }
}
