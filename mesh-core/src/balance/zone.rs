//! Zone-aware routing: requests stay in the zone of who sends them, as far as the zone has endpoints for them. Envoy's integer
//! arithmetic.

use std::sync::Arc;

use super::assignment::{Assignment, Endpoint, Health};
use super::policy::{LocalityBasis, ZoneAware};
use crate::name::Locality;

/// Where the one who balances is, and where those are who do the same work beside it: Envoy's local cluster.
///
/// Zone-aware routing keeps as much traffic in a zone as the zone's endpoints can bear, which depends on how many send it.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalCluster {
    /// The locality of the one who balances.
    pub locality: Locality,
    /// It and those beside it. Of them the first priority counts, and what the control plane says of their health.
    pub assignment: Arc<Assignment>,
}

/// What counts of a local cluster.
#[derive(Debug)]
pub(super) struct Local {
    locality: Locality,
    populations: Vec<(Locality, Population)>,
}

/// How many endpoints a locality has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Population {
    pub(super) all: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    /// The weight of those that are healthy.
    pub(super) weight: u64,
}

/// How the requests of a level of priority are spread over its localities.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// As if there were none.
    Everywhere,
    /// Not at all.
    Nowhere,
    /// All to this one.
    Own(usize),
    Shared {
        /// Which one is the own, and its share in parts of 10,000.
        own: Option<(usize, u64)>,
        /// Running sum of what each of the localities takes of the rest.
        up_to: Box<[u64]>,
    },
}

impl Local {
    pub(super) fn new(local: &LocalCluster) -> Self {
        let LocalCluster { locality, assignment } = local;
        let first = assignment.localities.iter().filter(|place| place.priority == 0 && !place.endpoints.is_empty());
        let populations = first.map(|place| (place.locality.clone(), population(&place.endpoints))).collect();
        Self { locality: locality.clone(), populations }
    }

    /// How requests are spread over the localities of the first priority, of which those without endpoints do not count.
    pub(super) fn route(
        &self,
        settings: &ZoneAware,
        panic_threshold: u32,
        upstream: &[(&Locality, Population)],
    ) -> Route {
        let there = upstream.iter().filter(|(_, population)| population.all > 0).count();
        let forced = settings.force_local.map(|least| u64::from(least.get()));
        let own_is_known = self.populations.iter().any(|(locality, _)| *locality == self.locality);
        let healthy: u64 = upstream.iter().map(|(_, population)| population.healthy).sum();
        if there < 2
            || (self.populations.len() < 2 && forced.is_none())
            || !own_is_known
            || healthy < settings.min_cluster_size
        {
            return Route::Everywhere;
        }
        if self.panics(panic_threshold) {
            return if settings.on_panic.fails() { Route::Nowhere } else { Route::Everywhere };
        }
        let size = |population: &Population| match settings.basis {
            LocalityBasis::Endpoints => population.healthy,
            LocalityBasis::Weight => population.weight,
        };
        let of_local = |locality: &Locality| {
            let found = self.populations.iter().find(|(one, _)| one == locality);
            found.map_or(0, |(_, population)| size(population))
        };
        let local: u64 = self.populations.iter().map(|(_, population)| size(population)).sum();
        let all: u64 = upstream.iter().map(|(_, population)| size(population)).sum();
        // Of requests, and of what can be borne.
        let share = |locality: &Locality, population: &Population| match size(population) {
            0 => (0, 0),
            part => (parts(of_local(locality), local), parts(part, all)),
        };
        let own = upstream.iter().position(|(locality, _)| **locality == self.locality);
        let own = own.and_then(|index| upstream.get(index).map(|(locality, population)| (index, locality, population)));
        let mut own_share = None;
        if let Some((index, locality, population)) = own {
            let (sent, borne) = share(locality, population);
            if (borne > 0 && borne >= sent) || forced.is_some_and(|least| population.healthy >= least) {
                return Route::Own(index);
            }
            own_share = (sent > 0).then(|| (index, borne * 10_000 / sent));
        }
        let spare = |(index, (locality, population)): (usize, &(&Locality, Population))| {
            let (sent, borne) = share(locality, population);
            let is_own = own.is_some_and(|(own, ..)| own == index);
            if is_own { 0 } else { borne.saturating_sub(sent) }
        };
        let mut up_to = running(upstream.iter().enumerate().map(spare));
        if up_to.last().is_none_or(|last| *last == 0) {
            // What integers lose may leave nothing to spare: whoever is there is as good as any other.
            up_to = running(upstream.iter().map(|(_, population)| u64::from(population.healthy > 0)));
        }
        Route::Shared { own: own_share, up_to }
    }

    fn panics(&self, threshold: u32) -> bool {
        let all: u64 = self.populations.iter().map(|(_, population)| population.all).sum();
        let usable: u64 = self.populations.iter().map(|(_, one)| one.healthy + one.degraded).sum();
        100 * u128::from(usable) < u128::from(threshold) * u128::from(all)
    }
}

fn population(endpoints: &[Endpoint]) -> Population {
    let mut population = Population::default();
    for endpoint in endpoints {
        population.all += 1;
        match endpoint.health {
            Health::Unknown | Health::Healthy => {
                population.healthy += 1;
                population.weight += u64::from(endpoint.weight.get());
            }
            Health::Degraded => population.degraded += 1,
            Health::Unhealthy | Health::Draining | Health::Timeout => {}
        }
    }
    population
}

