use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::{NamespacedName, Text};

use crate::attach::parent;
use crate::incremental::MultiMap;
use crate::resource::{EndpointSlice, Kind, ObjectId, ParentRef, PolicyTarget, WAYPOINT_CLASS};
use crate::translate::binding::GATEWAY_NAME;
use crate::translate::slice::{SERVICE_NAME, outside_pods};
use crate::world::World;

/// By what objects are found, other than by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::translate) enum By {
    /// What selects workloads of a namespace, or of all where that is empty, by labels of which this is one: `key=value`.
    Label(Text, Text),
    /// The PeerAuthentications for all workloads of a namespace, or of all where that is empty.
    Peers(Text),
    /// The slices with a pod among their endpoints.
    Slices(NamespacedName),
    /// The slices of a service with endpoints that are no pods.
    Endpoints(NamespacedName),
    /// The nodes of a zone.
    Zone(Text),
    /// The pods and WorkloadEntries of which a Gateway consists.
    Instances(NamespacedName),
    /// The routes and ListenerSets that name an object as parent.
    Parent(ObjectId),
    /// The policies that name an object as target.
    Target(ObjectId),
    /// The ListenerSets that name a Gateway as parent.
    ListenerSets(NamespacedName),
}

impl By {
    /// By a label in a namespace.
    pub(super) fn label(namespace: &Text, key: &str, value: &str) -> Self {
        Self::Label(namespace.clone(), format!("{key}={value}").into())
    }
}

/// Objects by what is said in them.
#[derive(Debug, Default)]
pub(in crate::translate) struct Index(MultiMap<By, ObjectId>);

impl Index {
    /// Takes note of a change of an object between two worlds. Gives what it is found by, before or now, unless those who find
    /// it so see no difference.
    pub(in crate::translate) fn update(
        &mut self,
        (before, now): (&World, &World),
        id: &ObjectId,
        root: &str,
    ) -> BTreeSet<By> {
        let (gone, come) = (keys(before, id, root), keys(now, id, root));
        for key in gone.difference(&come) {
            self.0.remove(key, id);
        }
        for key in come.difference(&gone) {
            self.0.insert(key.clone(), id.clone());
        }
        let is_seen = |by: &By| gone.contains(by) != come.contains(by) || !looks_alike(before, now, id, by);
        gone.union(&come).filter(|by| is_seen(by)).cloned().collect()
    }

    pub(super) fn get(&self, by: &By) -> impl Iterator<Item = &ObjectId> {
        self.0.get(by)
    }
}

/// Whether those who find an object by an index see no difference. A slice differs for its pods by its service and ports
/// only: one endpoint that changes is nothing to the others. A node differs for its zone by where it stands.
fn looks_alike(before: &World, now: &World, id: &ObjectId, by: &By) -> bool {
    let slices = || Some((before.slices.get(&id.name)?.1, now.slices.get(&id.name)?.1));
    let nodes = || Some((before.nodes.get(&id.name)?.1, now.nodes.get(&id.name)?.1));
    let is_one = |(before, now): (&EndpointSlice, &EndpointSlice)| {
        let name = |slice: &EndpointSlice| slice.metadata.labels.get(SERVICE_NAME).cloned();
        name(before) == name(now) && before.ports == now.ports
    };
    match by {
        By::Slices(_) => slices().is_some_and(is_one),
        By::Endpoints(_) => {
            slices().is_some_and(|(before, now)| is_one((before, now)) && outside_pods(before).eq(outside_pods(now)))
        }
        By::Zone(_) => nodes().is_some_and(|(before, now)| before.locality() == now.locality()),
        _ => false,
    }
}

