//! How load is spread over levels of priority, and which of them are in panic: Envoy's integer arithmetic.

/// What is known of a level of priority. Counts are of endpoints, or their weights where these count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    /// All, without those that are left out of the arithmetic.
    pub(super) counted: u64,
    /// All.
    pub(super) all: u64,
}

/// The share of a level, in percent of all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) healthy: u32,
    pub(super) degraded: u32,
    pub(super) panics: bool,
    /// What its healthy endpoints, and its degraded ones, could bear alone, in percent of all requests.
    pub(super) available: (u32, u32),
}

/// Shares of the levels, which sum up to 100 unless no level has anything at all. With `factor` percent of itself a healthy
/// level takes everything; below `panic_threshold` percent it panics.
pub(super) fn loads(levels: &[Level], factor: u32, panic_threshold: u32) -> Vec<Load> {
    let share = |part: u64, of: u64| match of {
        0 => 0,
        of => u32::try_from(u128::from(factor) * u128::from(part) / u128::from(of)).unwrap_or(100).min(100),
    };
    let available: Vec<_> = levels
        .iter()
        .map(|level| (share(level.healthy, level.counted), share(level.degraded, level.counted)))
        .collect();
    let total =
        available.iter().fold(0_u32, |sum, (healthy, degraded)| sum.saturating_add(healthy + degraded)).min(100);
    let mut loads: Vec<_> =
        available.iter().map(|available| Load { available: *available, ..Load::default() }).collect();
    if total < 100 {
        for (load, level) in loads.iter_mut().zip(levels) {
            load.panics = panics(level, panic_threshold);
        }
    }
    if loads.iter().all(|load| load.panics) {
        spread_over_all(&mut loads, levels);
        return loads;
    }
    if total == 0 {
        // Nobody is healthy and nobody panics: the first level is asked, and has nothing to give.
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    let mut left = 100;
    let mut take = |available: u32| {
        let taken = (available * 100 / total).min(left);
        left -= taken;
        taken
    };
    for (load, (healthy, _)) in loads.iter_mut().zip(&available) {
        load.healthy = take(*healthy);
    }
    for (load, (_, degraded)) in loads.iter_mut().zip(&available) {
        load.degraded = take(*degraded);
    }
    // What integer division left over goes to the first level that can take it.
    if let Some(first) = available.iter().position(|(healthy, _)| *healthy > 0) {
        loads[first].healthy += left;
    } else if let Some(first) = available.iter().position(|(_, degraded)| *degraded > 0) {
        loads[first].degraded += left;
    }
    loads
}

fn panics(level: &Level, threshold: u32) -> bool {
    let usable = u128::from(level.healthy + level.degraded);
    match level.counted {
        0 => threshold > 0,
        counted => 100 * usable < u128::from(threshold) * u128::from(counted),
    }
}

/// When all panic, each level gets the share of its endpoints.
fn spread_over_all(loads: &mut [Load], levels: &[Level]) {
    let all: u64 = levels.iter().map(|level| level.all).sum();
    let mut left = 100;
    for (load, level) in loads.iter_mut().zip(levels) {
        let share = u128::from(level.all) * 100 / u128::from(all.max(1));
        load.healthy = u32::try_from(share).unwrap_or(100);
        left -= load.healthy;
    }
    if let Some((load, _)) = loads.iter_mut().zip(levels).find(|(_, level)| level.all > 0) {
        load.healthy += left;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(healthy: u64, degraded: u64, all: u64) -> Level {
        Level { healthy, degraded, counted: all, all }
    }

    #[test]
    fn envoys_arithmetic() {
        // (healthy, degraded, all) per level, panic threshold → (healthy %, degraded %) per level, which panic.
        type Row = (&'static [(u64, u64, u64)], u32, &'static [(u32, u32)], &'static [bool]);
        let table: &[Row] = &[
            (&[(71, 0, 100), (100, 0, 100)], 50, &[(99, 0), (1, 0)], &[false, false]),
            (&[(72, 0, 100), (100, 0, 100)], 50, &[(100, 0), (0, 0)], &[false, false]),
            (&[(25, 0, 100), (25, 0, 100), (20, 0, 100)], 0, &[(37, 0), (35, 0), (28, 0)], &[false; 3]),
            // 70 and 7 of 100: the first takes 90, the second panics.
            (&[(50, 0, 100), (5, 0, 100)], 50, &[(91, 0), (9, 0)], &[false, true]),
            // Enough in sum: nobody panics, however bad the first is.
            (&[(1, 0, 100), (100, 0, 100)], 50, &[(1, 0), (99, 0)], &[false, false]),
            // Degraded endpoints come after the healthy ones of all levels.
            (&[(50, 50, 100), (20, 0, 100)], 50, &[(70, 2), (28, 0)], &[false, false]),
            (&[(0, 10, 10)], 50, &[(0, 100)], &[false]),
            // All panic: by size, the rest to the first that has any.
            (&[(0, 0, 0), (0, 0, 10), (0, 0, 20)], 50, &[(0, 0), (34, 0), (66, 0)], &[true; 3]),
            (&[(0, 0, 10), (0, 0, 20)], 0, &[(100, 0), (0, 0)], &[false, false]),
            (&[], 50, &[], &[]),
        ];
        for (levels, threshold, expected, panics) in table {
            let of: Vec<_> = levels.iter().map(|(healthy, degraded, all)| level(*healthy, *degraded, *all)).collect();
            let loads = loads(&of, 140, *threshold);
            assert_eq!(loads.iter().map(|l| (l.healthy, l.degraded)).collect::<Vec<_>>(), *expected, "{levels:?}");
            assert_eq!(loads.iter().map(|load| load.panics).collect::<Vec<_>>(), *panics, "{levels:?}");
        }
    }

    proptest! {
        #[test]
        fn all_load_goes_somewhere(
            levels in proptest::collection::vec((0..50_u64, 0..50_u64, 0..50_u64), 1..6), factor in 1..300_u32, threshold in 0..=100_u32,
        ) {
            let levels: Vec<_> = levels.into_iter().map(|(h, d, u)| level(h, d, h + d + u)).collect();
            let loads = loads(&levels, factor, threshold);
            let sum: u32 = loads.iter().map(|load| load.healthy + load.degraded).sum();
            let nobody = levels.iter().all(|level| level.all == 0);
            prop_assert!(sum == 100 || (nobody && sum == 0), "{:?}", loads);
        }
    }
}
