//! Which Gateways are served here, and who may be one.

use std::collections::BTreeSet;

use mesh_core::name::{NamespacedName, SpiffeId};

use crate::resource::{Gateway, WAYPOINT_CLASS};
use crate::translate::facts::Reader;
use crate::translate::waypoint;
use crate::world::Lookup;

/// The class of Gateways through which traffic enters the mesh, as Istio names it. It need not be declared.
pub const CLASS: &str = "istio";

/// The controller of further classes of such Gateways, as Istio names it.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

/// Classes of the same controller that are for something else.
const OTHERS: [&str; 3] = [WAYPOINT_CLASS, "istio-remote", "istio-east-west"];

/// Whether the Gateways of a class are served here as those through which traffic enters.
pub(crate) fn is_class(world: &impl Lookup, class: &str) -> bool {
    if OTHERS.contains(&class) {
        return false;
    }
    match world.class(class) {
        Some(found) => found.spec.controller_name == CONTROLLER,
        None => class == CLASS,
    }
}

/// Whether a Gateway is one through which traffic enters.
pub(in crate::translate) fn is_served(world: &impl Lookup, gateway: &NamespacedName) -> bool {
    find(world, gateway).is_some()
}

pub(super) fn find<'a>(world: &'a impl Lookup, gateway: &NamespacedName) -> Option<&'a Gateway> {
    world.gateway(gateway).filter(|gateway| is_class(world, &gateway.spec.gateway_class_name))
}

/// Who may be a Gateway: the accounts of its instances, or, as long as there is none, the one that is meant for them.
pub(in crate::translate) fn identities(reader: &Reader<'_>, key: &NamespacedName) -> BTreeSet<SpiffeId> {
    let Some(gateway) = find(reader, key) else { return BTreeSet::new() };
    let name = format!("{}-{}", key.name, gateway.spec.gateway_class_name);
    waypoint::identities_of(reader, key, gateway, &name)
}
