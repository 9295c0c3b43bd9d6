use std::sync::Arc;

use super::circuit::CircuitGuard;
use super::load::Track;

/// A connection to an endpoint that was admitted; it counts to the limits of the cluster and of the endpoint until this is
/// dropped.
#[derive(Debug)]
#[must_use = "the connection is counted as long as its guard lives"]
pub struct ConnectionGuard {
    track: Arc<Track>,
    _of_cluster: CircuitGuard,
}

impl ConnectionGuard {
    /// If the endpoint has fewer connections than `limit`.
    pub(super) fn try_new(track: &Arc<Track>, limit: Option<u32>, of_cluster: CircuitGuard) -> Option<Self> {
        track.try_connect(limit.unwrap_or(u32::MAX)).then(|| Self { track: Arc::clone(track), _of_cluster: of_cluster })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.track.disconnect();
    }
}
