use std::collections::BTreeMap;

use crate::resource::{Kind, Metadata, ObjectId};
use crate::world::World;

/// How often objects changed that have no `metadata.generation`, as those in files. Kept in memory: a process that begins anew
/// counts from 1.
#[derive(Debug, Clone, Default)]
pub struct Generations {
    world: World,
    /// Of those that changed. All others are at 1.
    counted: BTreeMap<ObjectId, i64>,
}

impl Generations {
    /// Takes note of another world. The cost is that of what differs.
    pub fn take(&mut self, world: &World) {
        for id in world.changed_since(&self.world) {
            match (self.world.get(&id), world.get(&id)) {
                (Some((_, _, before)), Some((_, _, now))) if !before.is_specified_like(&now) => {
                    *self.counted.entry(id).or_insert(1) += 1;
                }
                (Some(_), Some(_)) => {}
                // One that is made anew is another one.
                _ => {
                    self.counted.remove(&id);
                }
            }
        }
        self.world = world.clone();
    }

    /// The generation of an object; none of kinds that have none.
    pub(super) fn of(&self, kind: Kind, metadata: &Metadata, id: &ObjectId) -> Option<i64> {
        match (kind, metadata.generation) {
            (Kind::Service, _) => None,
            (_, 0) => Some(self.counted.get(id).copied().unwrap_or(1)),
            (_, said) => Some(said),
        }
    }
}
