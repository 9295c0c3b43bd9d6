//! How many clients are given their first answers at a time.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

/// How long a client may take for its first answers before others have their turn as well.
const LONGEST: Duration = Duration::from_secs(5);

/// The turn of one stream.
#[derive(Debug)]
pub(super) enum Turn {
    /// It comes. Its place among those who wait is kept.
    Waiting(PollSemaphore),
    /// It is, until then.
    Has { until: Instant, _permit: OwnedSemaphorePermit },
    /// It was, or there is no limit.
    Over,
}

impl Turn {
    pub(super) fn new(limit: Option<&Arc<Semaphore>>) -> Self {
        limit.map_or(Self::Over, |limit| Self::Waiting(PollSemaphore::new(Arc::clone(limit))))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Waits for the turn to come; for ever, when it does not wait for it.
    pub(super) async fn come(&mut self) {
        let Self::Waiting(semaphore) = self else { return std::future::pending().await };
        let permit = poll_fn(|context| semaphore.poll_acquire(context)).await;
        *self = permit.map_or(Self::Over, |_permit| Self::Has { until: Instant::now() + LONGEST, _permit });
    }

    /// When it ends, whatever the client does.
    pub(super) fn ends(&self) -> Option<Instant> {
        match self {
            Self::Has { until, .. } => Some(*until),
            Self::Waiting(_) | Self::Over => None,
        }
    }

    /// The client has its first answers, or has had its time.
    pub(super) fn end(&mut self, settled: bool, now: Instant) {
        if self.ends().is_some_and(|until| settled || until <= now) {
            *self = Self::Over;
        }
    }
}
