//! What each waypoint is served: its own resources, and nobody else's.

use mesh_core::name::{NamespacedName, ServiceAccount, SpiffeId};
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Change, Entry};

use super::node::instance;
use crate::translate::binding::GATEWAY_NAME;
use crate::translate::engine::{Engine, ViewChange};
use crate::translate::waypoint::{Flavour, MAIN};

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
    if let Some(listener) = &change.listener {
        let listener = listener.as_ref().map(|listener| put(listener.name.as_str(), flavour.listener(listener)));
        resources.push((LISTENER_TYPE, listener.unwrap_or_else(|| remove(MAIN))));
    }
    resources
}

/// The waypoint that a client says to be an instance of.
pub(super) fn claimed(
    engine: &Engine,
    account: &ServiceAccount,
    client: &SpiffeId,
    node: &Node,
) -> Result<NamespacedName, String> {
    let instance =
        instance(&node.id, "waypoint").ok_or_else(|| format!("`{}` is no node id of a waypoint", node.id))?;
    let world = engine.world();
    let pod = world.pods.get(&instance).map(|(_, pod)| &pod.metadata.labels);
    let entry = world.entries.get(&instance).map(|(_, entry)| &entry.metadata.labels);
    let known = pod.or(entry).and_then(|labels| labels.get(GATEWAY_NAME).cloned());
    if let Some(name) = known.or_else(|| label(node)) {
        return Ok(NamespacedName::new(instance.namespace, name));
    }
    let of_namespace = world.gateways.in_namespace(account.namespace().as_str()).map(|(key, _)| key);
    let mut by_account = of_namespace.filter(|key| engine.identities(key).contains(client));
    match (by_account.next(), by_account.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => Err(format!("{client} is an instance of no waypoint")),
        (Some(_), Some(_)) => {
            Err(format!("{client} may be an instance of several waypoints; its label must say of which"))
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
