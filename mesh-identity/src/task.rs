//! Tasks that end together: the one place that spawns, for this crate and for those above it.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks. Cheap to clone; all clones are the same group.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Runs a future until it ends or the group is stopped.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let all = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = all.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// As [`Tasks::spawn`], and ends the future when `until` is cancelled.
    pub fn spawn_until(&self, until: CancellationToken, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn(async move {
            tokio::select! {
                biased;
                () = until.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// How many tasks are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Whether the group was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Stops all tasks, without waiting for their end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Stops all tasks and waits until they have ended.
    ///
    /// # Cancel safety
    /// Safe; the tasks are stopped from the first poll on.
    pub async fn stop(&self) {
        self.token.cancel();
        self.wait().await;
    }

    /// Waits until all tasks have ended by themselves.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }
}
