#![allow(clippy::disallowed_methods, reason = "a start to count from; nothing waits")]

mod circuit;
mod health;
mod service;
mod subset;
mod zone;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::name::Locality;
use crate::route::Priority;
use crate::tls::{UpstreamTls, ValidationSource};

fn at(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index / 250) as u8, (index % 250) as u8], 80))
}

fn endpoint(index: usize, weight: u32) -> Endpoint {
    Endpoint { weight: NonZeroU32::new(weight).unwrap(), ..Endpoint::new(at(index)) }
}

fn locality(zone: &str, priority: u32, weight: u32, endpoints: Vec<Endpoint>) -> LocalityEndpoints {
    let locality = Locality::new("eu", zone, "");
    LocalityEndpoints { locality, priority, weight: NonZeroU32::new(weight), endpoints }
}

/// Endpoints of these weights in one locality.
fn flat(weights: &[u32]) -> Assignment {
    let endpoints = weights.iter().enumerate().map(|(index, weight)| endpoint(index, *weight)).collect();
    Assignment::new("c", vec![locality("a", 0, 1, endpoints)])
}

fn cluster(policy: Policy) -> Cluster {
    let circuit = Thresholds { max_requests: u32::MAX, ..Thresholds::default() };
    let circuit = CircuitSettings { default: circuit, ..CircuitSettings::default() };
    Cluster { policy, circuit, ..Cluster::new("c", Discovery::Eds { service_name: None }) }
}

struct Bench {
    balancer: Balancer,
    rng: fastrand::Rng,
    now: Instant,
}

impl Bench {
    fn new(cluster: Cluster, assignment: &Assignment) -> Self {
        Self::with(cluster, assignment, Setup { seed: 7, ..Setup::default() })
    }

    fn with(cluster: Cluster, assignment: &Assignment, setup: Setup) -> Self {
        let now = Instant::now();
        let balancer = Balancer::new(Arc::new(cluster), assignment, setup, now);
        Self { balancer, rng: fastrand::Rng::with_seed(42), now }
    }

    fn pick(&mut self, hash: Option<u64>) -> Result<Pick, PickError> {
        self.balancer.pick(&Request { hash, ..Request::default() }, &mut self.rng, self.now)
    }

    /// How often each endpoint is picked when requests end at once.
    fn counts(&mut self, picks: usize) -> BTreeMap<SocketAddr, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..picks {
            let pick = self.pick(None).unwrap();
            *counts.entry(pick.address()).or_default() += 1;
            pick.finish(Outcome::OK, self.now);
        }
        counts
    }

    /// The endpoint of each hash.
    fn by_hash(&mut self, hashes: impl IntoIterator<Item = u64>) -> HashMap<u64, SocketAddr> {
        hashes.into_iter().map(|hash| (hash, self.pick(Some(hash)).unwrap().address())).collect()
    }

    fn active(&self) -> u32 {
        self.balancer.status().iter().map(|status| status.active).sum()
    }
}

/// Pearson's statistic: how far counts are from what they are expected to be.
fn chi_square(counts: &BTreeMap<SocketAddr, usize>, expected: &[(usize, f64)], picks: usize) -> f64 {
    let term = |(index, share): &(usize, f64)| {
        let expected = share * picks as f64;
        (counts.get(&at(*index)).copied().unwrap_or_default() as f64 - expected).powi(2) / expected
    };
    expected.iter().map(term).sum()
}

/// 0.1 % of fair experiments with up to 9 degrees of freedom are above this.
const FAR: f64 = 27.9;

#[test]
fn shares_follow_the_weights() {
    let equal: Vec<_> = (0..10).map(|index| (index, 0.1)).collect();
    let unequal = [(0, 0.1), (1, 0.2), (2, 0.7)];
    let least = |choice| Policy::LeastRequest(LeastRequest { choice, ..LeastRequest::default() });
    type Row<'a> = (Policy, &'a [u32], &'a [(usize, f64)]);
    let table: [Row<'_>; 8] = [
        (Policy::RoundRobin { slow_start: None }, &[1; 10], &equal),
        (Policy::RoundRobin { slow_start: None }, &[1, 2, 7], &unequal),
        (least(Choice::Random(2)), &[5; 10], &equal),
        (least(Choice::All), &[5; 10], &equal),
        (least(Choice::Random(2)), &[10, 20, 70], &unequal),
        (Policy::Random, &[1; 10], &equal),
        (Policy::PEAK_EWMA, &[1; 10], &equal),
        (Policy::Maglev(Maglev::default()), &[10, 20, 70], &unequal),
    ];
    for (policy, weights, expected) in table {
        let mut bench = Bench::new(cluster(policy.clone()), &flat(weights));
        let far = chi_square(&bench.counts(10_000), expected, 10_000);
        assert!(far < FAR, "{policy:?}: {far}");
    }
}

