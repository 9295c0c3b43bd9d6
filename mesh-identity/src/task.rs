//! The one place of this crate that spawns.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Runs a future until it ends, `until` is cancelled, or all tasks are stopped.
    pub(crate) fn spawn(&self, until: CancellationToken, future: impl Future<Output = ()> + Send + 'static) {
        let all = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = all.cancelled() => {}
                () = until.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// Whether the tasks were stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Stops all tasks and waits for them.
    pub(crate) async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
