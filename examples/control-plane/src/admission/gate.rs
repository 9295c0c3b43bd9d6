//! The one way by which objects of all sources come to be judged.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::inventory::{Inventory, Key};
use super::judge::{Judge, Review};
use crate::finding::Finding;

/// Who has a say, and what the sources have in force beside each other.
///
/// Every question is put to the judge among all that there would be if the answer were yes: what the other sources have in
/// force, what the asking one has, and the objects in question in their place. Of one object in several sources that of the
/// source that joined first counts, as everywhere. Where the judge does not look at other objects, nothing is put together.
///
/// Two sources that change at one time are each judged beside what the other had before; [`Gate::revision`] then has both judge
/// again, and what breaks a policy is named.
pub struct Gate {
    judge: Arc<dyn Judge>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each source has in force, in order of precedence.
    sources: Vec<(Arc<str>, Inventory)>,
    /// All of it together.
    merged: Inventory,
    /// How often that changed.
    generation: u64,
}

/// Which answers the judge gives: another one whenever they may be others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// That of the judge itself.
    pub judge: u64,
    /// That of what is in force, as far as the judge looks at it.
    pub generation: u64,
}

impl Gate {
    /// A gate at which nothing is in force yet.
    #[must_use]
    pub fn new(judge: Arc<dyn Judge>) -> Self {
        Self { judge, state: Mutex::default() }
    }

    /// A source joins, behind those before it in precedence.
    pub fn join(&self, source: &Arc<str>) {
        let mut state = self.state.lock();
        if !state.sources.iter().any(|(name, _)| name == source) {
            state.sources.push((Arc::clone(source), Inventory::default()));
        }
    }

    /// What is to be said of objects of a source that take effect together, of each by itself. Without a source, they come
    /// before all others.
    pub fn judge(&self, source: Option<&str>, reviews: &[Review<'_>]) -> Vec<Vec<Finding>> {
        let inventory = match self.judge.sees_others() {
            true => self.state.lock().with(source, reviews),
            false => Inventory::default(),
        };
        self.judge.judge_all(reviews, &inventory)
    }

    /// Whether a verdict may depend on other objects.
    pub fn sees_others(&self) -> bool {
        self.judge.sees_others()
    }

    /// A source has this in force from now on.
    pub fn take(&self, source: &str, inventory: &Inventory) {
        let mut state = self.state.lock();
        let Some(rank) = state.rank(source) else { return };
        let Some((_, before)) = state.sources.get_mut(rank) else { return };
        let changed = inventory.changed_since(before);
        *before = inventory.clone();
        if changed.is_empty() {
            return;
        }
        state.generation += 1;
        for (key, _) in changed {
            let counts = state.sources.iter().find_map(|(_, inventory)| inventory.get(&key)).cloned();
            state.merged.set(key, counts);
        }
    }

    /// Which answers are given at present.
    pub fn revision(&self) -> Revision {
        let generation = if self.judge.sees_others() { self.state.lock().generation } else { 0 };
        Revision { judge: self.judge.revision(), generation }
    }
}

impl State {
    fn rank(&self, source: &str) -> Option<usize> {
        self.sources.iter().position(|(name, _)| **name == *source)
    }

    /// What there would be.
    fn with(&self, source: Option<&str>, reviews: &[Review<'_>]) -> Inventory {
        let mut merged = self.merged.clone();
        let rank = source.and_then(|source| self.rank(source));
        for review in reviews {
            let Some(key) = review.object.or(review.old).and_then(Key::of) else { continue };
            let held = |(_, inventory): &(Arc<str>, Inventory)| inventory.get(&key).cloned();
            let (before, behind) = match rank {
                Some(rank) => (self.sources.iter().take(rank).find_map(held), self.sources.iter().skip(rank + 1)),
                None => (None, self.sources.iter().skip(self.sources.len())),
            };
            if before.is_some() {
                continue;
            }
            let object = review.object.map(|object| match merged.get(&key) {
                Some(same) if **same == *object => Arc::clone(same),
                _ => Arc::new(object.clone()),
            });
            let counts = object.or_else(|| behind.clone().find_map(held));
            merged.set(key, counts);
        }
        merged
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::judge::Operation;
    use crate::finding::Origin;

    /// Says of each object which others there are.
    struct Tells;

    impl Judge for Tells {
        fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding> {
            let all: Vec<String> =
                inventory.iter().map(|(key, object)| format!("{}={}", key.name, object["note"])).collect();
            vec![review.origin.warning(all.join(" "))]
        }

        fn sees_others(&self) -> bool {
            true
        }
    }

    fn object(name: &str, note: u8) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "note": note})
    }

    #[test]
    fn a_question_is_put_among_what_there_would_be() {
        let gate = Gate::new(Arc::new(Tells));
        for source in ["first", "second"] {
            gate.join(&source.into());
        }
        let inventory = |objects: &[Value]| objects.iter().cloned().map(Arc::new).collect::<Inventory>();
        gate.take("first", &inventory(&[object("a", 1), object("b", 1)]));
        gate.take("second", &inventory(&[object("b", 2), object("c", 2)]));
        let before = gate.revision();
        let origin = Origin::default();
        let asked = |source, object: Option<&Value>, old: Option<&Value>| {
            let operation = if object.is_some() { Operation::Create } else { Operation::Delete };
            let review = Review { operation, object, old, user: None, origin: &origin };
            gate.judge(source, &[review]).concat()[0].message.clone()
        };
        let (b, c) = (object("b", 9), object("c", 9));
        assert_eq!(asked(Some("first"), Some(&b), None), "a=1 b=9 c=2");
        assert_eq!(asked(Some("second"), Some(&b), None), "a=1 b=1 c=2", "that of the first counts");
        assert_eq!(asked(Some("first"), None, Some(&b)), "a=1 b=2 c=2", "that of the second counts then");
        assert_eq!(asked(Some("second"), None, Some(&c)), "a=1 b=1");
        assert_eq!(asked(None, Some(&b), None), "a=1 b=9 c=2");
        assert_eq!(asked(None, None, Some(&b)), "a=1 c=2");
        assert_eq!(gate.revision(), before, "those were questions");
        gate.take("first", &inventory(&[object("a", 1)]));
        assert_ne!(gate.revision(), before);
        assert_eq!(asked(None, Some(&c), None), "a=1 b=2 c=9");
    }
}
