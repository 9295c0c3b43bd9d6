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
    pub(super) confirmed: SystemTime,
    /// `None` for no end.
    pub(super) max_age: Option<Duration>,
    pub(super) revocation: RevocationPolicy,
}

impl Known {
    /// `None` for no end, and for one that no clock will show.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.confirmed.checked_add(self.max_age?)
    }

    pub(super) fn trusted(&self) -> Trusted {
        Trusted::new(Arc::clone(&self.bundle)).until(self.until()).revocation(self.revocation)
    }
}
