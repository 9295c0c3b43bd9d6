use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Parts that an interval is counted in.
const PARTS: u32 = 16;

/// Counts what happened within an interval that ends now, on atomics and in a fixed size: something counts for the interval,
/// and up to a sixteenth of it longer.
#[derive(Debug, Default)]
pub(super) struct Window {
    epoch: OnceLock<Instant>,
    /// The part that is counted now, and all of an interval before it. Each holds the number of its part and a count.
    parts: [AtomicU64; PARTS as usize + 1],
}

impl Window {
    pub(super) fn count(&self, interval: Duration, now: Instant) {
        let part = self.part(interval, now);
        let Some(counter) = self.parts.get(part as usize % self.parts.len()) else { return };
        let add = |before: u64| {
            let (number, count) = unpack(before);
            Some(pack(part, if number == part { count.saturating_add(1) } else { 1 }))
        };
        // Never refused: `add` always has a value.
        let _ = counter.fetch_update(Relaxed, Relaxed, add);
    }

    pub(super) fn sum(&self, interval: Duration, now: Instant) -> u32 {
        let part = self.part(interval, now);
        let counts = self.parts.iter().map(|counter| unpack(counter.load(Relaxed)));
        counts.filter(|(number, _)| part.wrapping_sub(*number) <= PARTS).map(|(_, count)| count).sum()
    }

    /// Numbers wrap around: after so long, nothing of the same number is left.
    fn part(&self, interval: Duration, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_init(|| now);
        let width = (interval / PARTS).as_nanos().max(1);
        (now.saturating_duration_since(epoch).as_nanos() / width) as u32
    }
}

fn pack(part: u32, count: u32) -> u64 {
    u64::from(part) << 32 | u64::from(count)
}

fn unpack(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a start to count from; nothing waits")]
    fn counts_for_the_interval() {
        let (window, begun) = (Window::default(), Instant::now());
        let interval = 160 * MILLI;
        for _ in 0..10 {
            window.count(interval, begun);
        }
        for (after, expected) in [(0, 10), (100, 10), (160, 10), (171, 0), (10_000, 0)] {
            assert_eq!(window.sum(interval, begun + after * MILLI), expected, "after {after} ms");
        }
    }

    proptest! {
        /// Everything of the last interval counts, and nothing that is older than that and a sixteenth.
        #[test]
        #[allow(clippy::disallowed_methods, reason = "a start to count from; nothing waits")]
        fn never_less_and_hardly_more(steps in proptest::collection::vec(0..40_u32, 1..200)) {
            let (window, mut now) = (Window::default(), Instant::now());
            let interval = 160 * MILLI;
            let mut times = VecDeque::new();
            for step in steps {
                now += step * MILLI;
                window.count(interval, now);
                times.push_back(now);
                let within = |limit| times.iter().filter(|time| now - **time <= limit).count() as u32;
                let sum = window.sum(interval, now);
                prop_assert!((within(interval)..=within(interval + 10 * MILLI)).contains(&sum));
            }
        }
    }
}
