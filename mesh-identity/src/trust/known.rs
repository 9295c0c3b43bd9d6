use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, RevocationPolicy, Trusted};

/// Where a bundle came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// From our own authority, or from whoever issues our own SVIDs.
    Own,
    /// From the configuration, to begin with.
    Bootstrap,
    /// From the SPIRE server that this node joined.
    Server,
    /// From a bundle endpoint, authenticated by its profile.
    Endpoint,
    /// From a bucket, signed.
    Bucket,
    /// From a file of an operator.
    File,
}

/// A bundle, and how fresh it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) bundle: Arc<Bundle>,
    pub(super) source: Source,
    /// Since when it counts: when it was last confirmed, or a little earlier ([`Known::is_due`]).
    pub(super) confirmed: SystemTime,
    /// `None` for no end.
    pub(super) max_age: Option<Duration>,
    pub(super) revocation: RevocationPolicy,
}

/// Part of its time by which a bundle may count shorter than it could.
const STEPS: u32 = 100;

impl Known {
    /// Whether a confirmation without news is worth a change: one that moved the end each time would be written to disk, and
    /// have every connection judged again, with every poll of every source.
    pub(super) fn is_due(&self, confirmed: SystemTime, max_age: Duration) -> bool {
        // A clock that was set back shows bundles of the future: they would count for too long.
        self.max_age != Some(max_age)
            || confirmed.duration_since(self.confirmed).map_or(true, |since| since >= max_age / STEPS)
    }

    /// `None` for no end, and for one that no clock will show.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.confirmed.checked_add(self.max_age?)
    }

    pub(super) fn trusted(&self) -> Trusted {
        Trusted::new(Arc::clone(&self.bundle)).until(self.until()).revocation(self.revocation)
    }
}
