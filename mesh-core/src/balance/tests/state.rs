use super::*;

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
