use std::time::Duration;

use super::{Ask, Candidate};

/// The cheaper of two.
#[derive(Debug)]
pub(super) struct TwoChoices {
    decay: Duration,
    draw: Draw,
}

#[derive(Debug)]
enum Draw {
    Uniform,
    /// Running sums of the weights.
    Weighted(Box<[f64]>),
}

impl TwoChoices {
    pub(super) fn new(decay: Duration, candidates: &[Candidate]) -> Self {
        let equal = candidates.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let mut sum = 0.0;
        let mut running = |candidate: &Candidate| {
            sum += candidate.weight;
            sum
        };
        let draw = match equal {
            true => Draw::Uniform,
            false => Draw::Weighted(candidates.iter().map(&mut running).collect()),
        };
        Self { decay, draw }
    }

    pub(super) fn pick(&self, candidates: &[Candidate], ask: &mut Ask<'_>) -> Option<usize> {
        let (first, second) = match (&self.draw, candidates.len()) {
            (_, 0 | 1) => return Some(0),
            (Draw::Uniform, count) => {
                let first = ask.rng.usize(..count);
                let second = ask.rng.usize(..count - 1);
                (first, if second < first { second } else { second + 1 })
            }
            (Draw::Weighted(sums), _) => (draw(sums, ask.rng), draw(sums, ask.rng)),
        };
        let cost = |index: usize| candidates.get(index).map(|one| one.member.track.cost(self.decay, ask.now));
        Some(if cost(second)? < cost(first)? { second } else { first })
    }
}

fn draw(sums: &[f64], rng: &mut fastrand::Rng) -> usize {
    let target = rng.f64() * sums.last().copied().unwrap_or_default();
    sums.partition_point(|sum| *sum <= target).min(sums.len() - 1)
}
