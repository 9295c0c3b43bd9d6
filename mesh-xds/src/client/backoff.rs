//! When to try again: full jitter between zero and a bound that doubles. Pure; the random number is handed in.

use std::time::Duration;

/// Pauses between attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Default for Backoff {
    /// 500 ms doubling to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Bounds that begin with `base` and double up to `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after another failure; `random` in 0..=1 chooses within the bound. Never shorter than a fifth of the
    /// base, so that a server that ends every stream at once is not hammered.
    pub fn next(&mut self, random: f64) -> Duration {
        let bound = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random.clamp(0.0, 1.0)).max(self.base / 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
        let bounds: Vec<_> = (0..5).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [500, 1000, 2000, 3000, 3000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(500));
        assert_eq!(backoff.next(0.0), Duration::from_millis(100));
        for _ in 0..100 {
            backoff.next(0.5);
        }
    }
}
