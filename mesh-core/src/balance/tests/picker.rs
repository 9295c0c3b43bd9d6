use super::*;

/// Every policy that draws, over several seeds: counts are as far from the weights as chance makes them.
#[test]
fn shares_follow_the_weights() {
    let weights: [&[u32]; 5] = [&[1; 10], &[5; 3], &[1, 2, 7], &[1, 1, 1, 97], &[10, 20, 30, 40, 50, 60, 70]];
    let policies = [
        Policy::Random,
        Policy::PEAK_EWMA,
        Policy::RoundRobin { slow_start: None },
        Policy::LeastRequest(LeastRequest::default()),
        Policy::LeastRequest(LeastRequest { choice: Choice::All, ..LeastRequest::default() }),
        Policy::Maglev(Maglev::default()),
        Policy::RingHash(RingHash { min_size: 1 << 16, ..RingHash::default() }),
    ];
    for policy in policies {
        for weights in weights {
            let sum: u32 = weights.iter().sum();
            // Without weights of its own, a policy draws uniformly.
            let share = |weight: u32| match policy {
                Policy::Random => 1.0 / weights.len() as f64,
                _ => f64::from(weight) / f64::from(sum),
            };
            let expected: Vec<_> = weights.iter().map(|weight| share(*weight)).enumerate().collect();
            // Tables and rings are slow to build, and the same for each seed.
            for seed in 0..if policy.hashes() { 1 } else { 3 } {
                let mut bench = Bench::new(cluster(policy.clone()), &flat(weights));
                bench.rng = fastrand::Rng::with_seed(seed);
                let square = chi_square(&bench.counts(5000), &expected, 5000);
                assert!(square < far(weights.len()), "{policy:?} {weights:?} seed {seed}: {square}");
            }
        }
    }
}

/// The statistic would see what it is to see: a share that is a tenth too great.
#[test]
fn the_statistic_is_sharp_enough() {
    let mut bench = Bench::new(cluster(Policy::LeastRequest(LeastRequest::default())), &flat(&[11, 10, 10, 10]));
    let fair: Vec<_> = (0..4).map(|index| (index, 0.25)).collect();
    assert!(chi_square(&bench.counts(20_000), &fair, 20_000) > far(4));
    assert!((far(10) - 27.88).abs() < 0.2 && (far(2) - 10.83).abs() < 0.4);
}

#[test]
fn a_rotation_is_exact() {
    let mut bench = Bench::new(cluster(Policy::RoundRobin { slow_start: None }), &flat(&[3; 7]));
    assert!(bench.counts(70).values().all(|count| *count == 10));
    let mut bench = Bench::new(cluster(Policy::RoundRobin { slow_start: None }), &flat(&[1, 3]));
    assert_eq!(bench.counts(40), BTreeMap::from([(at(0), 10), (at(1), 30)]));
}

proptest! {
    /// In every stretch of picks each has its share, give or take a turn: not only on average.
    #[test]
    fn a_rotation_keeps_to_the_weights_all_the_time(
        weights in proptest::collection::vec(1..10_u32, 2..8), skip in 0..50_usize, picks in 1..200_usize, seed: u64,
    ) {
        let setup = Setup { seed, ..Setup::default() };
        let policy = Policy::RoundRobin { slow_start: None };
        let mut bench = Bench::with(cluster(policy), &flat(&weights), setup);
        bench.counts(skip);
        let sum: u32 = weights.iter().sum();
        let counts = bench.counts(picks);
        for (index, weight) in weights.iter().enumerate() {
            let count = counts.get(&at(index)).copied().unwrap_or_default() as f64;
            let share = f64::from(*weight) / f64::from(sum) * picks as f64;
            // One turn more or less of its own, and as many of others as there are may shift where the stretch ends.
            let slack = 1.0 + weights.len() as f64 * f64::from(*weight) / f64::from(sum);
            prop_assert!((count - share).abs() <= slack, "{} of {picks}, not {share}", count);
        }
    }
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

/// Requests come at a steady rate, and each endpoint takes its own time for each: how often each was picked, and the mean
/// latency.
fn simulate(policy: Policy, latencies: &[u64], per_second: u64, seconds: u64) -> (Vec<usize>, f64) {
    let mut bench = Bench::new(cluster(policy), &flat(&vec![1; latencies.len()]));
    let begun = bench.now;
    let mut under_way = Vec::<(Instant, Pick)>::new();
    let mut counts = vec![0; latencies.len()];
    let mut sum = 0;
    for request in 0..per_second * seconds {
        let now = begun + Duration::from_micros(request * 1_000_000 / per_second);
        under_way.sort_by_key(|(end, _)| std::cmp::Reverse(*end));
        while under_way.last().is_some_and(|(end, _)| *end <= now) {
            let (end, pick) = under_way.pop().unwrap();
            pick.finish(Outcome::OK, end);
        }
        bench.now = now;
        let pick = bench.pick(None).unwrap();
        let index = (0..latencies.len()).find(|index| at(*index) == pick.address()).unwrap();
        counts[index] += 1;
        sum += latencies[index];
        under_way.push((now + Duration::from_millis(latencies[index]), pick));
    }
    (counts, sum as f64 / (per_second * seconds) as f64)
}

#[test]
fn equal_latencies_are_equal_shares() {
    for (policy, within) in [(Policy::PEAK_EWMA, 0.05), (Policy::LeastRequest(LeastRequest::default()), 0.05)] {
        let (counts, _) = simulate(policy.clone(), &[20; 8], 400, 60);
        for count in &counts {
            let share = *count as f64 / 24_000.0 * 8.0;
            assert!((share - 1.0).abs() < within, "{policy:?}: {counts:?}");
        }
    }
}

/// One of five answers in 200 ms, the others in 20 ms. Blind policies give it a fifth, by which the mean is 56 ms. By its
/// requests in flight it gets less than half of what a quick one does; by its latency, less than a twentieth.
#[test]
fn a_slow_endpoint_gets_less_by_a_factor() {
    let slow = |policy| {
        let (counts, mean) = simulate(policy, &[200, 20, 20, 20, 20], 200, 60);
        let of_quick = counts[1..].iter().sum::<usize>() as f64 / 4.0;
        (of_quick / counts[0].max(1) as f64, mean)
    };
    let (factor, mean) = slow(Policy::RoundRobin { slow_start: None });
    assert!((factor - 1.0).abs() < 0.01 && (mean - 56.0).abs() < 0.1, "{factor} {mean}");
    let (factor, mean) = slow(Policy::LeastRequest(LeastRequest::default()));
    assert!(factor > 2.0 && mean < 40.0, "{factor} {mean}");
    let (factor, mean) = slow(Policy::PEAK_EWMA);
    assert!(factor > 20.0 && mean < 22.0, "{factor} {mean}");
}
