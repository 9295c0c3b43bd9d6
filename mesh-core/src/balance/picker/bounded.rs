use super::super::policy::Hashing;
use super::{Ask, Candidate};

/// Consistent hashing with bounded loads: no endpoint has much more in flight than its share.
#[derive(Debug)]
pub(super) struct Bounded {
    /// Percent of the average.
    factor: Option<u32>,
}

impl Bounded {
    pub(super) fn new(hashing: &Hashing) -> Self {
        Self { factor: hashing.balance_factor }
    }

    /// The endpoint that was found, or another if it has too much: the first that has not in an order that depends on the
    /// hash alone, so that the same requests meet again; or else the one that has least too much.
    pub(super) fn relieve(&self, found: usize, candidates: &[Candidate], ask: &Ask<'_>) -> usize {
        let Some(factor) = self.factor else { return found };
        let slots = (u64::from(ask.active) + 1).saturating_mul(factor.into()).div_ceil(100) as f64;
        let fullness = |candidate: &Candidate| {
            f64::from(candidate.member.track.active()) / (slots * candidate.weight).ceil().max(1.0)
        };
        let Some(of_found) = candidates.get(found).map(fullness).filter(|fullness| *fullness > 1.0) else {
            return found;
        };
        let mut least = (of_found, found);
        for index in walk(ask.hash, candidates.len()) {
            let Some(of_this) = candidates.get(index).map(fullness) else { continue };
            if of_this <= 1.0 {
                return index;
            }
            if of_this < least.0 {
                least = (of_this, index);
            }
        }
        least.1
    }
}

/// All indexes below `count` in an order that depends on the hash: a step that has no divisor in common with `count` goes
/// through all of them, without a list of where it has been.
fn walk(hash: u64, count: usize) -> impl Iterator<Item = usize> {
    let mut rng = fastrand::Rng::with_seed(hash);
    let start = rng.usize(..count.max(1));
    let first = rng.usize(..count.max(1));
    let step = (first..).find(|step| gcd(*step, count) == 1).unwrap_or(1) % count.max(1);
    let next = move |index: &usize| Some((index + step) % count);
    std::iter::successors(Some(start), next).take(count)
}

const fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_everybody_once() {
        for count in [0, 1, 2, 3, 10, 64, 97] {
            for hash in 0..50 {
                let mut met: Vec<_> = walk(hash, count).collect();
                met.sort_unstable();
                assert_eq!(met, (0..count).collect::<Vec<_>>());
            }
        }
        assert!(
            (0..50)
                .map(|hash| walk(hash, 10).collect::<Vec<_>>())
                .any(|order| order != walk(0, 10).collect::<Vec<_>>())
        );
    }
}