#[test]
fn a_rotation_is_exact() {
    let mut bench = Bench::new(cluster(Policy::RoundRobin { slow_start: None }), &flat(&[3; 7]));
    assert!(bench.counts(70).values().all(|count| *count == 10));
    let mut bench = Bench::new(cluster(Policy::RoundRobin { slow_start: None }), &flat(&[1, 3]));
    assert_eq!(bench.counts(40), BTreeMap::from([(at(0), 10), (at(1), 30)]));
}

#[test]
fn the_first_healthy_endpoint_is_enough() {
    let mut assignment = flat(&[1; 3]);
    let mut bench = Bench::new(cluster(Policy::PickFirst { shuffle: false }), &assignment);
    assert_eq!(bench.counts(10), BTreeMap::from([(at(0), 10)]));
    assignment.localities[0].endpoints[0].health = Health::Unhealthy;
    let mut bench = Bench::new(cluster(Policy::PickFirst { shuffle: false }), &assignment);
    assert_eq!(bench.counts(10), BTreeMap::from([(at(1), 10)]));
    // Clients differ in their order.
    let first = |seed| {
        let setup = Setup { seed, ..Setup::default() };
        let mut bench = Bench::with(cluster(Policy::PickFirst { shuffle: true }), &flat(&[1, 3]), setup);
        bench.pick(None).unwrap().address()
    };
    let counts = (0..1000).filter(|seed| first(*seed) == at(1)).count();
    assert!((700..800).contains(&counts), "{counts} of 1000 begin with the one of weight 3 of 4");
}

#[test]
fn busy_endpoints_get_less() {
    for policy in [Policy::LeastRequest(LeastRequest::default()), Policy::PEAK_EWMA] {
        let mut bench = Bench::new(cluster(policy), &flat(&[1; 4]));
        // A request to the first endpoint does not end.
        let _held = std::iter::repeat_with(|| bench.pick(None).unwrap()).find(|pick| pick.address() == at(0));
        let counts = bench.counts(4000);
        let of_busy = counts.get(&at(0)).copied().unwrap_or_default();
        // It is used only when drawn twice: less than one in four of what it would get.
        assert!(of_busy < 400, "{counts:?}");
    }
    // With unequal weights the bias decides how much less.
    for (bias, expected) in [(0.0, 0.5), (1.0, 0.1), (2.0, 0.012)] {
        let policy = Policy::LeastRequest(LeastRequest { bias, ..LeastRequest::default() });
        let assignment = flat(&[10, 10, 1]);
        let mut bench = Bench::new(cluster(policy), &assignment);
        let mut held = Vec::new();
        while bench.balancer.status()[0].active < 8 {
            let pick = bench.pick(None).unwrap();
            if pick.address() == at(0) {
                held.push(pick);
            }
        }
        let counts = bench.counts(4000);
        let share = counts[&at(0)] as f64 / (counts[&at(0)] + counts[&at(1)]) as f64;
        assert!((share - expected).abs() < 0.03, "bias {bias}: {share}");
    }
}

#[test]
fn slow_endpoints_get_less_and_are_forgiven() {
    let mut bench = Bench::new(cluster(Policy::PEAK_EWMA), &flat(&[1; 2]));
    for _ in 0..200 {
        let pick = bench.pick(None).unwrap();
        let latency = if pick.address() == at(0) { 500 } else { 5 };
        let begun = bench.now;
        bench.now += Duration::from_millis(latency);
        pick.finish(Outcome::OK, bench.now);
        bench.now = begun + Duration::from_millis(10);
    }
    let picks: Vec<_> = (0..1000).map(|_| bench.pick(None).unwrap().address()).collect();
    assert!(!picks.contains(&at(0)));
    // While the other goes on as before, the old results are forgotten: it is tried again.
    let mut again = 0;
    for _ in 0..1000 {
        let pick = bench.pick(None).unwrap();
        again += usize::from(pick.address() == at(0));
        bench.now += Duration::from_millis(5);
        pick.finish(Outcome::OK, bench.now);
        bench.now += Duration::from_millis(100);
    }
    assert!(again > 0);
}

