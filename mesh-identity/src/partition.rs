//! One number from which four are derived: the longest partition that must be survived.
//!
//! A region that is cut off for that long still verifies others (its bundles may be that old), is still verified by them
//! (an authority's successor was published that long before it signs), still knows what was revoked, and its edges still
//! have SVIDs.

use std::time::Duration;

use crate::authority::{Rules, rotate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a partition of a length demands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survival {
    /// How long a foreign bundle counts since it was last confirmed.
    pub bundle_max_age: Duration,
    /// How long an authority lives. Its successor is published [`rotate::lead`] before it signs, which is no less than the
    /// partition.
    pub authority_life: Duration,
    /// How long a revocation list counts.
    pub list_life: Duration,
    /// Life of an SVID at the edge. Whenever the line is cut, nine twentieths of it are left: [`left`] is no less than the
    /// partition.
    pub edge_svid_life: Duration,
}

/// Partitions of this length cannot be survived as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

/// The least that is left of an SVID of such a life while it can be renewed: that is due at half of its life, give or take a
/// tenth of that half.
#[must_use]
pub fn left(svid_life: Duration) -> Duration {
    svid_life.saturating_mul(9) / 20
}

impl Survival {
    /// What surviving a partition demands.
    ///
    /// # Errors
    /// [`Impossible`] for more than three days and three hours: no SVID lives longer than seven days, whatever the life of
    /// its authority ([`rotate::longest_issued`]), and an edge cannot renew its own.
    pub fn of(partition: Duration) -> Result<Self, Impossible> {
        let edge_svid_life = (partition.saturating_mul(20) / 9).saturating_add(Duration::from_secs(1)).max(DAY / 24);
        // So long that a sixth of it is no less than the life of an SVID.
        let least = edge_svid_life.saturating_mul(6).clamp(30 * DAY, 90 * DAY);
        let authority_life = if rotate::lead(least) < partition { 90 * DAY } else { least };
        let survival =
            Self { bundle_max_age: partition, authority_life, list_life: partition.max(DAY), edge_svid_life };
        survival.check(partition).map(|()| survival)
    }

    /// The rules of an authority that keep to it.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        rules.authority_life = self.authority_life;
        rules.list_life = self.list_life;
        rules.max_life = self.edge_svid_life.max(rules.default_life);
        rules
    }

    /// Whether single settings that override the derived ones still survive the partition.
    ///
    /// # Errors
    /// [`Impossible`] that names the first that does not.
    pub fn check(&self, partition: Duration) -> Result<(), Impossible> {
        let faces = [
            ("bundle_max_age", self.bundle_max_age),
            ("the lead of a new authority", rotate::lead(self.authority_life)),
            ("the life of revocation lists", self.list_life),
            (
                "what is left of an SVID at the edge",
                left(self.edge_svid_life.min(rotate::longest_issued(self.authority_life))),
            ),
        ];
        match faces.into_iter().find(|(_, face)| *face < partition) {
            None => Ok(()),
            Some((name, face)) => Err(Impossible(format!(
                "{name} of {} s is shorter than the partition of {} s that must be survived",
                face.as_secs(),
                partition.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::source::rotate::Schedule;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn four_faces_of_one_number() {
        for hours in [0, 1, 24, 48, 72, 75] {
            let partition = hours * HOUR;
            let survival = Survival::of(partition).unwrap();
            assert_eq!(survival.check(partition), Ok(()), "{survival:?}");
            assert!(rotate::longest_issued(survival.authority_life) >= survival.edge_svid_life, "{survival:?}");
            assert_eq!(survival.rules().check().map_err(|error| error.to_string()), Ok(()));
        }
        for impossible in [76 * HOUR, 4 * DAY, 23 * DAY, 24 * DAY, Duration::MAX] {
            assert!(Survival::of(impossible).is_err(), "{impossible:?}");
        }
        let check = |change: fn(&mut Survival)| {
            let mut survival = Survival::of(3 * DAY).unwrap();
            change(&mut survival);
            survival.check(3 * DAY).map_err(|error| error.to_string())
        };
        for (change, wanted) in [
            ((|one| one.bundle_max_age = DAY) as fn(&mut Survival), "bundle_max_age"),
            (|one| one.authority_life = DAY, "lead"),
            (|one| one.list_life = DAY, "revocation lists"),
            (|one| one.edge_svid_life = 6 * DAY, "SVID at the edge"),
            (|one| one.authority_life = 35 * DAY, "SVID at the edge"),
        ] {
            assert!(check(change).unwrap_err().contains(wanted), "{wanted}");
        }
    }

    #[test]
    fn an_svid_is_renewed_before_less_than_that_is_left() {
        let life = 7 * DAY;
        let mut schedule = Schedule::default();
        schedule.handle_issued(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + life, 1.0);
        let due = schedule.poll_wait(SystemTime::UNIX_EPOCH);
        assert!(life - due >= left(life) - Duration::from_millis(1), "{due:?}");
        assert!(life - due <= left(life) + Duration::from_secs(1), "{due:?}");
    }
}
