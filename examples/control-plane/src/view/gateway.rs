//! What each waypoint and each other Gateway is served: its own resources, and nobody else's.

use mesh_core::name::{NamespacedName, ServiceAccount, SpiffeId};
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::tls::encode_secret;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Change, Entry};

use crate::translate::binding::GATEWAY_NAME;
use crate::translate::engine::{Engine, Role, ViewChange};
use crate::translate::waypoint::Flavour;

/// What changed, as it is served.
pub(super) fn resources(flavour: Flavour, change: &ViewChange) -> Vec<(&'static str, Change)> {
    let put = |name: &str, bytes: Vec<u8>| Change::Put(name.to_owned(), Entry::new(bytes, Vec::new()));
    let remove = |name: &str| Change::Remove(name.to_owned());
    let mut resources = Vec::new();
    for (name, made) in &change.clusters {
        let name = name.as_str();
        let cluster = made.as_ref().map(|made| put(name, flavour.cluster(&made.cluster)));
        resources.push((CLUSTER_TYPE, cluster.unwrap_or_else(|| remove(name))));
        let assignment = made.as_ref().and_then(|made| made.assignment.as_ref());
        let assignment = assignment.map(|assignment| put(name, encode_assignment(assignment)));
        resources.push((ENDPOINT_TYPE, assignment.unwrap_or_else(|| remove(name))));
    }
    let change_of = |name: &str, bytes: Option<Vec<u8>>| bytes.map_or_else(|| remove(name), |bytes| put(name, bytes));
    for (name, listener) in &change.listeners {
        let bytes = listener.as_ref().map(|listener| flavour.listener(listener));
        resources.push((LISTENER_TYPE, change_of(name.as_str(), bytes)));
    }
    for (name, table) in &change.routes {
        let bytes = table.as_ref().map(|table| encode_route_table(table));
        resources.push((ROUTE_TYPE, change_of(name.as_str(), bytes)));
    }
    for (name, secret) in &change.secrets {
        resources.push((SECRET_TYPE, change_of(name.as_str(), secret.as_ref().map(encode_secret))));
    }
    resources
}

impl Role {
    /// Whether a Gateway is one of the kind.
    pub(super) fn fits(self, engine: &Engine, key: &NamespacedName) -> bool {
        engine.is_gateway(key) == (self == Self::Gateway)
    }

    /// The types of the resources that there are for it.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Waypoint => &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE],
            Self::Gateway => &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE],
        }
    }
}

/// The Gateway that a client says to be an instance of.
pub(super) fn claimed(
    engine: &Engine,
    account: &ServiceAccount,
    client: &SpiffeId,
    (role, instance): (Role, NamespacedName),
    node: &Node,
) -> Result<NamespacedName, String> {
    let world = engine.world();
    let pod = world.pods.get(&instance).map(|(_, pod)| &pod.metadata.labels);
    let entry = world.entries.get(&instance).map(|(_, entry)| &entry.metadata.labels);
    let known = pod.or(entry).and_then(|labels| labels.get(GATEWAY_NAME).cloned());
    if let Some(name) = known.or_else(|| label(node)) {
        return Ok(NamespacedName::new(instance.namespace, name));
    }
    let of_namespace = world.gateways.in_namespace(account.namespace().as_str()).map(|(key, _)| key);
    let mut by_account = of_namespace.filter(|key| role.fits(engine, key) && engine.identities(key).contains(client));
    match (by_account.next(), by_account.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => Err(format!("{client} is an instance of no {role}")),
        (Some(_), Some(_)) => {
            Err(format!("{client} may be an instance of several {role}s; its label must say of which"))
        }
    }
}

/// The label by which the node says of which Gateway it is an instance.
fn label(node: &Node) -> Option<String> {
    use mesh_xds::pb::Kind::{StringValue, StructValue};
    let StructValue(labels) = node.metadata.as_ref()?.fields.get("LABELS")?.kind.as_ref()? else { return None };
    match labels.fields.get(GATEWAY_NAME)?.kind.as_ref()? {
        StringValue(name) if !name.is_empty() => Some(name.clone()),
        _ => None,
    }
}

/// Envoy says who it is.
pub(super) fn flavour(node: &Node) -> Flavour {
    if node.user_agent_name == "envoy" { Flavour::Envoy } else { Flavour::Mesh }
}
