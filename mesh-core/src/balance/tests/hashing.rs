use super::*;

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

fn draws(count: u64) -> Vec<u64> {
    (0..count).map(|seed| fastrand::Rng::with_seed(seed).u64(..)).collect()
}

fn ring(min_size: u32) -> Policy {
    Policy::RingHash(RingHash { min_size, ..RingHash::default() })
}

/// Entry by entry, an endpoint has its share of a Maglev table but for what does not divide.
#[test]
fn a_table_is_divided_by_weight() {
    let size = 65_537;
    for weights in [&[1_u32; 10][..], &[1, 2, 3, 4], &[1, 100]] {
        let sum: u32 = weights.iter().sum();
        let mut bench = Bench::new(cluster(Policy::Maglev(Maglev::default())), &flat(weights));
        let mut counts = BTreeMap::<_, u32>::new();
        for address in bench.by_hash(0..size).into_values() {
            *counts.entry(address).or_default() += 1;
        }
        let heaviest = weights.iter().max().unwrap();
        for (index, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / f64::from(sum) * size as f64;
            // One turn more or less, and where weights are unequal, what is left of one.
            let slack = 1.0 + f64::from(*heaviest / *weight > 1);
            assert!((f64::from(counts[&at(index)]) - share).abs() <= slack, "{weights:?}: {counts:?}");
        }
    }
}

/// A ring is divided as chance places points: a share of n points has a standard deviation of about 1/√n of itself.
#[test]
fn a_ring_is_divided_by_weight() {
    let hashes = draws(20_000);
    for (weights, points) in [(&[1_u32; 10][..], 65_536), (&[1, 2, 3, 4], 65_536), (&[1; 10], 1024)] {
        let sum: u32 = weights.iter().sum();
        let mut bench = Bench::new(cluster(ring(points)), &flat(weights));
        let mut counts = BTreeMap::<_, usize>::new();
        for address in bench.by_hash(hashes.iter().copied()).into_values() {
            *counts.entry(address).or_default() += 1;
        }
        for (index, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / f64::from(sum);
            let deviation = (1.0 / (share * f64::from(points)) + 1.0 / (share * 20_000.0)).sqrt();
            let measured = counts[&at(index)] as f64 / 20_000.0 / share;
            assert!((measured - 1.0).abs() < 4.0 * deviation, "{weights:?} on {points}: {measured} of {share}");
        }
    }
}

/// Of N endpoints one goes: 1/N of the hashes move, which are its own, and hardly any other. One comes: 1/(N+1) move, to it.
#[test]
fn churn_moves_what_it_must_and_hardly_more() {
    let hashes = draws(10_000);
    // Policy, endpoints → the share that moves without need. A table hardly disturbs anybody. A ring keeps its size, as
    // Envoy's does, so that those who stay have more places than before, which take from each other about 1/N as well.
    let table = [
        (ring(4096), 5, 0.2),
        (ring(4096), 20, 0.05),
        (ring(16_384), 100, 0.013),
        (Policy::Maglev(Maglev::default()), 5, 0.02),
        (Policy::Maglev(Maglev::default()), 20, 0.02),
        (Policy::Maglev(Maglev::default()), 100, 0.02),
    ];
    for (policy, count, needless) in table {
        let of =
            |assignment: &Assignment| Bench::new(cluster(policy.clone()), assignment).by_hash(hashes.iter().copied());
        let before = of(&flat(&vec![1; count]));
        let mut fewer = flat(&vec![1; count]);
        fewer.localities[0].endpoints.remove(count / 2);
        let gone = at(count / 2);
        let share = |moved: usize| moved as f64 / hashes.len() as f64;
        let after = of(&fewer);
        let own = before.values().filter(|address| **address == gone).count();
        let moved = |after: &HashMap<u64, SocketAddr>| hashes.iter().filter(|hash| before[hash] != after[hash]).count();
        assert!(is_near(share(own), count), "{count}: {own}");
        assert!(share(moved(&after) - own) <= needless, "{policy:?} {count}: {} beside {own}", moved(&after) - own);
        // What it had is spread over the others, not heaped on a neighbour.
        let heirs: BTreeSet<_> = before.iter().filter(|(_, at)| **at == gone).map(|(hash, _)| after[hash]).collect();
        assert!(heirs.len() * 5 > own.min(count - 1) * 2, "{policy:?}: {} heirs of {count}", heirs.len());
        let after = of(&flat(&vec![1; count + 1]));
        let to_new = after.values().filter(|address| **address == at(count)).count();
        assert!(is_near(share(to_new), count + 1), "{count}: {to_new}");
        assert!(share(moved(&after) - to_new) <= needless, "{policy:?} {count}: {}", moved(&after) - to_new);
    }
}

/// Within four standard deviations of a share that is itself drawn: by the places of one of `count`, and by the hashes.
fn is_near(share: f64, count: usize) -> bool {
    let deviation = (count as f64 * (1.0 / 4096.0 + 1.0 / 10_000.0)).sqrt();
    (share * count as f64 - 1.0).abs() < 4.0 * deviation.min(0.2)
}