#[test]
fn a_quick_failure_is_no_good_latency() {
    let mut bench = Bench::new(cluster(Policy::PEAK_EWMA), &flat(&[1; 2]));
    for _ in 0..500 {
        let pick = bench.pick(None).unwrap();
        let failing = pick.address() == at(0);
        let begun = bench.now;
        bench.now += Duration::from_millis(if failing { 1 } else { 20 });
        pick.finish(if failing { Outcome::Unreachable } else { Outcome::OK }, bench.now);
        bench.now = begun + Duration::from_millis(1);
    }
    let picks: Vec<_> = (0..1000).map(|_| bench.pick(None).unwrap().address()).collect();
    let of_failing = picks.iter().filter(|address| **address == at(0)).count();
    assert!(of_failing < 600, "{of_failing} of 1000 to the one that fails");
}

#[test]
fn newcomers_start_slowly() {
    let slow_start = Some(SlowStart::new(Duration::from_secs(100)));
    for policy in [
        Policy::RoundRobin { slow_start },
        Policy::LeastRequest(LeastRequest { slow_start, ..LeastRequest::default() }),
    ] {
        let shared = Arc::new(cluster(policy));
        let mut bench = Bench::new((*shared).clone(), &flat(&[1; 3]));
        bench.now += Duration::from_secs(1000);
        bench.balancer.update(Arc::clone(&shared), &flat(&[1; 4]), bench.now);
        // Seconds since it came → its share next to three others.
        for (seconds, weight) in [(0, 0.1), (50, 0.5), (99, 0.99), (100, 1.0)] {
            let began = bench.now;
            bench.now += Duration::from_secs(seconds);
            // What was due before was due by the weight it had then.
            bench.counts(100);
            let share = bench.counts(4000)[&at(3)] as f64 / 4000.0;
            let expected = weight / (3.0 + weight);
            assert!((share - expected).abs() < 0.02, "after {seconds} s: {share}, not {expected}");
            bench.now = began;
        }
    }
}

#[test]
fn levels_of_priority_help_each_other() {
    let mut endpoints: Vec<_> = (0..100).map(|index| endpoint(index, 1)).collect();
    endpoints[71..].iter_mut().for_each(|endpoint| endpoint.health = Health::Unhealthy);
    let second = (100..200).map(|index| endpoint(index, 1)).collect();
    let assignment = Assignment::new("c", vec![locality("b", 1, 1, second), locality("a", 0, 1, endpoints)]);
    let mut bench = Bench::new(cluster(Policy::Random), &assignment);
    let counts = bench.counts(20_000);
    assert!((71..100).all(|index| !counts.contains_key(&at(index))));
    let of_second: usize = counts.iter().filter(|(address, _)| **address >= at(100)).map(|(_, count)| count).sum();
    assert!((130..270).contains(&of_second), "{of_second} of 20000, not 1 %");
}

#[test]
fn panic_uses_all_or_fails() {
    let mut assignment = flat(&[1; 4]);
    assignment.localities[0].endpoints[1..].iter_mut().for_each(|endpoint| endpoint.health = Health::Unhealthy);
    let with = |panic_threshold, localities| Cluster { panic_threshold, localities, ..cluster(Policy::Random) };
    let fail = Localities::ZoneAware(ZoneAware { on_panic: OnPanic::Fail, ..ZoneAware::default() });
    let table = [
        (50, Localities::default(), Ok(4)),
        (25, Localities::default(), Ok(1)),
        (0, Localities::default(), Ok(1)),
        (50, Localities::Weighted, Ok(4)),
        (50, fail, Err(PickError::NoHealthyEndpoint)),
    ];
    for (threshold, localities, expected) in table {
        let mut bench = Bench::new(with(threshold, localities), &assignment);
        let used = bench.pick(None).map(|_| ()).map(|()| bench.counts(200).len());
        assert_eq!(used, expected, "{threshold} {localities:?}");
    }
    assignment.localities[0].endpoints[0].health = Health::Draining;
    let mut bench = Bench::new(with(0, Localities::default()), &assignment);
    assert_eq!(bench.pick(None).unwrap_err(), PickError::NoHealthyEndpoint);
    let mut bench = Bench::new(with(0, Localities::default()), &Assignment::new("c", vec![]));
    assert_eq!(bench.pick(None).unwrap_err(), PickError::NoEndpoints);
}

