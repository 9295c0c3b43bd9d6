//! Which endpoints take part at the moment, with what weight. Made anew when an endpoint, its health or a setting changes;
//! read without waiting by everybody who picks.

use std::sync::{Arc, Mutex, PoisonError};

use super::assignment::Drop;
use super::circuit::Circuit;
use super::cluster::Cluster;
use super::member::Member;
use super::pick::PickError;
use super::picker::{Ask, Candidate, Edf, Picker};
use super::policy::{Localities, OnPanic};
use super::priority::{Level, Load, loads};

/// Whether an endpoint takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Healthy,
    Degraded,
    Unhealthy,
    /// Not checked yet, and left out of the arithmetic.
    Excluded,
}

/// The endpoints of a locality in a priority, with their condition.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) priority: u32,
    pub(super) weight: u32,
    pub(super) members: &'a [(Arc<Member>, Condition)],
}

/// What does not depend on the endpoints.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) factor: u32,
    pub(super) by_weight: bool,
    pub(super) drops: &'a [Drop],
    pub(super) circuit: Circuit,
}

#[derive(Debug)]
pub(super) struct Snapshot {
    drops: Box<[Drop]>,
    shares: Box<[Share]>,
    pub(super) circuit: Circuit,
    /// Whether the hash of a request decides anything.
    pub(super) hashes: bool,
    is_empty: bool,
}

/// Endpoints that get a share of the requests.
#[derive(Debug)]
struct Share {
    /// Running sum of percents.
    up_to: u64,
    set: Set,
}

#[derive(Debug)]
enum Set {
    Whole(Picker),
    ByLocality { order: Mutex<Edf>, weights: Box<[f64]>, pickers: Box<[Picker]> },
    Nobody,
}

