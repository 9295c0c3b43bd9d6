//! Objects of one kind, in a map that two worlds share as far as they agree.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use mesh_core::name::NamespacedName;

use crate::finding::Origin;

/// An object, where it stands and what it holds.
pub struct Placed<T> {
    /// Where it stands.
    pub origin: Origin,
    /// Digest of what it holds. Two objects with one digest say the same, wherever they stand.
    pub digest: u128,
    /// When it was made, as time since 1970, by which the older of two counts.
    pub created: Duration,
    /// The object.
    pub object: Arc<T>,
}

/// Objects of one kind, in the order of their names. A copy costs nothing, and what differs between two is found at the
/// cost of what differs.
pub struct Objects<T>(OrdMap<NamespacedName, Kept<T>>);

/// An object in the map. Two are equal when they are one: what differs by content is looked for among what differs so.
struct Kept<T>(Arc<Placed<T>>);

impl<T> Objects<T> {
    /// An object and where it stands.
    #[must_use]
    pub fn get(&self, key: &NamespacedName) -> Option<(&Origin, &T)> {
        self.placed(key).map(Placed::parts)
    }

    /// An object with what is known of it.
    #[must_use]
    pub fn placed(&self, key: &NamespacedName) -> Option<&Placed<T>> {
        self.0.get(key).map(|kept| &*kept.0)
    }

    /// An object, its name as it stands here, and where it stands.
    #[must_use]
    pub fn get_key_value(&self, key: &NamespacedName) -> Option<(&NamespacedName, (&Origin, &T))> {
        self.0.get_key_value(key).map(|(key, kept)| (key, kept.0.parts()))
    }

    /// Whether there is one of the name.
    #[must_use]
    pub fn contains_key(&self, key: &NamespacedName) -> bool {
        self.0.contains_key(key)
    }

    /// All, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&NamespacedName, (&Origin, &T))> {
        self.0.iter().map(|(key, kept)| (key, kept.0.parts()))
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = (&Origin, &T)> {
        self.0.values().map(|kept| kept.0.parts())
    }

    /// Those of a namespace.
    pub fn in_namespace<'a, 'n>(
        &'a self,
        namespace: &'n str,
    ) -> impl Iterator<Item = (&'a NamespacedName, (&'a Origin, &'a T))> + use<'a, 'n, T> {
        let first = NamespacedName::new(namespace, "");
        let all = self.0.range((Bound::Included(first), Bound::Unbounded));
        all.take_while(move |(key, _)| key.namespace == *namespace).map(|(key, kept)| (key, kept.0.parts()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts an object in the place of that of its name, or takes it away.
    pub fn set(&mut self, key: NamespacedName, placed: Option<Arc<Placed<T>>>) {
        match placed {
            Some(placed) => self.0.insert(key, Kept(placed)),
            None => self.0.remove(&key),
        };
    }

    /// The names of those whose content differs between this and another, in order. What only moved does not differ.
    pub fn changed_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a NamespacedName> {
        earlier.0.diff(&self.0).filter_map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => Some(key),
            DiffItem::Update { old: (_, old), new: (key, new) } => (old.0 != new.0).then_some(key),
        })
    }

    /// The names of those that were put here or taken away since an earlier time, in order: whether their content differs or
    /// not. The cost is that of what was put or taken away.
    pub fn moved_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a NamespacedName> {
        earlier.0.diff(&self.0).map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
        })
    }
}

impl<T> Placed<T> {
    fn parts(&self) -> (&Origin, &T) {
        (&self.origin, &self.object)
    }
}

/// Of what makes a difference: content and age, not where it stands.
impl<T> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.digest, self.created) == (other.digest, other.created)
    }
}

impl<T> Eq for Placed<T> {}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<T> fmt::Debug for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<T> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.origin)
    }
}

impl<'a, T> IntoIterator for &'a Objects<T> {
    type Item = (&'a NamespacedName, (&'a Origin, &'a T));
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(line: u64, digest: u128, created: u64) -> Arc<Placed<()>> {
        let origin = Origin { line, ..Origin::file("a.yaml") };
        Arc::new(Placed { origin, digest, created: Duration::from_secs(created), object: Arc::new(()) })
    }

    #[test]
    fn what_only_moved_does_not_differ_and_what_was_made_anew_does() {
        let key = |name: &str| NamespacedName::new("a", name);
        let mut earlier = Objects::default();
        for name in ["same", "moved", "edited", "made-anew", "gone"] {
            earlier.set(key(name), Some(placed(1, 1, 1)));
        }
        let mut now = earlier.clone();
        now.set(key("moved"), Some(placed(7, 1, 1)));
        now.set(key("edited"), Some(placed(1, 2, 1)));
        now.set(key("made-anew"), Some(placed(1, 1, 2)));
        now.set(key("gone"), None);
        now.set(key("new"), Some(placed(1, 1, 1)));
        let changed: Vec<_> = now.changed_since(&earlier).map(|name| name.name.to_string()).collect();
        assert_eq!(changed, ["edited", "gone", "made-anew", "new"]);
        let moved: Vec<_> = now.moved_since(&earlier).map(|name| name.name.to_string()).collect();
        assert_eq!(moved, ["edited", "gone", "made-anew", "moved", "new"]);
        assert_eq!(now.get(&key("moved")).unwrap().0.line, 7);
    }
}
