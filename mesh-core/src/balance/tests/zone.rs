use super::*;

fn places(counts: &[usize]) -> Vec<LocalityEndpoints> {
    let mut next = 0;
    let mut place = |(index, count): (usize, &usize)| {
        let endpoints = (next..next + count).map(|index| endpoint(index, 1)).collect();
        next += count;
        locality(&format!("z{index}"), 0, 1, endpoints)
    };
    counts.iter().enumerate().map(&mut place).collect()
}

fn local(zone: usize, counts: &[usize]) -> LocalCluster {
    let assignment = Arc::new(Assignment::new("us", places(counts)));
    LocalCluster { locality: Locality::new("eu", &format!("z{zone}"), ""), assignment }
}

/// The share of each zone.
fn shares(bench: &mut Bench, zones: usize) -> Vec<f64> {
    let mut counts = vec![0_u32; zones];
    for _ in 0..20_000 {
        let pick = bench.pick(None).unwrap();
        let zone = (0..zones).find(|zone| pick.locality().zone == format!("z{zone}").as_str()).unwrap();
        counts[zone] += 1;
    }
    counts.into_iter().map(|count| f64::from(count) / 20_000.0).collect()
}

fn close(shares: &[f64], expected: &[f64]) -> bool {
    // Four standard deviations of a share of one half among 20,000.
    shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 0.0142)
}

#[test]
fn as_much_stays_in_the_zone_as_it_can_bear() {
    let zone_aware = |settings| Cluster { localities: Localities::ZoneAware(settings), ..cluster(Policy::Random) };
    let default = ZoneAware::default();
    let half = ZoneAware { percent: 50, ..default };
    let off = ZoneAware { percent: 0, ..default };
    let forced = ZoneAware { force_local: NonZeroU32::new(1), ..default };
    // Own zone, local and upstream endpoints by zone → shares.
    type Row<'a> = (ZoneAware, usize, &'a [usize], &'a [usize], &'a [f64]);
    let table: [Row<'_>; 8] = [
        (default, 0, &[5, 5], &[6, 6], &[1.0, 0.0]),
        (default, 1, &[5, 5], &[4, 8], &[0.0, 1.0]),
        // Half of the requests come from here, a third of the endpoints is here: two thirds stay.
        (default, 0, &[5, 5], &[4, 8], &[2.0 / 3.0, 1.0 / 3.0]),
        (default, 0, &[4, 4, 2], &[5, 10, 5], &[0.625, 0.25, 0.125]),
        (half, 0, &[5, 5], &[6, 6], &[0.75, 0.25]),
        (off, 0, &[5, 5], &[6, 6], &[0.5, 0.5]),
        (forced, 0, &[5, 5], &[1, 11], &[1.0, 0.0]),
        (default, 0, &[5, 5], &[2, 3], &[0.4, 0.6]),
    ];
    for (settings, own, of_local, upstream, expected) in table {
        let mut bench = Bench::new(zone_aware(settings), &Assignment::new("c", places(upstream)));
        bench.balancer.set_local_cluster(Some(&local(own, of_local)));
        let shares = shares(&mut bench, upstream.len());
        assert!(close(&shares, expected), "{shares:?}, not {expected:?}");
    }
}

/// Whatever zone they come from, all requests together reach every endpoint equally often: what zone-awareness is for.
#[test]
fn all_zones_together_are_fair_to_every_endpoint() {
    for (of_local, upstream) in [(&[4, 4, 2], &[5, 10, 5]), (&[1, 1, 8], &[10, 10, 10]), (&[3, 3, 3], &[2, 2, 9])] {
        let senders: usize = of_local.iter().sum();
        let endpoints: usize = upstream.iter().sum();
        let mut sums = vec![0.0; 3];
        for own in 0..3 {
            let zone_aware = cluster(Policy::Random);
            let mut bench = Bench::new(zone_aware, &Assignment::new("c", places(upstream)));
            bench.balancer.set_local_cluster(Some(&local(own, of_local)));
            for (sum, share) in sums.iter_mut().zip(shares(&mut bench, 3)) {
                *sum += share * of_local[own] as f64 / senders as f64;
            }
        }
        let fair: Vec<_> = upstream.iter().map(|count| *count as f64 / endpoints as f64).collect();
        assert!(close(&sums, &fair), "{sums:?}, not {fair:?}");
    }
}