impl Snapshot {
    /// The places must be in the order of their priorities.
    pub(super) fn new(places: &[Place<'_>], terms: &Terms<'_>, rng: &mut fastrand::Rng) -> Self {
        let levels: Vec<_> = places.chunk_by(|left, right| left.priority == right.priority).collect();
        let states: Vec<_> = levels.iter().map(|places| state(places, terms.by_weight)).collect();
        let loads = loads(&states, terms.factor, terms.cluster.panic_threshold);
        let mut up_to = 0;
        let mut shares = Vec::new();
        let mut share = |percent: u32, set: &mut dyn FnMut() -> Set| {
            if percent > 0 {
                up_to += u64::from(percent);
                shares.push(Share { up_to, set: set() });
            }
        };
        let mut build = Build { terms, rng };
        for (load, places) in loads.iter().zip(&levels) {
            share(load.healthy, &mut || build.set(places, *load, Condition::Healthy));
        }
        for (load, places) in loads.iter().zip(&levels) {
            share(load.degraded, &mut || build.set(places, *load, Condition::Degraded));
        }
        Self {
            drops: terms.drops.into(),
            shares: shares.into(),
            circuit: terms.circuit.clone(),
            hashes: terms.cluster.policy.hashes(),
            is_empty: places.iter().all(|place| place.members.is_empty()),
        }
    }

    /// The category that the request is dropped under, if it is one of those that are dropped.
    pub(super) fn dropped(&self, rng: &mut fastrand::Rng) -> Option<&Drop> {
        self.drops.iter().find(|drop| rng.u32(..1_000_000) < drop.share.value())
    }

    pub(super) fn choose(&self, ask: &mut Ask<'_>) -> Result<&Arc<Member>, PickError> {
        // The same request goes to the same level.
        let percent = ask.hash % 100 + 1;
        let nobody = if self.is_empty { PickError::NoEndpoints } else { PickError::NoHealthyEndpoint };
        let share = self.shares.iter().find(|share| share.up_to >= percent).ok_or_else(|| nobody.clone())?;
        match &share.set {
            Set::Whole(picker) => picker.pick(ask),
            Set::ByLocality { order, weights, pickers } => {
                let weight = |index: usize| weights.get(index).copied().unwrap_or(1.0);
                let next = order.lock().unwrap_or_else(PoisonError::into_inner).next(weight);
                next.and_then(|index| pickers.get(index)).and_then(|picker| picker.pick(ask))
            }
            Set::Nobody => None,
        }
        .ok_or(nobody)
    }
}

fn state(places: &[Place<'_>], by_weight: bool) -> Level {
    let mut level = Level::default();
    for (member, condition) in places.iter().flat_map(|place| place.members) {
        let one = if by_weight { u64::from(member.endpoint.weight.get()) } else { 1 };
        level.all += one;
        match condition {
            Condition::Healthy => level.healthy += one,
            Condition::Degraded => level.degraded += one,
            Condition::Unhealthy => {}
            Condition::Excluded => continue,
        }
        level.counted += one;
    }
    level
}

struct Build<'a, 'b> {
    terms: &'a Terms<'b>,
    rng: &'a mut fastrand::Rng,
}

impl Build<'_, '_> {
    fn set(&mut self, places: &[Place<'_>], load: Load, wanted: Condition) -> Set {
        let localities = self.terms.cluster.localities;
        if load.panics {
            return match localities {
                Localities::Flat { on_panic: OnPanic::Fail } => Set::Nobody,
                _ => self.whole(places, |_| true),
            };
        }
        let takes_part = |condition: Condition| condition == wanted;
        match localities {
            Localities::Weighted if self.terms.cluster.policy.hashes() => self.hashed(places, takes_part),
            Localities::Weighted => self.by_locality(places, takes_part),
            Localities::Flat { .. } => self.whole(places, takes_part),
        }
    }

    fn whole(&mut self, places: &[Place<'_>], takes_part: impl Fn(Condition) -> bool) -> Set {
        let mut candidates: Vec<_> = places.iter().flat_map(|place| candidates(place, &takes_part)).collect();
        normalize(&mut candidates, 1.0);
        self.picker(candidates).map_or(Set::Nobody, Set::Whole)
    }

    /// A locality by its weight and the share of it that takes part, then an endpoint.
    fn by_locality(&mut self, places: &[Place<'_>], takes_part: impl Fn(Condition) -> bool) -> Set {
        let mut weights = Vec::new();
        let mut pickers = Vec::new();
        for place in places {
            let weight = effective_weight(place, &takes_part, self.terms.factor);
            if weight > 0.0
                && let Some(picker) = self.picker(candidates(place, &takes_part).collect())
            {
                weights.push(weight);
                pickers.push(picker);
            }
        }
        if pickers.is_empty() {
            // No weights at all: they cannot count.
            return self.whole(places, takes_part);
        }
        let order = Mutex::new(Edf::new(&weights, self.rng));
        Set::ByLocality { order, weights: weights.into(), pickers: pickers.into() }
    }

    /// All in one ring or table; each locality has as much of it as its weight says.
    fn hashed(&mut self, places: &[Place<'_>], takes_part: impl Fn(Condition) -> bool) -> Set {
        let all: f64 = places.iter().map(|place| f64::from(place.weight)).sum();
        let mut in_all = Vec::new();
        for place in places.iter().filter(|place| place.weight > 0) {
            let mut of_place: Vec<_> = candidates(place, &takes_part).collect();
            normalize(&mut of_place, f64::from(place.weight) / all);
            in_all.extend(of_place);
        }
        self.picker(in_all).map_or(Set::Nobody, Set::Whole)
    }

    fn picker(&mut self, candidates: Vec<Candidate>) -> Option<Picker> {
        let policy = &self.terms.cluster.policy;
        (!candidates.is_empty()).then(|| Picker::new(policy, candidates.into(), self.rng))
    }
}

fn candidates(place: &Place<'_>, takes_part: impl Fn(Condition) -> bool) -> impl Iterator<Item = Candidate> {
    let members = place.members.iter().filter(move |(_, condition)| takes_part(*condition));
    members.map(|(member, _)| Candidate { member: Arc::clone(member), weight: member.weight() })
}

/// Weight of a locality: less when fewer of its endpoints take part than overprovisioning makes up for.
fn effective_weight(place: &Place<'_>, takes_part: impl Fn(Condition) -> bool, factor: u32) -> f64 {
    let counted = place.members.iter().filter(|(_, condition)| *condition != Condition::Excluded).count();
    let part = place.members.iter().filter(|(_, condition)| takes_part(*condition)).count();
    match counted {
        0 => 0.0,
        counted => {
            let available = (f64::from(factor) * part as f64 / counted as f64).min(100.0);
            f64::from(place.weight) * available / 100.0
        }
    }
}

/// Makes weights sum up to `sum`. Equal weights stay exactly equal.
fn normalize(candidates: &mut [Candidate], sum: f64) {
    let before: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    for candidate in candidates {
        candidate.weight = candidate.weight / before * sum;
    }
}
