use std::time::SystemTime;

use serde::Serialize;

use super::known::{Known, Source};

/// How old a bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Age {
    /// The trust domain.
    pub trust_domain: String,
    /// Its number.
    pub sequence: Option<u64>,
    /// Where it came from.
    pub source: Source,
    /// Seconds since it was last confirmed.
    pub age_seconds: u64,
    /// Seconds for which it still counts; `None` for no end.
    pub left_seconds: Option<u64>,
    /// How near the end is.
    pub level: Level,
    /// X.509 authorities in it.
    pub authorities: usize,
    /// JWT authorities in it.
    pub jwt_authorities: usize,
}

/// How near the end of a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Less than half of its time has passed.
    Fresh,
    /// Half of its time has passed.
    Ageing,
    /// Four fifths of its time have passed.
    Critical,
    /// It does not count any more.
    Ended,
}

/// `shown` is when it was last confirmed; its end counts from somewhat earlier.
pub(super) fn age(known: &Known, shown: SystemTime, now: SystemTime) -> Age {
    Age {
        trust_domain: known.bundle.trust_domain().to_string(),
        sequence: known.bundle.sequence(),
        source: known.source,
        age_seconds: now.duration_since(shown).unwrap_or_default().as_secs(),
        left_seconds: left_seconds(known, now),
        level: level(known, now),
        authorities: known.bundle.authorities().len(),
        jwt_authorities: known.bundle.jwt_authorities().len(),
    }
}

pub(super) fn left_seconds(known: &Known, now: SystemTime) -> Option<u64> {
    let passed = now.duration_since(known.confirmed).unwrap_or_default();
    known.max_age.map(|whole| whole.saturating_sub(passed).as_secs())
}

pub(super) fn level(known: &Known, now: SystemTime) -> Level {
    let passed = now.duration_since(known.confirmed).unwrap_or_default();
    match known.max_age {
        None => Level::Fresh,
        Some(whole) if passed > whole => Level::Ended,
        Some(whole) if passed >= whole.saturating_mul(4) / 5 => Level::Critical,
        Some(whole) if passed >= whole / 2 => Level::Ageing,
        Some(_) => Level::Fresh,
    }
}
