use super::*;

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
    let square = chi_square(&bench.counts(10_000), &[(0, 1.0 / 3.4), (1, 1.0 / 3.4), (3, 1.4 / 3.4)], 10_000);
    assert!(square < far(3), "{square}");
    // Where they do not count, all healthy endpoints are equal.
    let mut bench = Bench::new(cluster(Policy::Random), &assignment);
    let equal = [0, 1, 3, 4, 5].map(|index| (index, 0.2));
    assert!(chi_square(&bench.counts(10_000), &equal, 10_000) < far(5));
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

/// Localities by a rotation: their shares are exact, give or take one; inside, endpoints as their policy says.
#[test]
fn localities_have_exactly_their_share() {
    let three = |first: usize| (first..first + 3).map(|index| endpoint(index, 1)).collect::<Vec<_>>();
    for weights in [[1, 1, 1], [1, 2, 7], [5, 0, 95]] {
        let places = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| locality(&index.to_string(), 0, *weight, three(3 * index)));
        let assignment = Assignment::new("c", places.collect());
        for policy in [Policy::Random, Policy::PEAK_EWMA, Policy::RoundRobin { slow_start: None }] {
            let weighted = Cluster { localities: Localities::Weighted, ..cluster(policy) };
            let mut bench = Bench::new(weighted, &assignment);
            let counts = bench.counts(9000);
            let sum: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let of_place: Vec<_> =
                    (3 * index..3 * index + 3).map(|one| counts.get(&at(one)).copied().unwrap_or(0)).collect();
                let count: usize = of_place.iter().sum();
                let share = f64::from(*weight) / f64::from(sum);
                assert!((count as f64 - 9000.0 * share).abs() <= 2.0, "{weights:?}: {count} of 9000");
                assert!(of_place.iter().all(|one| is_binomial(*one, count, 1.0 / 3.0)), "{of_place:?}");
            }
        }
    }
}
