//! All objects of a world, whatever their kind.

use crate::finding::Origin;
use crate::resource::{Kind, Metadata, ObjectId, for_each_kind};
use crate::world::World;

/// An object of a world.
#[derive(Debug, Clone)]
pub struct Item<'w> {
    /// Which object it is.
    pub id: ObjectId,
    /// Where it stands.
    pub origin: &'w Origin,
    /// Digest of what it holds.
    pub digest: u128,
    /// Its name, labels and annotations.
    pub metadata: &'w Metadata,
}

macro_rules! items {
    ($($variant:ident($type:ty), $field:ident, $group:literal, $kind:literal, $namespaced:literal;)*) => {
        /// All objects of a world, kind by kind in the order of their names.
        pub fn items(world: &World) -> impl Iterator<Item = Item<'_>> {
            let none = std::iter::empty();
            $(let none = none.chain(world.$field.iter().map(|(name, (origin, object))| Item {
                id: ObjectId { kind: Kind::$variant, name: name.clone() },
                origin,
                digest: world.$field.placed(name).map_or(0, |placed| placed.digest),
                metadata: &object.metadata,
            }));)*
            none
        }
    };
}
for_each_kind!(items);
