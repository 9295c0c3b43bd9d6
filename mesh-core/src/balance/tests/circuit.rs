use super::*;

#[test]
fn no_more_requests_than_the_circuit_admits() {
    let thresholds = Thresholds { max_requests: 3, ..Thresholds::default() };
    let circuit = CircuitSettings { default: thresholds, ..CircuitSettings::default() };
    let limited = Cluster { circuit, ..cluster(Policy::Random) };
    let mut bench = Bench::new(limited.clone(), &flat(&[1]));
    let mut held: Vec<_> = (0..3).map(|_| bench.pick(None).unwrap()).collect();
    assert_eq!(bench.pick(None).unwrap_err(), PickError::CircuitOpen);
    // The other priority has limits of its own, and what was under way before an update still counts.
    let high = Request { priority: Priority::High, ..Request::default() };
    bench.balancer.pick(&high, &mut bench.rng, bench.now).unwrap().finish(Outcome::OK, bench.now);
    bench.balancer.update(Arc::new(limited), &flat(&[1]), bench.now);
    assert_eq!(bench.pick(None).unwrap_err(), PickError::CircuitOpen);
    held.pop();
    assert!(bench.pick(None).is_ok());
}

#[test]
fn limits_of_connections_and_retries() {
    let retries = RetryLimit::Budget { percent: 20.0, min_concurrency: 2, interval: Duration::ZERO };
    let now = Instant::now();
    let thresholds = Thresholds { max_connections: 1, max_pending_requests: 2, retries, ..Thresholds::default() };
    let circuit = Circuit::new(CircuitSettings { default: thresholds, ..CircuitSettings::default() });
    let priority = Priority::Default;
    let admitted = |admit: &dyn Fn() -> Option<CircuitGuard>| std::iter::from_fn(admit).take(100).collect::<Vec<_>>();
    assert_eq!(admitted(&|| circuit.try_connection(priority)).len(), 1);
    assert_eq!(admitted(&|| circuit.try_pending(priority)).len(), 2);
    assert_eq!(admitted(&|| circuit.try_retry(priority, now)).len(), 2);
    let requests: Vec<_> = (0..50).map(|_| circuit.try_request(priority, now).unwrap()).collect();
    assert_eq!(circuit.requests(), 50);
    assert_eq!(admitted(&|| circuit.try_retry(priority, now)).len(), 10);
    // Those that wait are as many in the budget: with two, 20 % of what there is are 8 rather than 7.
    let waiting = admitted(&|| circuit.try_pending(priority));
    let requests: Vec<_> = requests.into_iter().take(38).collect();
    assert_eq!((waiting.len(), admitted(&|| circuit.try_retry(priority, now)).len()), (2, 8));
    drop((waiting, requests));
    assert_eq!(circuit.requests(), 0);
    assert_eq!(admitted(&|| circuit.try_retry(Priority::High, now)).len(), 3);
}

#[test]
fn a_budget_may_count_what_began_within_an_interval() {
    let interval = Duration::from_secs(1);
    let retries = RetryLimit::Budget { percent: 10.0, min_concurrency: 1, interval };
    let thresholds = Thresholds { retries, ..Thresholds::default() };
    let circuit = Circuit::new(CircuitSettings { default: thresholds, ..CircuitSettings::default() });
    let begun = Instant::now();
    let allowed = |now: Instant| {
        let guards: Vec<_> = std::iter::from_fn(|| circuit.try_retry(Priority::Default, now)).take(100).collect();
        guards.len()
    };
    assert_eq!(allowed(begun), 1);
    // They have ended, and count all the same; those of the other priority do not.
    for priority in [Priority::Default, Priority::High] {
        (0..40).for_each(|_| drop(circuit.try_request(priority, begun)));
    }
    assert_eq!((circuit.requests(), allowed(begun), allowed(begun + interval)), (0, 4, 4));
    (0..60).for_each(|_| drop(circuit.try_request(Priority::Default, begun + interval / 2)));
    assert_eq!((allowed(begun + interval / 2), allowed(begun + interval + interval / 4)), (10, 6));
    assert_eq!(allowed(begun + 2 * interval), 1);
}

#[test]
fn an_endpoint_has_no_more_connections_than_it_may() {
    let thresholds = Thresholds { max_connections: 5, ..Thresholds::default() };
    let circuit =
        CircuitSettings { default: thresholds, max_connections_per_endpoint: Some(2), ..CircuitSettings::default() };
    let bench = Bench::new(Cluster { circuit, ..cluster(Policy::Random) }, &flat(&[1; 3]));
    let connect = |index| bench.balancer.try_connection(at(index), Priority::Default);
    let mut first: Vec<_> = std::iter::from_fn(|| connect(0)).take(10).collect();
    assert_eq!(first.len(), 2);
    assert!(connect(7).is_none());
    // Of the five of the cluster three are left: a refusal took none.
    let second: Vec<_> = std::iter::from_fn(|| connect(1)).take(10).collect();
    let third = connect(2);
    assert!(second.len() == 2 && third.is_some() && connect(2).is_none());
    first.pop();
    assert!(connect(2).is_some());
    // An endpoint that stays keeps its count.
    bench.balancer.update(Arc::new(Cluster { circuit, ..cluster(Policy::Random) }), &flat(&[1; 2]), bench.now);
    assert!(connect(1).is_none());
    drop(second);
    assert!(connect(1).is_some());
    // Without a limit of its own, that of the cluster.
    let bench = Bench::new(cluster(Policy::Random), &flat(&[1]));
    let all: Vec<_> = std::iter::from_fn(|| bench.balancer.try_connection(at(0), Priority::Default)).collect();
    assert_eq!(all.len(), 1024);
}

#[test]
fn who_is_handed_picked_requests_does_not_count_them_again() {
    let thresholds = Thresholds { max_requests: 2, max_pending_requests: 1, ..Thresholds::default() };
    let circuit = CircuitSettings { default: thresholds, ..CircuitSettings::default() };
    let mut bench = Bench::new(Cluster { circuit, ..cluster(Policy::Random) }, &flat(&[1]));
    let of_pool = bench.balancer.circuit().of_picked();
    let picks = [bench.pick(None).unwrap(), bench.pick(None).unwrap()];
    let sent = [(); 2].map(|()| of_pool.try_request(Priority::Default, bench.now).unwrap());
    assert_eq!(of_pool.requests(), 2);
    drop(sent);
    assert_eq!((of_pool.requests(), bench.pick(None).unwrap_err()), (2, PickError::CircuitOpen));
    drop(picks);
    // Everything else counts as it does.
    let waiting = of_pool.try_pending(Priority::Default);
    assert!(waiting.is_some() && bench.balancer.circuit().try_pending(Priority::Default).is_none());
}
