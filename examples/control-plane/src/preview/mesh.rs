use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::authz::{Policy, PolicyDelta, PolicySet, Scope};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::name::{Locality, NamespacedName, Network, Text, Uid};
use mesh_core::service::{GatewayAddress, GatewayDestination};
use mesh_core::workload::Workload;

use super::program::Program;
use crate::finding::Origin;
use crate::resource::{Kind, MtlsMode, ObjectId};
use crate::translate::Waypoints;
use crate::translate::{Place, STRICT_POLICY, binding};
use crate::world::World;

/// All that decides about traffic in one world: what node proxies hold, and what waypoints are programmed with.
pub struct Mesh {
    pub(super) world: World,
    pub(super) place: Place,
    pub(super) network: Network,
    pub(super) catalog: Catalog,
    pub(super) policies: PolicySet,
    pub(super) programs: Vec<Program>,
    /// The programs that instances run, by the instances' uids.
    instances: HashMap<Uid, usize>,
    /// Mesh-wide policies, and those of each namespace.
    wide: Vec<Arc<Policy>>,
    by_namespace: HashMap<Text, Vec<Arc<Policy>>>,
}

impl Mesh {
    /// Translates a world as it is translated for those who are served.
    #[must_use]
    pub fn new(world: &World, place: &Place) -> Self {
        let waypoints = Waypoints::new(world, place);
        let translation = waypoints.translation();
        let mut delta = Delta::new();
        for workload in &translation.workloads {
            delta.upsert_workload(workload.clone());
        }
        for service in &translation.services {
            delta.upsert_service(service.clone());
        }
        let catalog = Catalog::default().apply(delta);
        let mut delta = PolicyDelta::new();
        for policy in &translation.policies {
            delta.upsert(policy.clone());
        }
        let mut mesh = Self {
            world: world.clone(),
            place: place.clone(),
            network: Network::from(place.network.as_str()),
            catalog,
            policies: PolicySet::default().apply(delta),
            programs: Vec::new(),
            instances: HashMap::new(),
            wide: Vec::new(),
            by_namespace: HashMap::new(),
        };
        for policy in mesh.policies.iter() {
            match policy.scope {
                Scope::Global => mesh.wide.push(Arc::clone(policy)),
                Scope::Namespace => {
                    let of_namespace = mesh.by_namespace.entry(policy.name.namespace.clone()).or_default();
                    of_namespace.push(Arc::clone(policy));
                }
                _ => {}
            }
        }
        for (at, key) in waypoints.keys().enumerate() {
            let instances = mesh.instances_of(key);
            mesh.instances.extend(instances.iter().map(|workload| (workload.uid.clone(), at)));
            let identities = waypoints.identities(key).into_iter().collect();
            let resources = waypoints.resources(key, &Locality::default());
            let program = Program::new(&mesh, key.clone(), identities, instances, resources);
            mesh.programs.push(program);
        }
        mesh
    }

    /// The program that an instance of a waypoint runs.
    pub(super) fn program(&self, instance: &Workload) -> Option<&Program> {
        self.programs.get(*self.instances.get(&instance.uid)?)
    }

    /// Whether a workload is an instance of a waypoint. It ends tunnels itself, and no node proxy stands before it.
    pub(super) fn is_waypoint(&self, workload: &Workload) -> bool {
        self.instances.contains_key(&workload.uid)
    }

    /// The policies that apply to a workload at its node proxy, in the order of their names.
    pub(super) fn applicable(&self, workload: &Workload) -> Vec<&Arc<Policy>> {
        let of_namespace = self.by_namespace.get(&workload.namespace).into_iter().flatten();
        let named = workload.policies.iter().filter_map(|name| self.policies.get(name));
        let mut all: Vec<_> = self.wide.iter().chain(of_namespace).chain(named).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| a.name == b.name);
        all
    }

    /// Where the object stands that a node proxy's policy was made of.
    pub(super) fn policy_origin(&self, policy: &NamespacedName) -> Option<String> {
        let known = |kind, name: NamespacedName| self.origin(kind, name);
        if let Some(name) = policy.name.as_str().strip_prefix("converted_peer_authentication_") {
            return known(Kind::PeerAuthentication, NamespacedName::new(policy.namespace.clone(), name));
        }
        known(Kind::AuthorizationPolicy, policy.clone())
    }

    /// Where the PeerAuthentications stand that demand mutual TLS of a workload's namespace, the narrowest first.
    pub(super) fn strict_origins(&self, namespace: &str) -> Vec<String> {
        let strict = self.world.peers.iter().filter(|(_, (_, peer))| peer.spec.mtls.mode == MtlsMode::Strict);
        let here = strict.filter(|(key, _)| key.namespace == *namespace || key.namespace == *self.place.root_namespace);
        let mut found: Vec<_> =
            here.map(|(key, (origin, _))| (key.namespace != *namespace, place_of(origin))).collect();
        found.sort();
        found.into_iter().map(|(_, origin)| origin).collect()
    }

    /// Where an object stands, as `file:line`.
    pub(super) fn origin(&self, kind: Kind, name: NamespacedName) -> Option<String> {
        self.world.origin(&ObjectId { kind, name }).map(|(origin, _)| place_of(origin))
    }

    /// Whether a policy is the one that refuses whoever has no identity.
    pub(super) fn is_strict(&self, policy: &NamespacedName) -> bool {
        policy.name == STRICT_POLICY
    }

    /// A Gateway by the address that services and workloads refer to it by.
    pub(super) fn gateway_name(&self, address: &GatewayAddress) -> String {
        let mut gateways = self.world.gateways.iter().map(|(key, _)| key);
        let known = gateways.find(|key| binding::address(&self.world, &self.place, key) == *address);
        known.map_or_else(|| format!("{address} (no such Gateway)"), ToString::to_string)
    }

    /// All workloads behind the address of a Gateway, whatever their health.
    fn instances_of(&self, gateway: &NamespacedName) -> Vec<Arc<Workload>> {
        match binding::address(&self.world, &self.place, gateway).destination {
            GatewayDestination::Hostname(key) => self.catalog.endpoints(&key).map(Arc::clone).collect(),
            GatewayDestination::Address(network, ip) => {
                let services = self.catalog.services_at(&network, ip);
                let of_services = services.flat_map(|service| self.catalog.endpoints(&service.key));
                self.catalog.workload_at(&network, ip).into_iter().chain(of_services).map(Arc::clone).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("catalog", &self.catalog).field("policies", &self.policies).finish_non_exhaustive()
    }
}

fn place_of(origin: &Origin) -> String {
    let source = if origin.source.is_empty() { String::new() } else { format!("{}:", origin.source) };
    format!("{source}{}:{}", origin.file.display(), origin.line)
}
