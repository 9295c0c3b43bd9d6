use super::*;

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
