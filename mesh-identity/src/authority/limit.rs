use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// Most callers that are remembered. Beyond it those that are full again are forgotten, which changes nothing for them.
const MAX_CALLERS: usize = 65_536;

/// A token bucket per caller: so many at once, so many per second.
#[derive(Debug)]
pub struct RateLimit {
    burst: f64,
    per_second: f64,
    callers: Mutex<HashMap<String, (f64, SystemTime)>>,
}

impl RateLimit {
    /// At most `burst` at once and `per_second` in the long run, by caller.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self { burst: f64::from(burst.max(1)), per_second: f64::from(per_second.max(1)), callers: Mutex::default() }
    }

    /// Takes one for a caller.
    ///
    /// # Errors
    /// How long the caller should wait.
    pub fn take(&self, caller: &str, now: SystemTime) -> Result<(), Duration> {
        let mut callers = self.callers.lock();
        if callers.len() >= MAX_CALLERS && !callers.contains_key(caller) {
            let refilled = Duration::from_secs_f64(self.burst / self.per_second);
            callers.retain(|_, (_, since)| now.duration_since(*since).unwrap_or_default() < refilled);
            if callers.len() >= MAX_CALLERS {
                return Err(Duration::from_secs(1));
            }
        }
        let (tokens, since) = callers.entry(caller.to_owned()).or_insert((self.burst, now));
        let passed = now.duration_since(*since).unwrap_or_default().as_secs_f64();
        *tokens = (*tokens + passed * self.per_second).min(self.burst);
        *since = now;
        if *tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - *tokens) / self.per_second));
        }
        *tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_use_up_what_another_has() {
        let limit = RateLimit::new(2, 1);
        let start = SystemTime::UNIX_EPOCH;
        assert!(limit.take("a", start).is_ok() && limit.take("a", start).is_ok());
        assert_eq!(limit.take("a", start), Err(Duration::from_secs(1)));
        assert!(limit.take("b", start).is_ok());
        assert!(limit.take("a", start + Duration::from_secs(1)).is_ok());
        assert!(limit.take("a", start + Duration::from_secs(1)).is_err());
        // A clock that jumps back gives nothing and breaks nothing.
        assert!(limit.take("a", start).is_err());
    }
}
