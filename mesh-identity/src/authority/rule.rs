use std::time::{Duration, SystemTime};

use super::Error;

/// Limits of what an authority issues.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Life of an SVID when none is asked for. Default 1 h.
    pub default_life: Duration,
    /// Longest life that may be asked for; more is refused, not shortened. Default 24 h.
    pub max_life: Duration,
    /// Shortest life worth issuing. Default 30 s.
    pub min_life: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            default_life: Duration::from_secs(60 * 60),
            max_life: Duration::from_secs(24 * 60 * 60),
            min_life: Duration::from_secs(30),
        }
    }
}

impl Rules {
    /// The end of an SVID that is issued now: never behind that of the issuer.
    pub(super) fn not_after(
        &self,
        asked: Option<Duration>,
        now: SystemTime,
        issuer_end: SystemTime,
    ) -> Result<SystemTime, Error> {
        let life = asked.unwrap_or(self.default_life);
        if life > self.max_life {
            return Err(Error::LifeTooLong { asked: life, limit: self.max_life });
        }
        let left = issuer_end.duration_since(now).unwrap_or_default().min(life);
        if left < self.min_life {
            return Err(Error::LifeTooShort { left, least: self.min_life });
        }
        Ok(now + left)
    }
}