#[test]
fn localities_by_weight_and_health() {
    let two = |first: usize| (first..first + 2).map(|index| endpoint(index, 1)).collect::<Vec<_>>();
    let mut half = two(2);
    half[0].health = Health::Unhealthy;
    // 2 and 2·min(1, 1.4·0.5) = 1.4; without a weight nothing.
    let places = vec![locality("a", 0, 2, two(0)), locality("b", 0, 2, half), locality("c", 0, 0, two(4))];
    let assignment = Assignment::new("c", places);
    let weighted = Cluster { localities: Localities::Weighted, ..cluster(Policy::Random) };
    let mut bench = Bench::new(weighted, &assignment);
    let far = chi_square(&bench.counts(10_000), &[(0, 1.0 / 3.4), (1, 1.0 / 3.4), (3, 1.4 / 3.4)], 10_000);
    assert!(far < FAR, "{far}");
    // Where they do not count, all healthy endpoints are equal.
    let mut bench = Bench::new(cluster(Policy::Random), &assignment);
    let equal = [0, 1, 3, 4, 5].map(|index| (index, 0.2));
    assert!(chi_square(&bench.counts(10_000), &equal, 10_000) < FAR);
}

#[test]
fn localities_have_their_share_of_a_ring() {
    let many = |first: usize, count| (first..first + count).map(|index| endpoint(index, 1)).collect::<Vec<_>>();
    let assignment = Assignment::new("c", vec![locality("a", 0, 3, many(0, 2)), locality("b", 0, 1, many(2, 10))]);
    let ring = RingHash { min_size: 65_536, ..RingHash::default() };
    for policy in [Policy::RingHash(ring), Policy::Maglev(Maglev::default())] {
        let mut bench = Bench::new(Cluster { localities: Localities::Weighted, ..cluster(policy) }, &assignment);
        let counts = bench.counts(20_000);
        let first = (counts[&at(0)] + counts[&at(1)]) as f64 / 20_000.0;
        assert!((first - 0.75).abs() < 0.02, "{first}");
    }
}

#[test]
fn the_same_hash_goes_to_the_same_endpoint_while_others_come_and_go() {
    let large = RingHash { min_size: 16_384, ..RingHash::default() };
    let murmur = RingHash { function: HashFunction::Murmur2, ..large };
    for policy in [Policy::RingHash(large), Policy::RingHash(murmur), Policy::Maglev(Maglev::default())] {
        let hashes: Vec<u64> = (0..2000_u64).map(|seed| fastrand::Rng::with_seed(seed).u64(..)).collect();
        let whole = Bench::new(cluster(policy.clone()), &flat(&[1; 20])).by_hash(hashes.clone());
        assert_eq!(whole, Bench::new(cluster(policy.clone()), &flat(&[1; 20])).by_hash(hashes.clone()));
        // In another order, the same.
        let mut reversed = flat(&[1; 20]);
        reversed.localities[0].endpoints.reverse();
        let ring_or_table = Bench::new(cluster(policy.clone()), &reversed).by_hash(hashes.clone());
        let same = hashes.iter().filter(|hash| whole[hash] == ring_or_table[hash]).count();
        assert!(same > 1990, "{policy:?}: {same}");
        // Without one of twenty: what it had moves, and little else.
        let mut fewer = flat(&[1; 20]);
        fewer.localities[0].endpoints.remove(7);
        let after = Bench::new(cluster(policy.clone()), &fewer).by_hash(hashes.clone());
        let moved = hashes.iter().filter(|hash| whole[hash] != at(7) && whole[hash] != after[hash]).count();
        assert!(moved < 100, "{policy:?}: {moved} of 2000 moved without need");
    }
}