/// Parts of 10,000.
fn parts(part: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * 10_000 / u128::from(of.max(1))).unwrap_or(10_000)
}

fn running(shares: impl Iterator<Item = u64>) -> Box<[u64]> {
    let mut sum = 0;
    let mut add = |share: u64| {
        sum += share;
        sum
    };
    shares.map(&mut add).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::policy::OnPanic;
    use super::*;

    fn zone(index: usize) -> Locality {
        Locality::new("eu", &format!("z{index}"), "")
    }

    fn local(own: usize, counts: &[u64]) -> Local {
        let population = |healthy: u64| Population { all: healthy, healthy, degraded: 0, weight: healthy };
        let populations = counts.iter().enumerate().map(|(index, count)| (zone(index), population(*count))).collect();
        Local { locality: zone(own), populations }
    }

    fn route(local: &Local, settings: &ZoneAware, counts: &[u64]) -> Route {
        let zones: Vec<_> = (0..counts.len()).map(zone).collect();
        let population = |healthy: u64| Population { all: healthy, healthy, degraded: 0, weight: 10 * healthy };
        let upstream: Vec<_> = zones.iter().zip(counts).map(|(zone, count)| (zone, population(*count))).collect();
        local.route(settings, 50, &upstream)
    }

    fn shared(own: Option<(usize, u64)>, up_to: &[u64]) -> Route {
        Route::Shared { own, up_to: up_to.into() }
    }

    #[test]
    fn envoys_arithmetic() {
        // Own zone, local endpoints by zone, upstream endpoints by zone → where to.
        type Row<'a> = (usize, &'a [u64], &'a [u64], Route);
        let table: [Row<'_>; 11] = [
            // As many upstream as local, or more: all stays.
            (0, &[5, 5], &[5, 5], Route::Own(0)),
            (1, &[5, 5], &[4, 6], Route::Own(1)),
            // 40, 40, 20 % send to 25, 50, 25 %: 62.5 % stays, the rest to what the others can bear beyond their own.
            (0, &[4, 4, 2], &[5, 10, 5], shared(Some((0, 6250)), &[0, 1000, 1500])),
            (1, &[4, 4, 2], &[5, 10, 5], Route::Own(1)),
            // Nobody is in the own zone upstream.
            (0, &[5, 5], &[0, 4, 4], shared(None, &[0, 0, 5000])),
            // Fewer than two zones on either side; own zone not known; fewer than six endpoints.
            (0, &[5, 5], &[10], Route::Everywhere),
            (0, &[5], &[5, 5], Route::Everywhere),
            (2, &[5, 5], &[5, 5], Route::Everywhere),
            (0, &[5, 5], &[3, 2], Route::Everywhere),
            (0, &[5, 5], &[3, 3], Route::Own(0)),
            // Thirds of ten thousand do not add up, and nobody has anything to spare: to whoever is there.
            (0, &[1, 1, 1], &[66_658, 66_671, 66_671], shared(Some((0, 9996)), &[1, 2, 3])),
        ];
        for (own, of_local, upstream, expected) in table {
            let route = route(&local(own, of_local), &ZoneAware::default(), upstream);
            assert_eq!(route, expected, "{own} {of_local:?} {upstream:?}");
        }
    }

    #[test]
    fn a_zone_may_be_forced() {
        let force = |least| ZoneAware { force_local: NonZeroU32::new(least), ..ZoneAware::default() };
        let local = local(0, &[9, 1]);
        assert_eq!(route(&local, &ZoneAware::default(), &[2, 8]), shared(Some((0, 2222)), &[0, 7000]));
        assert_eq!(route(&local, &force(2), &[2, 8]), Route::Own(0));
        assert_eq!(route(&local, &force(3), &[2, 8]), shared(Some((0, 2222)), &[0, 7000]));
        // One zone of our own is enough then.
        assert_eq!(route(&self::local(0, &[9]), &force(1), &[2, 8]), Route::Own(0));
    }

    #[test]
    fn a_local_cluster_in_panic_is_not_to_be_trusted() {
        let mut local = local(0, &[5, 5]);
        for (_, population) in &mut local.populations {
            population.all = 11;
        }
        assert_eq!(route(&local, &ZoneAware::default(), &[5, 5]), Route::Everywhere);
        let fail = ZoneAware { on_panic: OnPanic::Fail, ..ZoneAware::default() };
        assert_eq!(route(&local, &fail, &[5, 5]), Route::Nowhere);
        local.populations[0].1.degraded = 1;
        assert_eq!(route(&local, &fail, &[5, 5]), Route::Own(0));
    }

    #[test]
    fn weights_may_count_instead() {
        let by_weight = ZoneAware { basis: LocalityBasis::Weight, ..ZoneAware::default() };
        let mut local = local(0, &[5, 5]);
        assert_eq!(route(&local, &by_weight, &[5, 5]), Route::Own(0));
        local.populations[0].1.weight = 15;
        assert_eq!(route(&local, &by_weight, &[5, 5]), shared(Some((0, 6666)), &[0, 2500]));
    }
}