#[test]
fn zones_go_by_health_and_come_and_go() {
    let assignment = Assignment::new("c", places(&[6, 6]));
    let zone_aware = Arc::new(cluster(Policy::PEAK_EWMA));
    let mut bench = Bench::new((*zone_aware).clone(), &assignment);
    assert!(close(&shares(&mut bench, 2), &[0.5, 0.5]));
    bench.balancer.set_local_cluster(Some(&local(0, &[5, 5])));
    assert!(close(&shares(&mut bench, 2), &[1.0, 0.0]));
    // Three of six are left: a third of what is healthy, for half of the requests.
    let mut weak = assignment.clone();
    weak.localities[0].endpoints[3..].iter_mut().for_each(|endpoint| endpoint.health = Health::Unhealthy);
    bench.balancer.update(Arc::clone(&zone_aware), &weak, bench.now);
    let shares_of_weak = shares(&mut bench, 2);
    assert!(close(&shares_of_weak, &[2.0 / 3.0, 1.0 / 3.0]), "{shares_of_weak:?}");
    bench.balancer.update(zone_aware, &assignment, bench.now);
    bench.balancer.set_local_cluster(None);
    assert!(close(&shares(&mut bench, 2), &[0.5, 0.5]));
}

#[test]
fn what_is_not_zone_aware() {
    // Another priority than the first, weighted localities, and policies for which another zone is another answer.
    let mut second = places(&[6, 6]);
    second.iter_mut().for_each(|place| place.priority = 1);
    let mut first = places(&[1]);
    first[0].endpoints[0].health = Health::Unhealthy;
    first.extend(second);
    let unaware = |cluster, places| {
        let mut bench = Bench::new(cluster, &Assignment::new("c", places));
        bench.balancer.set_local_cluster(Some(&local(0, &[5, 5])));
        shares(&mut bench, 2)
    };
    assert!(close(&unaware(cluster(Policy::Random), first), &[0.5, 0.5]));
    let weighted = Cluster { localities: Localities::Weighted, ..cluster(Policy::Random) };
    assert!(close(&unaware(weighted, places(&[6, 6])), &[0.5, 0.5]));
    let maglev = unaware(cluster(Policy::Maglev(Maglev::default())), places(&[6, 6]));
    assert!(close(&maglev, &[0.5, 0.5]), "{maglev:?}");
    assert!(close(&unaware(cluster(Policy::PickFirst { shuffle: false }), places(&[6, 6])), &[1.0, 0.0]));
}

#[test]
fn a_local_cluster_in_panic_may_stop_everything() {
    let mut ill = local(0, &[5, 5]);
    let mut assignment = (*ill.assignment).clone();
    assignment.localities.iter_mut().for_each(|place| {
        place.endpoints[1..].iter_mut().for_each(|endpoint| endpoint.health = Health::Unhealthy);
    });
    ill.assignment = Arc::new(assignment);
    for (on_panic, expected) in [(OnPanic::UseAll, None), (OnPanic::Fail, Some(PickError::NoHealthyEndpoint))] {
        let settings = ZoneAware { on_panic, ..ZoneAware::default() };
        let cluster = Cluster { localities: Localities::ZoneAware(settings), ..cluster(Policy::Random) };
        let mut bench = Bench::new(cluster, &Assignment::new("c", places(&[6, 6])));
        bench.balancer.set_local_cluster(Some(&ill));
        assert_eq!(bench.pick(None).err(), expected);
    }
}
