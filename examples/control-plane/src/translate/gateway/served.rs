//! Which Gateways are served here, and who may be one.

use std::collections::BTreeSet;

use mesh_core::name::{NamespacedName, SpiffeId};

use crate::attach::Role;
use crate::resource::Gateway;
use crate::translate::Place;
use crate::translate::facts::Reader;
use crate::translate::waypoint;
use crate::world::Lookup;

/// Whether a Gateway is one through which traffic enters.
pub(in crate::translate) fn is_served(world: &impl Lookup, place: &Place, gateway: &NamespacedName) -> bool {
    find(world, place, gateway).is_some()
}

pub(super) fn find<'a>(world: &'a impl Lookup, place: &Place, gateway: &NamespacedName) -> Option<&'a Gateway> {
    world.gateway(gateway).filter(|gateway| place.controller.role_of(world, gateway) == Some(Role::Gateway))
}

/// Who may be a Gateway: the accounts of its instances, or, as long as there is none, the one that is meant for them.
pub(in crate::translate) fn identities(reader: &Reader<'_>, key: &NamespacedName) -> BTreeSet<SpiffeId> {
    let Some(gateway) = find(reader, reader.place(), key) else { return BTreeSet::new() };
    let name = format!("{}-{}", key.name, gateway.spec.gateway_class_name);
    waypoint::identities_of(reader, key, gateway, &name)
}
