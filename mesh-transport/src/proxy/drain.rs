use std::time::Duration;

use mesh_identity::task::Tasks;
use tokio_util::sync::CancellationToken;

use super::track::{Cause, Tracker};

/// The end of a proxy in two phases: first nothing new is taken and peers are told to go elsewhere (GOAWAY), then, at the
/// deadline, what is left is closed. Cheap to clone; all clones are one drain.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    token: CancellationToken,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A drain that begins with this one, or by itself: for one listener among several.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Begins the first phase.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Completes when the first phase begins.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Goes through both phases: waits up to `deadline` for the connections to end by themselves, then closes the rest.
    /// Gives the number that had to be closed.
    ///
    /// # Cancel safety
    /// Safe; the drain has begun.
    pub async fn run(&self, tracker: &Tracker, tasks: &Tasks, deadline: Duration) -> usize {
        self.begin();
        let mut left = 0;
        if tokio::time::timeout(deadline, tracker.emptied()).await.is_err() {
            left = tracker.close_all(&Cause::Drain);
            // They need a moment to log their end; none may hold the process.
            let _ = tokio::time::timeout(Duration::from_secs(1), tracker.emptied()).await;
        }
        tasks.stop().await;
        left
    }
}
