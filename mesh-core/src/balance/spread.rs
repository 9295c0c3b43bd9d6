//! How requests are spread over endpoints: by level of priority, by locality, and by the policy.

use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::Cluster;
use super::member::Member;
use super::pick::PickError;
use super::picker::{Ask, Candidate, Edf, Picker};
use super::policy::{Localities, OnPanic, ZoneAware};
use super::priority::{Level, Load, loads};
use super::zone::{Local, Population, Route};
use crate::name::Locality;

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
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) locality: &'a Locality,
    pub(super) priority: u32,
    pub(super) weight: u32,
    pub(super) members: &'a [(Arc<Member>, Condition)],
}

/// What does not depend on the endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) localities: Localities,
    pub(super) local: Option<&'a Local>,
    pub(super) factor: u32,
    pub(super) by_weight: bool,
}

/// Endpoints that share requests.
#[derive(Debug)]
pub(super) struct Spread {
    tiers: Box<[Tier]>,
    is_empty: bool,
}

/// The healthy endpoints of a priority, or the degraded ones, and their share of the requests.
#[derive(Debug)]
struct Tier {
    priority: u32,
    /// Running sum of percents.
    up_to: u64,
    /// What they could bear alone, in percent of all requests.
    available: u32,
    set: Set,
}

#[derive(Debug)]
enum Set {
    Whole(Picker),
    ByLocality { order: Mutex<Edf>, weights: Box<[f64]>, pickers: Box<[Picker]> },
    ByZone(Zones),
    Nobody,
}

/// The endpoints of each zone apart.
#[derive(Debug)]
struct Zones {
    /// So many of the requests go by `route`, the others to the whole.
    percent: u32,
    whole: Picker,
    route: Route,
    pickers: Box<[Option<Picker>]>,
}

