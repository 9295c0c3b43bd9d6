use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Values that belong to other things, as long as those live: told apart by where they are, not by what they say.
pub(super) struct Attached<K, V> {
    known: Mutex<HashMap<usize, Tie<K, V>>>,
}

struct Tie<K, V> {
    to: Weak<K>,
    value: Arc<V>,
}

impl<K, V> Attached<K, V> {
    pub(super) fn new() -> Self {
        Self { known: Mutex::default() }
    }

    /// The value of this; made when there is none.
    pub(super) fn of(&self, key: &Arc<K>, make: impl FnOnce() -> V) -> Arc<V> {
        let address = Arc::as_ptr(key) as usize;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as there is a weak reference to a thing, no other can be at its address.
        if let Some(tie) = known.get(&address) {
            return Arc::clone(&tie.value);
        }
        // Those that are gone go when there is no more room: each costs its share of one look through all.
        if known.len() == known.capacity() {
            known.retain(|_, tie| tie.to.strong_count() > 0);
        }
        let value = Arc::new(make());
        known.insert(address, Tie { to: Arc::downgrade(key), value: Arc::clone(&value) });
        value
    }
}
