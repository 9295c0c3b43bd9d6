use super::super::policy::{Choice, LeastRequest};
use super::schedule::Schedule;
use super::{Ask, Candidate};

/// The one with the fewest requests in flight among some.
#[derive(Debug)]
pub(super) struct FewestRequests {
    choice: Choice,
    bias: f64,
    schedule: Option<Schedule>,
}

impl FewestRequests {
    pub(super) fn new(settings: LeastRequest, candidates: &[Candidate], rng: &mut fastrand::Rng) -> Self {
        let LeastRequest { choice, bias, slow_start } = settings;
        Self { choice, bias, schedule: Schedule::new(slow_start, candidates, rng) }
    }

    pub(super) fn pick(&self, candidates: &[Candidate], ask: &mut Ask<'_>) -> Option<usize> {
        let biased = |candidate: &Candidate| {
            let active = f64::from(candidate.member.track.active()) + 1.0;
            match self.bias {
                0.0 => 1.0,
                1.0 => active.recip(),
                bias => active.powf(bias).recip(),
            }
        };
        let scheduled = self.schedule.as_ref().and_then(|schedule| schedule.next(candidates, ask, biased));
        scheduled.or_else(|| self.fewest(candidates, ask))
    }

    fn fewest(&self, candidates: &[Candidate], ask: &mut Ask<'_>) -> Option<usize> {
        let count = candidates.len();
        let active = |index: &usize| candidates.get(*index).map(|candidate| candidate.member.track.active());
        match self.choice {
            // The first on a tie; from a random place, or an idle cluster would use its first endpoint only.
            Choice::All => {
                let start = ask.rng.usize(..count);
                (start..count).chain(0..start).min_by_key(active)
            }
            Choice::Random(draws) => {
                // More draws than there are endpoints would only cost time.
                let draws = usize::try_from(draws).unwrap_or(usize::MAX).min(count).max(2);
                (0..draws).map(|_| ask.rng.usize(..count)).min_by_key(active)
            }
        }
    }
}
