use std::time::{Duration, SystemTime};

use super::{Error, rotate};

/// Longest life of a key or a list.
const MAX_LIFE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

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
    /// Life of a JWT-SVID when none is asked for. Default 5 min.
    pub token_life: Duration,
    /// Life of a signing key that is made here. Default 30 days: its successor is then published 10 days before it signs,
    /// and no SVID lives longer than 5 days.
    pub authority_life: Duration,
    /// For how long a revocation list counts. Default 24 h, and never less.
    pub list_life: Duration,
    /// How often others should look for a newer bundle. Default 5 min.
    pub refresh_hint: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            default_life: Duration::from_secs(60 * 60),
            max_life: Duration::from_secs(24 * 60 * 60),
            min_life: Duration::from_secs(30),
            token_life: Duration::from_secs(5 * 60),
            authority_life: Duration::from_secs(30 * 24 * 60 * 60),
            list_life: Duration::from_secs(24 * 60 * 60),
            refresh_hint: Duration::from_secs(5 * 60),
        }
    }
}

impl Rules {
    /// Refuses rules under which an SVID would outlive its authority, or a verifier learn of a key too late.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_times()?;
        let longest = rotate::longest_issued(self.authority_life);
        if self.max_life > longest || self.token_life > longest {
            return Err(Error::Rules(format!(
                "an authority of {} s issues for {} s at most: shorten the SVIDs, or let it live longer",
                self.authority_life.as_secs(),
                longest.as_secs()
            )));
        }
        let lead = rotate::lead(self.authority_life);
        if lead < self.refresh_hint.saturating_mul(5) {
            return Err(Error::Rules(format!(
                "a new authority must be published at least 5 refresh hints ({} s) before it signs, not {} s",
                self.refresh_hint.as_secs().saturating_mul(5),
                lead.as_secs()
            )));
        }
        Ok(())
    }

    /// Refuses times that no certificate can carry.
    pub(super) fn check_times(&self) -> Result<(), Error> {
        for (name, life) in [("authority_life", self.authority_life), ("list_life", self.list_life)] {
            if life > MAX_LIFE {
                return Err(Error::Rules(format!("{name} of {} s is longer than a century", life.as_secs())));
            }
        }
        Ok(())
    }

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
        if life < self.min_life {
            return Err(Error::LifeTooShort { asked: life, least: self.min_life });
        }
        let left = issuer_end.duration_since(now).unwrap_or_default();
        if left < self.min_life {
            return Err(Error::Ending { left, least: self.min_life });
        }
        Ok(now + left.min(life))
    }

    /// Refuses rules under which whoever asks for no life gets nothing. They hold for plugged-in authorities too.
    pub(super) fn check_lives(&self) -> Result<(), Error> {
        if self.default_life > self.max_life {
            return Err(Error::Rules(format!(
                "SVIDs of {} s, where no life is asked for, are longer than the longest, of {} s",
                self.default_life.as_secs(),
                self.max_life.as_secs()
            )));
        }
        Ok(())
    }
}
