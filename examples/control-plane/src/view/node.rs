//! What a client says of itself. Nobody has checked it.

use mesh_core::name::{Locality, NamespacedName};
use mesh_xds::pb::Kind::StringValue;
use mesh_xds::pb::Node;

/// Namespace and name of the instance in `<kind>~<ip>~<name>.<namespace>~<domain>`.
pub(super) fn instance(id: &str, kind: &str) -> Option<NamespacedName> {
    let mut parts = id.split('~');
    if parts.next() != Some(kind) {
        return None;
    }
    let (name, namespace) = parts.nth(1)?.rsplit_once('.')?;
    (!name.is_empty() && !namespace.is_empty()).then(|| NamespacedName::new(namespace, name))
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
    is_client && !node.id.starts_with("waypoint~")
}
