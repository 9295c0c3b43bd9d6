//! Objects as they were written, by name: what policies see beside the object that is judged.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde_json::Value;

use super::judge::Subject;

/// Which object it is, whatever its kind. Versions of one kind are the same kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace, also where it leaves the default out; empty for what is in none.
    pub namespace: String,
    /// Its API group; empty for Kubernetes' own kinds.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// That of an object; none where it says no kind or no name.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let subject = Subject::of(object);
        let Subject { group, kind, name, .. } = subject;
        (!kind.is_empty() && !name.is_empty()).then(|| Self {
            namespace: subject.scope().to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// An object as it was written. Cheap to clone; two are equal if they hold the same.
#[derive(Debug, Clone)]
struct Manifest(Arc<Value>);

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// Objects as they were written. A copy costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Inventory(OrdMap<Key, Manifest>);

impl Inventory {
    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.0.get(key).map(|manifest| &manifest.0)
    }

    /// Puts an object in the place of that of its name, or takes it away.
    pub fn set(&mut self, key: Key, object: Option<Arc<Value>>) {
        match object {
            Some(object) => self.0.insert(key, Manifest(object)),
            None => self.0.remove(&key),
        };
    }

    /// All objects, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.0.iter().map(|(key, manifest)| (key, &manifest.0))
    }

    /// What is there otherwise than in an earlier one: the object as it is now, or none where it is gone.
    #[must_use]
    pub fn changed_since(&self, earlier: &Self) -> Vec<(Key, Option<Arc<Value>>)> {
        let changed = |item: DiffItem<'_, '_, Key, Manifest>| match item {
            DiffItem::Add(key, manifest) | DiffItem::Update { new: (key, manifest), .. } => {
                (key.clone(), Some(Arc::clone(&manifest.0)))
            }
            DiffItem::Remove(key, _) => (key.clone(), None),
        };
        earlier.0.diff(&self.0).map(changed).collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of several with one name the first counts; what has no name is left out.
impl FromIterator<Arc<Value>> for Inventory {
    fn from_iter<T: IntoIterator<Item = Arc<Value>>>(objects: T) -> Self {
        let mut inventory = Self::default();
        for object in objects {
            if let Some(key) = Key::of(&object).filter(|key| inventory.get(key).is_none()) {
                inventory.set(key, Some(object));
            }
        }
        inventory
    }
}
