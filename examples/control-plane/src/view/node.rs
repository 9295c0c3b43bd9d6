//! What a client says of itself. Nobody has checked it.

use mesh_core::name::{Locality, NamespacedName};
use mesh_xds::pb::Kind::StringValue;
use mesh_xds::pb::Node;

use crate::translate::engine::Role;

/// Namespace and name of the instance in `<kind>~<ip>~<name>.<namespace>~<domain>`.
fn instance(id: &str) -> Option<NamespacedName> {
    let (name, namespace) = id.split('~').nth(2)?.rsplit_once('.')?;
    (!name.is_empty() && !namespace.is_empty()).then(|| NamespacedName::new(namespace, name))
}

/// The pod that it says to be in.
pub(super) fn pod(id: &str) -> Option<NamespacedName> {
    id.starts_with("sidecar~").then(|| instance(id))?
}

/// Of which kind of Gateway it is an instance, and which instance.
pub(super) fn gateway(id: &str) -> Option<(Role, NamespacedName)> {
    let role = match id.split_once('~')?.0 {
        "waypoint" => Role::Waypoint,
        "router" => Role::Gateway,
        _ => return None,
    };
    Some((role, instance(id)?))
}

/// Where it is.
pub(super) fn locality(node: &Node) -> Locality {
    node.locality.as_ref().map(|at| Locality::new(&at.region, &at.zone, &at.sub_zone)).unwrap_or_default()
}

/// Whether it is a client without a proxy: it says so as Istio's agent does, or is gRPC's or our own.
pub(super) fn is_proxyless(node: &Node) -> bool {
    let generator = node.metadata.as_ref().and_then(|metadata| metadata.fields.get("GENERATOR"));
    let asks_so = matches!(generator.and_then(|value| value.kind.as_ref()), Some(StringValue(name)) if name == "grpc");
    let agent = node.user_agent_name.as_str();
    let is_client =
        asks_so || agent == "mesh" || agent.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("grpc"));
    is_client && gateway(&node.id).is_none()
}
