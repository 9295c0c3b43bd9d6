//! Endpoints of unequal weight, or on their slow start, in the order in which they are due.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::super::policy::SlowStart;
use super::super::slow_start;
use super::{Ask, Candidate, Edf};

/// A schedule is shared by all tasks and behind a lock, which is held for the time of one exchange in a heap. Endpoints of
/// equal weight do not need one.
#[derive(Debug)]
pub(super) struct Schedule {
    edf: Mutex<Edf>,
    needed: Needed,
    slow_start: Option<SlowStart>,
}

#[derive(Debug, Clone, Copy)]
enum Needed {
    Always,
    /// As long as an endpoint is on its slow start.
    Until(Instant),
}

impl Schedule {
    /// None where all endpoints have the same weight and never another.
    pub(super) fn new(
        slow_start: Option<SlowStart>,
        candidates: &[Candidate],
        rng: &mut fastrand::Rng,
    ) -> Option<Self> {
        let weights: Vec<_> = candidates.iter().map(|candidate| candidate.weight).collect();
        let unequal = weights.windows(2).any(|pair| pair[0] != pair[1]);
        let joined = candidates.iter().map(|candidate| candidate.member.track.joined()).max();
        let needed = match (unequal, slow_start, joined) {
            (true, _, _) => Needed::Always,
            (false, Some(SlowStart { window, .. }), Some(joined)) => Needed::Until(joined + window),
            _ => return None,
        };
        Some(Self { edf: Mutex::new(Edf::new(&weights, rng)), needed, slow_start })
    }

    /// The endpoint that is due, if the schedule is needed now. `scale` says what else its weight is multiplied with.
    pub(super) fn next(
        &self,
        candidates: &[Candidate],
        ask: &Ask<'_>,
        scale: impl FnOnce(&Candidate) -> f64,
    ) -> Option<usize> {
        if let Needed::Until(end) = self.needed
            && ask.now >= end
        {
            return None;
        }
        let weight = |index: usize| {
            let Some(candidate) = candidates.get(index) else { return 1.0 };
            let in_use = || ask.now.saturating_duration_since(candidate.member.track.joined());
            let share = self.slow_start.map_or(1.0, |settings| slow_start::share(&settings, in_use()));
            candidate.weight * share * scale(candidate)
        };
        // A schedule is whole between any two steps: who panicked while holding it left nothing half-done.
        self.edf.lock().unwrap_or_else(PoisonError::into_inner).next(weight)
    }
}