#[test]
fn a_retry_goes_elsewhere() {
    for policy in [Policy::RingHash(RingHash::default()), Policy::Maglev(Maglev::default())] {
        let mut bench = Bench::new(cluster(policy), &flat(&[1; 5]));
        let mut tried = BTreeSet::new();
        for attempt in 0..40 {
            let request = Request { hash: Some(99), attempt, ..Request::default() };
            tried.insert(bench.balancer.pick(&request, &mut bench.rng, bench.now).unwrap().address());
        }
        assert_eq!(tried.len(), 5);
    }
}

#[test]
fn bounded_loads() {
    let hashing = Hashing { balance_factor: Some(150), ..Hashing::default() };
    for policy in [
        Policy::RingHash(RingHash { hashing, ..RingHash::default() }),
        Policy::Maglev(Maglev { hashing, ..Maglev::default() }),
    ] {
        let mut bench = Bench::new(cluster(policy), &flat(&[1; 10]));
        // All requests have the same hash.
        let held: Vec<_> = (0..200).map(|_| bench.pick(Some(5)).unwrap()).collect();
        let most = bench.balancer.status().iter().map(|status| status.active).max().unwrap();
        assert!((30..=32).contains(&most), "{most} of 200 at one of 10, with a factor of 1.5");
        drop(held);
        assert_eq!(bench.active(), 0);
    }
}

#[test]
fn a_maglev_table_entry_by_entry() {
    // The three candidates of `offset` and `skip` from XXH64 of their key, in a table of seven, worked out by the rule.
    let keys = ["a", "b", "c"];
    let xxh64 = |key: &str, seed| hash::xxh64(key.as_bytes(), seed);
    let mut expected = [None; 7];
    let mut next = [0; 3];
    'full: loop {
        for (index, key) in keys.iter().enumerate() {
            let at = |n: u64| ((xxh64(key, 0) % 7 + (xxh64(key, 1) % 6 + 1) * n) % 7) as usize;
            while expected[at(next[index])].is_some() {
                next[index] += 1;
            }
            expected[at(next[index])] = Some(index);
            if expected.iter().all(Option::is_some) {
                break 'full;
            }
        }
    }
    let mut assignment = flat(&[1; 3]);
    for (endpoint, key) in assignment.localities[0].endpoints.iter_mut().zip(keys) {
        endpoint.hash_key = Some(key.into());
    }
    let table_size = TableSize::try_new(7).unwrap();
    let mut bench = Bench::new(cluster(Policy::Maglev(Maglev { table_size, ..Maglev::default() })), &assignment);
    let found: Vec<_> = (0..7).map(|hash| Some(bench.pick(Some(hash)).unwrap().address())).collect();
    assert_eq!(found, expected.map(|index| index.map(at)));
    for size in [0, 1, 4, 65_536, 5_000_012, u32::MAX] {
        assert!(TableSize::try_new(size).is_err(), "{size}");
    }
    assert!(TableSize::try_new(TableSize::LIMIT).is_ok());
}

#[test]
fn categories_are_dropped_one_after_another() {
    let mut assignment = flat(&[1]);
    let drop = |category: &str, share| Drop { category: category.into(), share: PerMillion::new(share) };
    assignment.drops = vec![drop("half", 500_000), drop("fifth", 200_000)];
    let mut bench = Bench::new(cluster(Policy::Random), &assignment);
    let mut counts = HashMap::<String, usize>::new();
    for _ in 0..10_000 {
        if let Err(PickError::Dropped { category }) = bench.pick(None) {
            *counts.entry(category.to_string()).or_default() += 1;
        }
    }
    assert!((4800..5200).contains(&counts["half"]) && (880..1120).contains(&counts["fifth"]), "{counts:?}");
}