impl Spread {
    /// The places must be in the order of their priorities.
    pub(super) fn new(places: &[Place<'_>], terms: Terms<'_>, rng: &mut fastrand::Rng) -> Self {
        let levels: Vec<_> = places.chunk_by(|left, right| left.priority == right.priority).collect();
        let states: Vec<_> = levels.iter().map(|places| state(places, terms.by_weight)).collect();
        let loads = loads(&states, terms.factor, terms.cluster.panic_threshold);
        let mut build = Build { terms, rng };
        let (mut up_to, mut tiers) = (0, Vec::new());
        for wanted in [Condition::Healthy, Condition::Degraded] {
            for (load, places) in loads.iter().zip(&levels) {
                let (percent, available) = match wanted {
                    Condition::Healthy => (load.healthy, load.available.0),
                    _ => (load.degraded, load.available.1),
                };
                // Where there are others, a request may leave those out that now get everything.
                if percent > 0 || (levels.len() > 1 && available > 0) {
                    up_to += u64::from(percent);
                    let priority = places.first().map_or(0, |place| place.priority);
                    tiers.push(Tier { priority, up_to, available, set: build.set(places, *load, wanted) });
                }
            }
        }
        Self { tiers: tiers.into(), is_empty: places.iter().all(|place| place.members.is_empty()) }
    }

    pub(super) fn choose(&self, ask: &mut Ask<'_>) -> Result<&Arc<Member>, PickError> {
        // The same request goes to the same level.
        let percent = ask.hash % 100 + 1;
        let nobody = if self.is_empty { PickError::NoEndpoints } else { PickError::NoHealthyEndpoint };
        let by_share = || self.tiers.iter().find(|tier| tier.up_to >= percent);
        let Some(tier) = self.without(ask.avoided, percent).or_else(by_share) else { return Err(nobody) };
        match &tier.set {
            Set::Whole(picker) => picker.pick(ask),
            Set::ByLocality { order, weights, pickers } => {
                let weight = |index: usize| weights.get(index).copied().unwrap_or(1.0);
                let next = order.lock().unwrap_or_else(PoisonError::into_inner).next(weight);
                next.and_then(|index| pickers.get(index)).and_then(|picker| picker.pick(ask))
            }
            Set::ByZone(zones) => zones.pick(ask),
            Set::Nobody => None,
        }
        .ok_or(nobody)
    }

    /// The tier for a request that leaves out some priorities: the others bear what they can, from the first on, as in Envoy.
    /// `None` if nothing is left out, or nobody is left.
    fn without(&self, avoided: &[u32], percent: u64) -> Option<&Tier> {
        if avoided.is_empty() {
            return None;
        }
        let left = || self.tiers.iter().filter(|tier| tier.available > 0 && !avoided.contains(&tier.priority));
        let total = left().map(|tier| u64::from(tier.available)).sum::<u64>().min(100);
        let mut up_to = 0;
        let found = left().find(|tier| {
            up_to += u64::from(tier.available) * 100 / total;
            up_to >= percent
        });
        // What integers lose goes to the first.
        found.or_else(|| left().next())
    }
}

impl Zones {
    fn pick(&self, ask: &mut Ask<'_>) -> Option<&Arc<Member>> {
        if ask.rng.u32(..100) >= self.percent {
            return self.whole.pick(ask);
        }
        let index = match &self.route {
            Route::Everywhere => return self.whole.pick(ask),
            Route::Nowhere => return None,
            Route::Own(index) => *index,
            Route::Shared { own, up_to } => match own {
                Some((index, share)) if ask.rng.u64(..10_000) < *share => *index,
                _ => {
                    let drawn = ask.rng.u64(..up_to.last().copied().unwrap_or(1).max(1));
                    up_to.partition_point(|sum| *sum <= drawn)
                }
            },
        };
        self.pickers.get(index)?.as_ref()?.pick(ask)
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
    terms: Terms<'b>,
    rng: &'a mut fastrand::Rng,
}

impl Build<'_, '_> {
    fn set(&mut self, places: &[Place<'_>], load: Load, wanted: Condition) -> Set {
        let localities = self.terms.localities;
        if load.panics {
            return match localities {
                Localities::ZoneAware(ZoneAware { on_panic: OnPanic::Fail, .. }) => Set::Nobody,
                _ => self.whole(places, |_| true),
            };
        }
        let takes_part = |condition: Condition| condition == wanted;
        match localities {
            Localities::Weighted if self.terms.cluster.policy.hashes() => self.hashed(places, takes_part),
            Localities::Weighted => self.by_locality(places, takes_part),
            // Only healthy endpoints of the first priority: by them zones are measured.
            Localities::ZoneAware(settings) if wanted == Condition::Healthy => self.by_zone(places, &settings),
            Localities::ZoneAware(_) => self.whole(places, takes_part),
        }
    }

    fn whole(&mut self, places: &[Place<'_>], takes_part: impl Fn(Condition) -> bool) -> Set {
        self.whole_picker(places, takes_part).map_or(Set::Nobody, Set::Whole)
    }

    fn whole_picker(&mut self, places: &[Place<'_>], takes_part: impl Fn(Condition) -> bool) -> Option<Picker> {
        let mut candidates: Vec<_> = places.iter().flat_map(|place| candidates(place, &takes_part)).collect();
        normalize(&mut candidates, 1.0);
        self.picker(candidates)
    }

    /// The own zone as far as it goes, then the others.
    fn by_zone(&mut self, places: &[Place<'_>], settings: &ZoneAware) -> Set {
        let takes_part = |condition: Condition| condition == Condition::Healthy;
        let local = self.terms.local.filter(|_| settings.percent > 0 && self.terms.cluster.policy.is_zone_aware());
        let is_first = places.first().is_some_and(|place| place.priority == 0);
        let (Some(local), true) = (local, is_first) else { return self.whole(places, takes_part) };
        let upstream: Vec<_> = places.iter().map(|place| (place.locality, population(place))).collect();
        let route = local.route(settings, self.terms.cluster.panic_threshold, &upstream);
        if route == Route::Everywhere {
            return self.whole(places, takes_part);
        }
        let Some(whole) = self.whole_picker(places, takes_part) else { return Set::Nobody };
        let of_place = |place| self.picker(candidates(place, takes_part).collect());
        let pickers = places.iter().map(of_place).collect();
        Set::ByZone(Zones { percent: settings.percent, whole, route, pickers })
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

fn population(place: &Place<'_>) -> Population {
    let mut population = Population::default();
    for (member, condition) in place.members {
        population.all += 1;
        match condition {
            Condition::Healthy => {
                population.healthy += 1;
                population.weight += u64::from(member.endpoint.weight.get());
            }
            Condition::Degraded => population.degraded += 1,
            Condition::Unhealthy | Condition::Excluded => {}
        }
    }
    population
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
