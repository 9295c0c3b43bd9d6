//! How far a request is: what some time limits are counted from.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

/// What tells how far a request's body is.
pub(super) trait Observed: Send + Sync {
    /// How far it is now; wakes who asks when it ends.
    fn watch(&self, waker: Option<&Waker>) -> Watched;
}

/// How far a request's body is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    /// When it ended, if it has.
    pub(super) ended: Option<Instant>,
    /// Whether it ended by breaking off.
    pub(super) broken: bool,
    /// When something of it was read last.
    pub(super) active: Instant,
}

/// How far a request is.
#[derive(Clone)]
pub(crate) struct Progress {
    began: Instant,
    body: Option<Arc<dyn Observed>>,
}

impl Progress {
    pub(super) fn new(began: Instant, body: Option<Arc<dyn Observed>>) -> Self {
        Self { began, body }
    }

    /// When the request came.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// How far it is now; wakes when it ends.
    pub(super) fn watch(&self, waker: &Waker) -> Watched {
        match &self.body {
            None => self.bodiless(),
            Some(body) => body.watch(Some(waker)),
        }
    }

    fn bodiless(&self) -> Watched {
        Watched { ended: Some(self.began), broken: false, active: self.began }
    }

    /// How far it is now.
    pub(super) fn peek(&self) -> Watched {
        match &self.body {
            None => self.bodiless(),
            Some(body) => body.watch(None),
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("began", &self.began).finish_non_exhaustive()
    }
}