#[test]
fn outliers_are_left_out_and_return() {
    let outlier = OutlierSettings { max_ejection_percent: 50, ..OutlierSettings::default() };
    let policy = Policy::RoundRobin { slow_start: None };
    let watched = Cluster { outlier: Some(outlier), ..cluster(policy) };
    let mut bench = Bench::new(watched.clone(), &flat(&[1; 4]));
    let mut changes = Vec::new();
    for _ in 0..100 {
        let pick = bench.pick(None).unwrap();
        let outcome = if pick.address() == at(2) { Outcome::Status(503) } else { Outcome::OK };
        changes.extend(pick.finish(outcome, bench.now));
    }
    assert_eq!(changes, [Change::Ejected { endpoint: at(2), detection: Detection::Consecutive5xx }]);
    assert!(!bench.counts(100).contains_key(&at(2)));
    // A new assignment does not forget it.
    bench.balancer.update(Arc::new(watched), &flat(&[1; 6]), bench.now);
    assert!(!bench.counts(100).contains_key(&at(2)));
    let ejected = |bench: &Bench| bench.balancer.status().iter().filter(|status| status.ejected).count();
    assert_eq!(ejected(&bench), 1);
    let mut returned = Vec::new();
    for _ in 0..3 {
        bench.now = bench.balancer.next_tick().unwrap();
        returned.extend(bench.balancer.handle_tick(bench.now));
    }
    assert_eq!(returned, [Change::Returned { endpoint: at(2) }]);
    assert!(bench.counts(100).contains_key(&at(2)));
    // Turned off, nobody is ejected any more.
    bench.balancer.update(Arc::new(cluster(Policy::Random)), &flat(&[1; 6]), bench.now);
    assert_eq!((ejected(&bench), bench.balancer.next_tick()), (0, None));
}

#[test]
fn probes_decide_if_somebody_probes() {
    let check = HealthCheck::new(Probe::Tcp(TcpProbe::default()), Duration::from_secs(1), Duration::from_secs(1));
    let probed = Cluster { health_checks: vec![check], panic_threshold: 0, ..cluster(Policy::Random) };
    let active = Setup { probing: Probing::Active, ..Setup::default() };
    assert!(Bench::new(probed.clone(), &flat(&[1; 3])).pick(None).is_ok());
    let mut bench = Bench::with(probed.clone(), &flat(&[1; 3]), active);
    assert_eq!(bench.pick(None).unwrap_err(), PickError::NoHealthyEndpoint);
    bench.balancer.handle_probes([(at(0), Probed::Passing), (at(1), Probed::Failing)], bench.now);
    assert_eq!(bench.counts(50).into_keys().collect::<Vec<_>>(), [at(0)]);
    bench.balancer.handle_probes([(at(0), Probed::Failing), (at(1), Probed::Passing)], bench.now);
    assert_eq!(bench.counts(50).into_keys().collect::<Vec<_>>(), [at(1)]);
    // Left out until checked: one of one is enough for all load, where one of three is not.
    let mut endpoints = flat(&[1; 3]).localities;
    endpoints.push(locality("b", 1, 1, vec![endpoint(9, 1)]));
    for (ignore_unchecked, second_is_used) in [(true, false), (false, true)] {
        let mut bench = Bench::with(
            Cluster { ignore_unchecked, ..probed.clone() },
            &Assignment::new("c", endpoints.clone()),
            active,
        );
        bench.balancer.handle_probes([(at(0), Probed::Passing), (at(9), Probed::Passing)], bench.now);
        assert_eq!(bench.counts(500).contains_key(&at(9)), second_is_used);
    }
}

#[test]
fn what_is_known_of_an_endpoint_stays_as_long_as_its_address() {
    let mut bench = Bench::new(cluster(Policy::Random), &flat(&[1; 2]));
    let held: Vec<_> = (0..20).map(|_| bench.pick(None).unwrap()).collect();
    let of_second = held.iter().filter(|pick| pick.address() == at(1)).count() as u32;
    let second_only = Assignment::new("c", vec![locality("z", 0, 1, vec![endpoint(1, 9), endpoint(5, 1)])]);
    bench.balancer.update(Arc::new(cluster(Policy::Random)), &second_only, bench.now);
    assert_eq!(bench.active(), of_second);
    assert_eq!(bench.balancer.circuit().requests(), 20);
    drop(held);
    assert_eq!((bench.active(), bench.balancer.circuit().requests()), (0, 0));
}

#[test]
fn tasks_do_not_disturb_each_other() {
    let outlier = OutlierSettings { max_ejection_percent: 30, ..OutlierSettings::default() };
    let busy = Cluster { outlier: Some(outlier), ..cluster(Policy::RoundRobin { slow_start: None }) };
    let bench = Bench::new(busy.clone(), &flat(&[1, 2, 3, 4]));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let Bench { balancer, now, .. } = &bench;
            let busy = busy.clone();
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for turn in 0..2000 {
                    let pick = balancer.pick(&Request::default(), &mut rng, *now).unwrap();
                    pick.finish(Outcome::Status(if rng.bool() { 200 } else { 503 }), *now);
                    if turn % 500 == 0 {
                        balancer.update(Arc::new(busy.clone()), &flat(&[1, 2, 3, 4]), *now);
                    }
                }
            });
        }
    });
    assert_eq!((bench.active(), bench.balancer.circuit().requests()), (0, 0));
}

