use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Several values by one key, in their order.
#[derive(Debug)]
pub(crate) struct MultiMap<K, V>(HashMap<K, BTreeSet<V>>);

impl<K: Eq + Hash, V: Ord> MultiMap<K, V> {
    /// Adds a value to a key. Whether it was not there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        self.0.entry(key).or_default().insert(value)
    }

    /// Takes a value from a key. Whether it was there.
    pub(crate) fn remove(&mut self, key: &K, value: &V) -> bool {
        let Some(values) = self.0.get_mut(key) else { return false };
        let removed = values.remove(value);
        if values.is_empty() {
            self.0.remove(key);
        }
        removed
    }

    /// The values of a key.
    pub(crate) fn get<Q>(&self, key: &Q) -> impl DoubleEndedIterator<Item = &V> + Clone
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key).map(BTreeSet::iter).unwrap_or_default()
    }
}

impl<K, V> Default for MultiMap<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
