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
    /// Life of an SVID at the edge. It is renewed at half of it, so that at least half is left when the line is cut.
    pub edge_svid_life: Duration,
}

/// Partitions of this length cannot be survived as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

impl Survival {
    /// What surviving a partition demands.
    ///
    /// # Errors
    /// [`Impossible`] for more than 23 days, beyond which no successor of an authority is published ahead.
    pub fn of(partition: Duration) -> Result<Self, Impossible> {
        // Twice the partition, so that half of it is left at any time; and a sixth of the authority's life at most.
        let edge_svid_life = (2 * partition).min(7 * DAY).max(DAY / 24);
        let authority_life = (3 * partition).max(6 * edge_svid_life).max(30 * DAY);
        let authority_life = if rotate::lead(authority_life) < partition { 90 * DAY } else { authority_life };
        if rotate::lead(authority_life) < partition {
            return Err(Impossible(format!(
                "a partition of {} days cannot be survived: authorities are published 23 days ahead at most",
                partition.as_secs() / DAY.as_secs()
            )));
        }
        Ok(Self { bundle_max_age: partition, authority_life, list_life: partition.max(DAY), edge_svid_life })
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
    use super::*;

    #[test]
    fn four_faces_of_one_number() {
        for days in [1, 2, 3, 5, 7, 10, 14, 23] {
            let partition = days * DAY;
            let survival = Survival::of(partition).unwrap();
            assert_eq!(survival.check(partition), Ok(()), "{survival:?}");
            assert!(rotate::longest_issued(survival.authority_life) >= survival.edge_svid_life);
        }
        assert!(Survival::of(24 * DAY).is_err());
        let mut hasty = Survival::of(3 * DAY).unwrap();
        hasty.authority_life = DAY;
        assert!(hasty.check(3 * DAY).unwrap_err().to_string().contains("lead"));
    }
}
