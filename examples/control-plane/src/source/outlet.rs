use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::{Live, Publisher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Said;

/// Where a source says what it has to say.
#[derive(Debug)]
pub struct Outlet {
    said: Publisher<Said>,
    progress: Arc<Mutex<Progress>>,
    changed: Arc<Notify>,
}

/// How a source fares.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// When it was looked at last.
    pub looked: Option<SystemTime>,
    /// When that succeeded last: what it offered was read, whether it was taken or not.
    pub succeeded: Option<SystemTime>,
    /// When what is in force was put on disk, as long as it comes from there.
    pub restored: Option<SystemTime>,
    /// Since when it cannot be read.
    pub failing_since: Option<SystemTime>,
    /// How many files, or lists, it has.
    pub files: usize,
}

impl Progress {
    /// It cannot be read now. What is in force was so when it could be read last.
    pub fn failed(&mut self, now: SystemTime) {
        let confirmed = self.succeeded.unwrap_or(now);
        self.failing_since.get_or_insert(confirmed);
    }

    /// For how long nobody knows whether what is in force is still what the source says. Zero while it can be read.
    #[must_use]
    pub fn stale(&self, now: SystemTime) -> Duration {
        let since = self.restored.or(self.failing_since);
        since.map(|since| now.duration_since(since).unwrap_or_default()).unwrap_or_default()
    }
}

/// A source from the outside.
#[derive(Debug, Clone)]
pub(super) struct Inlet {
    pub(super) said: Live<Said>,
    pub(super) progress: Arc<Mutex<Progress>>,
}

impl Outlet {
    pub(super) fn new(changed: Arc<Notify>) -> (Self, Inlet) {
        let (said, live) = Publisher::new(Said::default());
        let progress = Arc::new(Mutex::new(Progress::default()));
        let inlet = Inlet { said: live, progress: Arc::clone(&progress) };
        (Self { said, progress, changed }, inlet)
    }

    /// Says something else from now on.
    pub fn publish(&self, said: Said) {
        self.said.publish(said);
        self.changed.notify_one();
    }

    /// What was said last.
    #[must_use]
    pub fn said(&self) -> Arc<Said> {
        self.said.live().snapshot()
    }

    /// Tells how the source fares.
    pub fn progress(&self, tell: impl FnOnce(&mut Progress)) {
        tell(&mut self.progress.lock());
    }
}
