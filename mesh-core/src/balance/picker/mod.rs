//! One algorithm each: which of the endpoints that take part.

mod bounded;
mod edf;
mod least_request;
mod maglev;
mod p2c;
mod ring_hash;
mod round_robin;
mod schedule;

use std::sync::Arc;
use std::time::Instant;

pub(super) use edf::Edf;

use super::member::Member;
use super::policy::Policy;
use bounded::Bounded;
use least_request::FewestRequests;
use maglev::Table;
use p2c::TwoChoices;
use ring_hash::Ring;
use round_robin::Rotation;

/// What a picker is asked.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// The hash of the request, or a random number if it has none.
    pub(super) hash: u64,
    /// How many times the request was tried before.
    pub(super) attempt: u32,
    /// Priorities that are left out if they can be.
    pub(super) avoided: &'a [u32],
    pub(super) now: Instant,
    /// Requests in flight to the whole cluster.
    pub(super) active: u32,
    pub(super) rng: &'a mut fastrand::Rng,
}

/// A member and its share in what its picker picks from.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) member: Arc<Member>,
    /// Where endpoints are hashed, shares sum up to 1.
    pub(super) weight: f64,
}

#[derive(Debug)]
pub(super) struct Picker {
    candidates: Box<[Candidate]>,
    algorithm: Algorithm,
}

#[derive(Debug)]
enum Algorithm {
    TwoChoices(TwoChoices),
    Rotation(Rotation),
    FewestRequests(FewestRequests),
    Random,
    First,
    Ring(Ring, Bounded),
    Table(Table, Bounded),
}

impl Picker {
    pub(super) fn new(policy: &Policy, mut candidates: Box<[Candidate]>, rng: &mut fastrand::Rng) -> Self {
        let algorithm = match policy {
            Policy::PeakEwma { decay } => Algorithm::TwoChoices(TwoChoices::new(*decay, &candidates)),
            Policy::RoundRobin { slow_start } => Algorithm::Rotation(Rotation::new(*slow_start, &candidates, rng)),
            Policy::LeastRequest(settings) => {
                Algorithm::FewestRequests(FewestRequests::new(*settings, &candidates, rng))
            }
            Policy::Random | Policy::ClusterProvided => Algorithm::Random,
            Policy::PickFirst { shuffle } => {
                if *shuffle {
                    // A draw u^(1/w) per endpoint, greatest first: each is first as often as its weight says.
                    let mut drawn: Vec<_> =
                        candidates.iter().map(|one| (rng.f64().powf(one.weight.recip()), one.clone())).collect();
                    drawn.sort_by(|(left, _), (right, _)| right.total_cmp(left));
                    candidates = drawn.into_iter().map(|(_, candidate)| candidate).collect();
                }
                Algorithm::First
            }
            Policy::RingHash(settings) => {
                Algorithm::Ring(Ring::new(settings, &candidates), Bounded::new(&settings.hashing))
            }
            Policy::Maglev(settings) => {
                Algorithm::Table(Table::new(settings, &candidates), Bounded::new(&settings.hashing))
            }
        };
        Self { candidates, algorithm }
    }

    /// One of the candidates; none only if there are none.
    pub(super) fn pick(&self, ask: &mut Ask<'_>) -> Option<&Arc<Member>> {
        let candidates = &*self.candidates;
        if candidates.is_empty() {
            return None;
        }
        let index = match &self.algorithm {
            Algorithm::TwoChoices(two) => two.pick(candidates, ask),
            Algorithm::Rotation(rotation) => rotation.pick(candidates, ask),
            Algorithm::FewestRequests(fewest) => fewest.pick(candidates, ask),
            Algorithm::Random => Some(ask.rng.usize(..candidates.len())),
            Algorithm::First => Some(0),
            Algorithm::Ring(ring, bounded) => ring.find(ask).map(|first| bounded.relieve(first, candidates, ask)),
            Algorithm::Table(table, bounded) => table.find(ask).map(|first| bounded.relieve(first, candidates, ask)),
        };
        candidates.get(index?).map(|candidate| &candidate.member)
    }
}
