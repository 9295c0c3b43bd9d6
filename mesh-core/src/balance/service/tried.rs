use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

/// Where the attempts of one request have gone. It stands in the extensions of the request and is shared by all attempts;
/// whoever picks an endpoint for the next one passes over those that are in it, as long as chance finds others.
#[derive(Debug, Clone, Default)]
pub struct Tried(Arc<Mutex<SmallVec<[SocketAddr; 2]>>>);

impl Tried {
    /// An attempt goes there.
    pub fn add(&self, endpoint: SocketAddr) {
        self.endpoints().push(endpoint);
    }

    /// Whether an attempt has gone there.
    #[must_use]
    pub fn contains(&self, endpoint: SocketAddr) -> bool {
        self.endpoints().contains(&endpoint)
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.endpoints().len()).unwrap_or(u32::MAX)
    }

    fn endpoints(&self) -> MutexGuard<'_, SmallVec<[SocketAddr; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
