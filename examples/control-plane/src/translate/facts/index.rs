use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::{NamespacedName, Text};

use crate::incremental::MultiMap;
use crate::resource::{EndpointSlice, Kind, ObjectId, ParentRef, PolicyTarget, WAYPOINT_CLASS};
use crate::translate::binding::GATEWAY_NAME;
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
    /// The pods and WorkloadEntries of which a Gateway consists.
    Instances(NamespacedName),
    /// The routes that name an object as parent.
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
        if looks_alike(before, now, id) {
            return gone.symmetric_difference(&come).cloned().collect();
        }
        gone.into_iter().chain(come).collect()
    }

    pub(super) fn get(&self, by: &By) -> impl Iterator<Item = &ObjectId> {
        self.0.get(by)
    }
}

/// Whether those who find an object by an index see no difference. A slice differs for its pods by its service and ports
/// only: one endpoint that changes is nothing to the others.
fn looks_alike(before: &World, now: &World, id: &ObjectId) -> bool {
    if id.kind != Kind::EndpointSlice {
        return false;
    }
    let shown = |slice: &EndpointSlice| {
        let ports: Vec<_> = slice.ports.iter().map(|port| (port.name.clone(), port.port)).collect();
        (slice.metadata.labels.get("kubernetes.io/service-name").cloned(), ports)
    };
    let of = |world: &World| world.slices.get(&id.name).map(|(_, slice)| shown(slice));
    of(before).is_some_and(|before| of(now) == Some(before))
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
            }
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
            let parents = world.http_routes.get(name).map(|(_, route)| &route.spec.parent_refs);
            keys.extend(parents.into_iter().flatten().filter_map(|to| Some(By::Parent(parent(own.as_str(), to)?))));
        }
        Kind::GrpcRoute => {
            let parents = world.grpc_routes.get(name).map(|(_, route)| &route.spec.parent_refs);
            keys.extend(parents.into_iter().flatten().filter_map(|to| Some(By::Parent(parent(own.as_str(), to)?))));
        }
        Kind::TlsRoute => {
            let parents = world.tls_routes.get(name).map(|(_, route)| &route.spec.parent_refs);
            keys.extend(parents.into_iter().flatten().filter_map(|to| Some(By::Parent(parent(own.as_str(), to)?))));
        }
        Kind::TcpRoute => {
            let parents = world.tcp_routes.get(name).map(|(_, route)| &route.spec.parent_refs);
            keys.extend(parents.into_iter().flatten().filter_map(|to| Some(By::Parent(parent(own.as_str(), to)?))));
        }
        Kind::ListenerSet => {
            let set = world.listener_sets.get(name).map(|(_, set)| &set.spec.parent_ref);
            let gateway = set.and_then(|to| parent(own.as_str(), to)).filter(|to| to.kind == Kind::Gateway);
            keys.extend(gateway.map(|gateway| By::ListenerSets(gateway.name)));
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

/// The object that a parent reference of a namespace means, if it is one that routes may attach to.
pub(crate) fn parent(namespace: &str, parent: &ParentRef) -> Option<ObjectId> {
    let kind = match (parent.group.as_deref(), parent.kind.as_deref()) {
        (Some("" | "core"), Some("Service")) => Kind::Service,
        (Some("networking.istio.io"), Some("ServiceEntry")) => Kind::ServiceEntry,
        (None | Some("gateway.networking.k8s.io"), None | Some("Gateway")) => Kind::Gateway,
        (None | Some("gateway.networking.k8s.io"), Some("ListenerSet"))
        | (Some("gateway.networking.x-k8s.io"), Some("XListenerSet")) => Kind::ListenerSet,
        _ => return None,
    };
    let namespace = parent.namespace.as_deref().unwrap_or(namespace);
    Some(ObjectId { kind, name: NamespacedName::new(namespace, parent.name.as_str()) })
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