#[test]
fn assignments_that_contradict_themselves() {
    let place = |zone, priority, weight| locality(zone, priority, weight, vec![endpoint(0, 1)]);
    let invalid = |localities| Assignment::new("c", localities).validate().unwrap_err();
    assert_eq!(Assignment::<SocketAddr>::new("c", vec![]).validate(), Ok(()));
    assert_eq!(flat(&[1, 2]).validate(), Ok(()));
    assert_eq!(invalid(vec![place("a", 1, 1)]), InvalidAssignment::Gap { priority: 0 });
    assert_eq!(invalid(vec![place("a", 0, 1), place("a", 2, 1)]), InvalidAssignment::Gap { priority: 1 });
    let locality = Locality::new("eu", "a", "");
    let twice = InvalidAssignment::DuplicateLocality { locality: locality.clone(), priority: 0 };
    assert_eq!(invalid(vec![place("a", 0, 1), place("a", 0, 2)]), twice);
    let heavy = InvalidAssignment::WeightOfLocalities { priority: 0 };
    assert_eq!(invalid(vec![place("a", 0, u32::MAX), place("b", 0, 1)]), heavy);
    let heavy = InvalidAssignment::WeightOfEndpoints { locality, priority: 0 };
    assert_eq!(flat(&[u32::MAX, 1]).validate(), Err(heavy));
}

#[test]
fn hosts_become_endpoints() {
    let host = |name: &str| Endpoint::new(DnsHost { name: name.into(), port: 443 });
    let place = LocalityEndpoints::new(Locality::default(), vec![host("two.example"), host("none.example")]);
    let hosts = Assignment::new("c", vec![place]);
    let lookup = |host: &DnsHost| if host.name == "two.example" { vec![at(0), at(1)] } else { vec![] };
    let resolved = hosts.resolve(lookup);
    let expected: Vec<_> =
        (0..2).map(|index| Endpoint { hostname: "two.example".into(), ..endpoint(index, 1) }).collect();
    assert_eq!(resolved.localities[0].endpoints, expected);
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let slow_start = proptest::option::of(Just(SlowStart::new(Duration::from_secs(5))));
    let hashing =
        proptest::option::of(100..200_u32).prop_map(|balance_factor| Hashing { by_hostname: false, balance_factor });
    let table = Just(TableSize::try_new(251).unwrap());
    prop_oneof![
        Just(Policy::PEAK_EWMA),
        slow_start.clone().prop_map(|slow_start| Policy::RoundRobin { slow_start }),
        (slow_start, 0..3_u32, any::<bool>()).prop_map(|(slow_start, bias, all)| Policy::LeastRequest(LeastRequest {
            choice: if all { Choice::All } else { Choice::Random(bias) },
            bias: bias.into(),
            slow_start,
        })),
        Just(Policy::Random),
        (hashing.clone(), 0..300_u32, 0..300_u32).prop_map(|(hashing, min_size, max_size)| {
            Policy::RingHash(RingHash { function: HashFunction::XxHash, min_size, max_size, hashing })
        }),
        (hashing, table).prop_map(|(hashing, table_size)| Policy::Maglev(Maglev { table_size, hashing })),
        any::<bool>().prop_map(|shuffle| Policy::PickFirst { shuffle }),
        Just(Policy::ClusterProvided),
    ]
}

fn any_assignment() -> impl Strategy<Value = Assignment> {
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Degraded), Just(Health::Unhealthy)];
    let endpoint = (0..30_usize, 1..5_u32, health)
        .prop_map(|(index, weight, health)| Endpoint { health, ..endpoint(index, weight) });
    let place = (0..4_u32, 0..3_u32, proptest::collection::vec(endpoint, 0..6));
    proptest::collection::vec(place, 0..5).prop_map(|places| {
        let place = |(index, (priority, weight, endpoints)): (usize, _)| {
            locality(&index.to_string(), priority, weight, endpoints)
        };
        Assignment::new("c", places.into_iter().enumerate().map(place).collect())
    })
}

