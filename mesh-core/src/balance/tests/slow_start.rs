use super::*;

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

/// A second of a window of 100 s at a time, two newcomers beside two others, for each shape of the curve.
#[test]
fn a_slow_start_follows_its_curve() {
    for (aggression, min_weight_percent) in [(1.0, 10.0), (2.0, 10.0), (0.5, 10.0), (1.0, 40.0)] {
        let settings = SlowStart { aggression, min_weight_percent, ..SlowStart::new(Duration::from_secs(100)) };
        let policy = Policy::RoundRobin { slow_start: Some(settings) };
        let shared = Arc::new(cluster(policy));
        let mut bench = Bench::new((*shared).clone(), &flat(&[1; 2]));
        bench.now += Duration::from_secs(1000);
        bench.balancer.update(Arc::clone(&shared), &flat(&[1; 4]), bench.now);
        let joined = bench.now;
        let mut before = 0.0;
        for second in (5..=125).step_by(10) {
            bench.now = joined + Duration::from_secs(second);
            bench.counts(200);
            let counts = bench.counts(2000);
            let weight = (second as f64 / 100.0).min(1.0).powf(1.0 / aggression).max(min_weight_percent / 100.0);
            let share = weight / (2.0 + 2.0 * weight);
            for newcomer in [at(2), at(3)] {
                let measured = counts[&newcomer] as f64 / 2000.0;
                assert!((measured - share).abs() < 0.01, "{settings:?} after {second} s: {measured}, not {share}");
            }
            assert!(weight >= before);
            before = weight;
        }
    }
}

/// Who passes its first check begins then, not when it was assigned.
#[test]
fn a_slow_start_begins_with_the_first_passing_check() {
    let check = HealthCheck::new(Probe::Tcp(TcpProbe::default()), Duration::from_secs(1), Duration::from_secs(1));
    let policy = Policy::RoundRobin { slow_start: Some(SlowStart::new(Duration::from_secs(100))) };
    let checked = Cluster { health_checks: vec![check], panic_threshold: 0, ..cluster(policy) };
    let active = Setup { probing: Probing::Active, ..Setup::default() };
    let mut bench = Bench::with(checked, &flat(&[1; 2]), active);
    bench.balancer.handle_probes([(at(0), Probed::Passing)], bench.now);
    bench.now += Duration::from_secs(1000);
    bench.balancer.handle_probes([(at(1), Probed::Passing)], bench.now);
    bench.now += Duration::from_secs(50);
    bench.counts(100);
    let share = bench.counts(3000)[&at(1)] as f64 / 3000.0;
    assert!((share - 1.0 / 3.0).abs() < 0.01, "{share}");
}
