use parking_lot::Mutex;
use tokio::sync::Notify;

use super::store::{Changed, Store};

/// The store, and those who wait for it to change.
pub(super) struct Shared {
    store: Mutex<Store>,
    /// One waits for the world, one for statuses.
    pub(super) world: Notify,
    pub(super) status: Notify,
}

impl Shared {
    pub(super) fn new(store: Store) -> Self {
        Self { store: Mutex::new(store), world: Notify::new(), status: Notify::new() }
    }

    /// Looks at the store.
    pub(super) fn look<T>(&self, see: impl FnOnce(&Store) -> T) -> T {
        see(&self.store.lock())
    }

    /// Changes the store, and tells those who wait for what that changed.
    pub(super) fn change(&self, act: impl FnOnce(&mut Store) -> Changed) {
        let changed = act(&mut self.store.lock());
        if changed.world {
            self.world.notify_one();
        }
        if changed.status {
            self.status.notify_one();
        }
    }

    /// Changes the store in a way that those who wait know of themselves.
    pub(super) fn change_quietly(&self, act: impl FnOnce(&mut Store)) {
        act(&mut self.store.lock());
    }
}
