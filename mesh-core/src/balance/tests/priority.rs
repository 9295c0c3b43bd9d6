use super::*;

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

/// Levels of so many endpoints, of which so many are healthy and degraded.
fn levels(levels: &[(usize, usize, usize)]) -> Assignment {
    let place = |(priority, (all, healthy, degraded)): (usize, &(usize, usize, usize))| {
        let health = |index| match index {
            index if index < *healthy => Health::Healthy,
            index if index < healthy + degraded => Health::Degraded,
            _ => Health::Unhealthy,
        };
        let one = |index| Endpoint { health: health(index), ..endpoint(1000 * priority + index, 1) };
        locality("a", priority as u32, 1, (0..*all).map(one).collect())
    };
    Assignment::new("c", levels.iter().enumerate().map(place).collect())
}

/// How many of a hundred hashes, which stand for each percent once, go to each level; and which were unhealthy.
fn percents(threshold: u32, assignment: &Assignment) -> (Vec<usize>, bool) {
    let policy = Policy::Maglev(Maglev { table_size: TableSize::try_new(251).unwrap(), ..Maglev::default() });
    let mut bench = Bench::new(Cluster { panic_threshold: threshold, ..cluster(policy) }, assignment);
    let mut counts = vec![0; assignment.localities.len()];
    let mut unhealthy = false;
    for hash in 0..100 {
        let pick = bench.pick(Some(hash)).unwrap();
        counts[pick.priority() as usize] += 1;
        unhealthy |= pick.endpoint().health == Health::Unhealthy;
    }
    (counts, unhealthy)
}

#[test]
fn priority_failover_by_the_percent() {
    // Levels of (all, healthy, degraded), panic threshold → percent of each, whether unhealthy ones are used.
    type Row<'a> = (&'a [(usize, usize, usize)], u32, &'a [usize], bool);
    let table: [Row<'_>; 15] = [
        // The table of Envoy's manual for two levels, the second healthy.
        (&[(100, 100, 0), (100, 100, 0)], 50, &[100, 0], false),
        (&[(100, 72, 0), (100, 100, 0)], 50, &[100, 0], false),
        (&[(100, 71, 0), (100, 100, 0)], 50, &[99, 1], false),
        (&[(100, 50, 0), (100, 100, 0)], 50, &[70, 30], false),
        (&[(100, 25, 0), (100, 100, 0)], 50, &[35, 65], false),
        (&[(100, 0, 0), (100, 100, 0)], 50, &[0, 100], false),
        // Three: each as far as it goes.
        (&[(100, 25, 0), (100, 25, 0), (100, 100, 0)], 50, &[35, 35, 30], false),
        (&[(100, 0, 0), (100, 50, 0), (100, 100, 0)], 50, &[0, 70, 30], false),
        // Not enough in all: shares are scaled up, and levels below the threshold panic.
        (&[(100, 25, 0), (100, 25, 0), (100, 20, 0)], 0, &[37, 35, 28], false),
        (&[(100, 25, 0), (100, 25, 0), (100, 20, 0)], 50, &[34, 33, 33], true),
        (&[(100, 5, 0), (100, 55, 0)], 50, &[9, 91], true),
        // Degraded ones come after all healthy ones, and keep a level from panic.
        (&[(100, 50, 50), (100, 20, 0)], 50, &[72, 28], false),
        (&[(100, 40, 20), (100, 0, 30)], 50, &[84, 16], true),
        // Sizes count when all panic.
        (&[(10, 0, 0), (30, 0, 0)], 50, &[25, 75], true),
        (&[(10, 1, 0), (30, 1, 0)], 50, &[25, 75], true),
    ];
    for (of, threshold, expected, panics) in table {
        let (percents, unhealthy) = percents(threshold, &levels(of));
        assert_eq!(percents, expected, "{of:?} at {threshold}");
        assert!(!unhealthy || panics, "{of:?} at {threshold}");
    }
}

/// Draws follow the percents, for policies that do not hash.
#[test]
fn priority_failover_by_chance() {
    for (of, share) in [(&[(100, 71, 0), (100, 100, 0)], 0.99), (&[(100, 25, 0), (100, 100, 0)], 0.35)] {
        for policy in [Policy::Random, Policy::PEAK_EWMA, Policy::RoundRobin { slow_start: None }] {
            let mut bench = Bench::new(cluster(policy), &levels(of));
            let of_first =
                bench.counts(20_000).iter().filter(|(address, _)| **address < at(1000)).map(|(_, n)| n).sum();
            assert!(is_binomial(of_first, 20_000, share), "{of_first} of 20000, not {share}");
        }
    }
}

/// In panic every endpoint of the level is as good as any other.
#[test]
fn panic_is_fair_to_all() {
    let mut bench = Bench::new(cluster(Policy::Random), &levels(&[(10, 2, 0)]));
    let fair: Vec<_> = (0..10).map(|index| (index, 0.1)).collect();
    let square = chi_square(&bench.counts(10_000), &fair, 10_000);
    assert!(square < far(10), "{square}");
}

/// Weights instead of counts, if the assignment says so: the one healthy endpoint is nine tenths of its level.
#[test]
fn the_health_of_a_level_may_go_by_weight() {
    let mut assignment = levels(&[(2, 1, 0), (2, 2, 0)]);
    assignment.localities[0].endpoints[0].weight = NonZeroU32::new(9).unwrap();
    assert_eq!(percents(50, &assignment).0, [70, 30]);
    assignment.weighted_priority_health = true;
    assert_eq!(percents(50, &assignment).0, [100, 0]);
}

#[test]
fn a_request_may_leave_priorities_out() {
    let place = |priority: u32| {
        let first = 10 * priority as usize;
        let endpoints: Vec<_> = (first..first + 10).map(|index| endpoint(index, 1)).collect();
        locality("a", priority, 1, endpoints)
    };
    let mut places = vec![place(0), place(1), place(2)];
    // Half of the second: it can bear 70 %.
    places[1].endpoints[..5].iter_mut().for_each(|endpoint| endpoint.health = Health::Unhealthy);
    let mut bench = Bench::new(cluster(Policy::Random), &Assignment::new("c", places));
    let mut shares = |avoided: &[u32]| {
        let mut counts = [0_u32; 3];
        for _ in 0..100 {
            let request = Request { avoided_priorities: avoided, ..Request::default() };
            let pick = bench.balancer.pick(&request, &mut bench.rng, bench.now).unwrap();
            counts[pick.priority() as usize] += 1;
        }
        counts
    };
    assert_eq!(shares(&[]), [100, 0, 0]);
    assert_eq!(shares(&[1]), [100, 0, 0]);
    assert_eq!(shares(&[1, 0]), [0, 0, 100]);
    assert_eq!(shares(&[7]), [100, 0, 0]);
    // Nobody is left: all count again.
    assert_eq!(shares(&[0, 1, 2]), [100, 0, 0]);
    let [none, most, rest] = shares(&[0]);
    assert!(none == 0 && most > 50 && rest > 10 && most + rest == 100, "{most} {rest}");
}