/// By what an object is found in a world.
fn keys(world: &World, id: &ObjectId, root: &str) -> BTreeSet<By> {
    let mut keys = BTreeSet::new();
    let own = &id.name.namespace;
    let name = &id.name;
    match id.kind {
        Kind::Service => {
            let service = world.services.get(name).map(|(_, service)| service);
            keys.extend(service.and_then(|service| by_selector(own, &service.spec.selector)));
        }
        Kind::ServiceEntry => {
            let entry = world.service_entries.get(name).map(|(_, entry)| entry);
            let selector = entry.and_then(|entry| entry.spec.workload_selector.as_ref());
            keys.extend(selector.and_then(|selector| by_selector(own, &selector.labels)));
        }
        Kind::AuthorizationPolicy => {
            if let Some((_, policy)) = world.policies.get(name) {
                let selector = policy.spec.selector.as_ref();
                keys.extend(selector.and_then(|selector| by_selector(&scope(own, root), &selector.match_labels)));
                let targets = policy.spec.target_ref.iter().chain(&policy.spec.target_refs);
                keys.extend(targets.filter_map(|to| target(own.as_str(), to, root)));
            }
        }
        Kind::RequestAuthentication => {
            if let Some((_, tokens)) = world.tokens.get(name) {
                let targets = tokens.spec.target_ref.iter().chain(&tokens.spec.target_refs);
                keys.extend(targets.filter_map(|to| target(own.as_str(), to, root)));
            }
        }
        Kind::PeerAuthentication => {
            if let Some((_, peer)) = world.peers.get(name) {
                let scope = scope(own, root);
                let selector = peer.spec.selector.as_ref();
                let selected = selector.and_then(|selector| by_selector(&scope, &selector.match_labels));
                keys.insert(selected.unwrap_or(By::Peers(scope)));
            }
        }
        Kind::EndpointSlice => {
            if let Some((_, slice)) = world.slices.get(name) {
                let refers = slice.endpoints.iter().filter_map(|endpoint| endpoint.target_ref.as_ref());
                let pods = refers.filter(|target| target.kind == "Pod");
                keys.extend(pods.map(|pod| By::Slices(NamespacedName::new(own.clone(), pod.name.as_str()))));
                let service = slice.metadata.labels.get(SERVICE_NAME).filter(|_| outside_pods(slice).next().is_some());
                keys.extend(service.map(|name| By::Endpoints(NamespacedName::new(own.clone(), name.as_str()))));
            }
        }
        Kind::Node => {
            let zone = world.nodes.get(name).map(|(_, node)| node.locality()[1]).filter(|zone| !zone.is_empty());
            keys.extend(zone.map(|zone| By::Zone(zone.into())));
        }
        Kind::Pod => {
            let labels = world.pods.get(name).map(|(_, pod)| &pod.metadata.labels);
            keys.extend(labels.and_then(|labels| by_gateway(own, labels)));
        }
        Kind::WorkloadEntry => {
            if let Some((_, entry)) = world.entries.get(name) {
                let labels = [&entry.metadata.labels, &entry.spec.labels];
                keys.extend(labels.into_iter().filter_map(|labels| by_gateway(own, labels)));
            }
        }
        Kind::HttpRoute => {
            let parents = world.http_routes.get(name).map(|(_, route)| route.spec.parent_refs.as_slice());
            keys.extend(by_parents(own, parents.unwrap_or_default()));
        }
        Kind::GrpcRoute => {
            let parents = world.grpc_routes.get(name).map(|(_, route)| route.spec.parent_refs.as_slice());
            keys.extend(by_parents(own, parents.unwrap_or_default()));
        }
        Kind::TlsRoute => {
            let parents = world.tls_routes.get(name).map(|(_, route)| route.spec.parent_refs.as_slice());
            keys.extend(by_parents(own, parents.unwrap_or_default()));
        }
        Kind::TcpRoute => {
            let parents = world.tcp_routes.get(name).map(|(_, route)| route.spec.parent_refs.as_slice());
            keys.extend(by_parents(own, parents.unwrap_or_default()));
        }
        Kind::ListenerSet => {
            let parent = world.listener_sets.get(name).map(|(_, set)| std::slice::from_ref(&set.spec.parent_ref));
            let parents: Vec<By> = by_parents(own, parent.unwrap_or_default()).collect();
            let gateways = parents.iter().filter_map(|by| match by {
                By::Parent(to) if to.kind == Kind::Gateway => Some(By::ListenerSets(to.name.clone())),
                _ => None,
            });
            keys.extend(gateways.collect::<Vec<By>>());
            keys.extend(parents);
        }
        Kind::BackendTlsPolicy => {
            if let Some((_, policy)) = world.backend_tls.get(name) {
                let services = policy
                    .spec
                    .target_refs
                    .iter()
                    .filter(|to| (to.group.as_str(), to.kind.as_str()) == ("", "Service"));
                let id = |name: &str| ObjectId { kind: Kind::Service, name: NamespacedName::new(own.clone(), name) };
                keys.extend(services.map(|to| By::Target(id(&to.name))));
            }
        }
        _ => {}
    }
    keys
}

/// Policies of the root namespace are for all.
fn scope(namespace: &Text, root: &str) -> Text {
    if *namespace == *root { Text::default() } else { namespace.clone() }
}

/// By one label of a selector: what it selects has them all, so this one too. The longest value is likely to be the rarest.
fn by_selector(namespace: &Text, selector: &BTreeMap<String, String>) -> Option<By> {
    let (key, value) = selector.iter().max_by_key(|(_, value)| value.len())?;
    Some(By::label(namespace, key, value))
}

fn by_gateway(namespace: &Text, labels: &BTreeMap<String, String>) -> Option<By> {
    let name = labels.get(GATEWAY_NAME)?;
    Some(By::Instances(NamespacedName::new(namespace.clone(), name.as_str())))
}

fn by_parents(namespace: &Text, parents: &[ParentRef]) -> impl Iterator<Item = By> {
    parents.iter().filter_map(|to| parent(namespace.as_str(), to)).map(By::Parent)
}

fn target(namespace: &str, target: &PolicyTarget, root: &str) -> Option<By> {
    let (kind, namespace) = match (target.group.as_str(), target.kind.as_str()) {
        ("" | "core", "Service") => (Kind::Service, namespace),
        ("networking.istio.io", "ServiceEntry") => (Kind::ServiceEntry, namespace),
        ("gateway.networking.k8s.io", "Gateway") => (Kind::Gateway, namespace),
        ("gateway.networking.k8s.io", "GatewayClass") if target.name == WAYPOINT_CLASS && namespace == root => {
            (Kind::GatewayClass, "")
        }
        _ => return None,
    };
    Some(By::Target(ObjectId { kind, name: NamespacedName::new(namespace, target.name.as_str()) }))
}