proptest! {
    /// Whatever is assigned: only those who are assigned are picked, only healthy ones without panic, and in the end nothing
    /// is in flight.
    #[test]
    fn only_those_who_are_assigned(
        policy in any_policy(), assignments in proptest::collection::vec(any_assignment(), 1..4), weighted: bool,
        panic_threshold in prop_oneof![Just(0_u32), Just(50)], seed: u64,
    ) {
        let localities = if weighted { Localities::Weighted } else { Localities::default() };
        let outlier = Some(OutlierSettings { max_ejection_percent: 50, consecutive_5xx: 2, ..OutlierSettings::default() });
        let cluster = Cluster { localities, panic_threshold, outlier, ..cluster(policy) };
        let mut bench = Bench::with(cluster.clone(), &assignments[0], Setup { seed, ..Setup::default() });
        let mut held = Vec::new();
        for assignment in &assignments {
            bench.balancer.update(Arc::new(cluster.clone()), assignment, bench.now);
            for turn in 0..30_u64 {
                match bench.pick(Some(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15))) {
                    Ok(pick) => {
                        prop_assert!(assignment.endpoints().any(|endpoint| endpoint == pick.endpoint()));
                        let usable = pick.endpoint().health != Health::Unhealthy;
                        prop_assert!(usable || panic_threshold > 0);
                        if turn % 3 == 0 {
                            held.push(pick);
                        } else {
                            pick.finish(Outcome::Status(if turn % 2 == 0 { 200 } else { 500 }), bench.now);
                        }
                    }
                    Err(error) => {
                        let nobody = assignment.endpoints().next().is_none();
                        prop_assert_eq!(error == PickError::NoEndpoints, nobody);
                    }
                }
                bench.now += Duration::from_millis(700);
                bench.balancer.handle_tick(bench.now);
            }
        }
        drop(held);
        prop_assert_eq!(bench.active(), 0);
        prop_assert_eq!(bench.balancer.circuit().requests(), 0);
    }
}

#[test]
fn the_first_transport_whose_labels_an_endpoint_has() {
    let validation = ValidationSource::Secret("roots".into());
    let tls = UpstreamTls::new(validation);
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let with = |name: &str, pairs, tls| TransportMatch { name: name.into(), labels: labels(pairs), tls };
    let mut cluster = cluster(Policy::Random);
    cluster.transport_matches =
        vec![with("mesh", &[("tlsMode", "istio")], Some(tls.clone())), with("plain", &[("tlsMode", "disabled")], None)];
    cluster.tls = Some(UpstreamTls { max_sessions: 7, ..tls.clone() });
    let table = [
        (&[("tlsMode", "istio"), ("more", "x")][..], Some(1)),
        (&[("tlsMode", "disabled")], None),
        (&[("tlsMode", "other")], Some(7)),
        (&[], Some(7)),
    ];
    for (pairs, expected) in table {
        let endpoint = Endpoint { transport_labels: labels(pairs), ..endpoint(0, 1) };
        assert_eq!(cluster.tls_of(&endpoint).map(|tls| tls.max_sessions), expected, "{pairs:?}");
    }
}

#[test]
fn an_endpoint_is_preferred_as_long_as_it_is_healthy() {
    let mut endpoints: Vec<_> = (1..=5).map(|at| Endpoint::new(([10, 0, 0, at], 80).into())).collect();
    endpoints[4].health = Health::Unhealthy;
    let assignment = Assignment::new("c", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
    let mut bench = Bench::new(cluster(Policy::default()), &assignment);
    let mut pick = |at: u8, strict| {
        let preferred = Some(Preferred { address: ([10, 0, 0, at], 80).into(), strict });
        let picked = bench.balancer.pick(&Request { preferred, ..Request::default() }, &mut bench.rng, bench.now);
        picked.map(|pick| pick.address())
    };
    for _ in 0..20 {
        assert_eq!(pick(3, false), Ok(([10, 0, 0, 3], 80).into()));
    }
    for gone in [5, 6] {
        assert!(pick(gone, false).is_ok_and(|other| other != ([10, 0, 0, gone], 80).into()));
        assert_eq!(pick(gone, true), Err(PickError::NoHealthyEndpoint));
    }
}
