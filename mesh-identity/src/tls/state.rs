use std::sync::Arc;

use crate::svid::X509Svid;

/// Why there is no SVID, in the words of its source.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// An SVID of our own as it is now.
#[derive(Debug, Clone, Default)]
pub struct SvidState {
    /// The newest good SVID. It may have expired; whoever presents it looks at its end.
    pub svid: Option<Arc<X509Svid>>,
    /// Why the last attempt to renew it failed; `None` after a success.
    pub last_error: Option<Cause>,
    /// How many SVIDs have been fetched since start.
    pub rotations: u64,
}
