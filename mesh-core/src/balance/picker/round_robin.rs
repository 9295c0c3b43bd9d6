use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::super::policy::SlowStart;
use super::schedule::Schedule;
use super::{Ask, Candidate};

/// One after another, by weight.
#[derive(Debug)]
pub(super) struct Rotation {
    next: AtomicUsize,
    schedule: Option<Schedule>,
}

impl Rotation {
    pub(super) fn new(slow_start: Option<SlowStart>, candidates: &[Candidate], rng: &mut fastrand::Rng) -> Self {
        let schedule = Schedule::new(slow_start, candidates, rng);
        Self { next: AtomicUsize::new(rng.usize(..candidates.len().max(1))), schedule }
    }

    pub(super) fn pick(&self, candidates: &[Candidate], ask: &Ask<'_>) -> Option<usize> {
        let scheduled = self.schedule.as_ref().and_then(|schedule| schedule.next(candidates, ask, |_| 1.0));
        scheduled.or_else(|| self.next.fetch_add(1, Relaxed).checked_rem(candidates.len()))
    }
}
