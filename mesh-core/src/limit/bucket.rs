use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The settings of a bucket of tokens, which starts full. Envoy's `envoy.type.v3.TokenBucket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// How many tokens it holds; with none, everything is refused.
    pub max_tokens: u32,
    /// How many are added each time; at least one.
    pub tokens_per_fill: u32,
    /// How often; at least 50 ms.
    pub fill_interval: Duration,
}

/// A bucket cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBucket {
    /// It is filled too often to be told apart from a stream.
    #[error("a bucket must not be filled more often than every 50 ms")]
    Interval,
    /// It is never filled.
    #[error("a bucket must be filled with at least one token")]
    Fill,
}

impl TokenBucket {
    /// So many tokens in each interval, and as many at once.
    #[must_use]
    pub const fn new(tokens: u32, interval: Duration) -> Self {
        Self { max_tokens: tokens, tokens_per_fill: tokens, fill_interval: interval }
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// [`InvalidBucket`], with the first thing that is wrong with it.
    pub fn validate(&self) -> Result<(), InvalidBucket> {
        const SHORTEST: Duration = Duration::from_millis(50);
        match self {
            Self { fill_interval, .. } if *fill_interval < SHORTEST => Err(InvalidBucket::Interval),
            Self { tokens_per_fill: 0, .. } => Err(InvalidBucket::Fill),
            _ => Ok(()),
        }
    }
}

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether there was a token.
    pub allowed: bool,
    /// How many are left.
    pub left: u32,
    /// How long it is until it is filled again; zero if it is full.
    pub refill: Duration,
}

/// A bucket at work, for many tasks at once: taking a token waits for nobody.
#[derive(Debug)]
pub struct Bucket {
    settings: TokenBucket,
    start: Instant,
    /// Which interval it was filled in last, counted from the start, and how many tokens there were left: 32 bits each.
    state: AtomicU64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(settings: TokenBucket, now: Instant) -> Self {
        Self { settings, start: now, state: AtomicU64::new(pack(0, settings.max_tokens)) }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &TokenBucket {
        &self.settings
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Instant) -> Taken {
        let TokenBucket { max_tokens, tokens_per_fill, fill_interval } = self.settings;
        let interval = fill_interval.as_nanos().max(1);
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let fill = u32::try_from(elapsed / interval).unwrap_or(u32::MAX);
        let mut state = self.state.load(Relaxed);
        loop {
            let (filled, before) = unpack(state);
            // Who read the clock earlier may come later.
            let fill = fill.max(filled);
            let tokens = before.saturating_add((fill - filled).saturating_mul(tokens_per_fill)).min(max_tokens);
            let left = tokens.saturating_sub(1);
            match self.state.compare_exchange_weak(state, pack(fill, left), Relaxed, Relaxed) {
                Ok(_) => {
                    let until = interval - elapsed % interval;
                    let refill = if left == max_tokens { 0 } else { until };
                    let refill = Duration::from_nanos(u64::try_from(refill).unwrap_or(u64::MAX));
                    return Taken { allowed: tokens > 0, left, refill };
                }
                Err(newer) => state = newer,
            }
        }
    }
}

const fn pack(fill: u32, tokens: u32) -> u64 {
    (fill as u64) << 32 | tokens as u64
}

const fn unpack(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test")]
    fn start() -> Instant {
        Instant::now()
    }

    proptest! {
        /// As a bucket that is filled by a timer would do.
        #[test]
        fn as_many_as_were_filled_in(
            max in 0_u32..10, fill in 1_u32..5, interval in 50_u64..200,
            waits in prop::collection::vec(0_u64..400, 1..60),
        ) {
            let settings = TokenBucket {
                max_tokens: max, tokens_per_fill: fill, fill_interval: Duration::from_millis(interval),
            };
            let start = start();
            let bucket = Bucket::new(settings, start);
            let (mut now, mut tokens, mut next) = (0, max, interval);
            for wait in waits {
                now += wait;
                while next <= now {
                    tokens = (tokens + fill).min(max);
                    next += interval;
                }
                let taken = bucket.take(start + Duration::from_millis(now));
                prop_assert_eq!(taken.allowed, tokens > 0);
                tokens = tokens.saturating_sub(1);
                prop_assert_eq!(taken.left, tokens);
                if tokens < max {
                    prop_assert_eq!(taken.refill, Duration::from_millis(next - now));
                }
            }
        }
    }

    #[test]
    fn many_at_once_take_no_more_than_there_is() {
        let bucket = Bucket::new(TokenBucket::new(100, Duration::from_secs(3600)), start());
        let allowed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        allowed.fetch_add(bucket.take(bucket.start).allowed.into(), Relaxed);
                    }
                });
            }
        });
        assert_eq!(allowed.into_inner(), 100);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let bucket = TokenBucket::new(1, Duration::from_millis(50));
        assert_eq!(bucket.validate(), Ok(()));
        let quick = TokenBucket { fill_interval: Duration::from_millis(49), ..bucket };
        assert_eq!(quick.validate(), Err(InvalidBucket::Interval));
        assert_eq!(TokenBucket { tokens_per_fill: 0, ..bucket }.validate(), Err(InvalidBucket::Fill));
    }
}
