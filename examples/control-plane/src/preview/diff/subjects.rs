//! What is addressed, in two worlds at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use mesh_core::authz::{Match, Policy};
use mesh_core::name::{NamespacedHostname, NamespacedName, Text, Uid};
use mesh_core::service::GatewayAddress;
use mesh_core::workload::{TunnelProtocol, Workload};

use super::super::mesh::Mesh;
use super::super::walk::Addressee;

/// A service, or workloads that nobody can tell apart in either world.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: Name,
    /// The ports that can be told apart.
    pub(super) ports: Vec<u16>,
    /// The one among them that stands for all ports that nobody names.
    pub(super) other: Option<u16>,
}

/// What is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    Service(NamespacedHostname),
    Workloads(Vec<Uid>),
}

/// By what workloads are told apart that are addressed by their own addresses.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    sides: [Side; 2],
    ports: BTreeSet<u16>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Side {
    namespace: Text,
    captured: bool,
    /// Policies that apply, and those that it names.
    policies: (Vec<NamespacedName>, Vec<NamespacedName>),
    waypoint: Option<String>,
    ranges: Vec<bool>,
}

impl Subject {
    /// What a client addresses.
    pub(super) fn addressee(&self, port: u16) -> Option<Addressee> {
        match &self.name {
            Name::Service(key) => Some(Addressee::Service(key.clone(), port)),
            Name::Workloads(uids) => Some(Addressee::Workload(uids.first()?.clone(), port)),
        }
    }
}

/// All services and workloads that are in both worlds.
pub(super) fn all(old: &Mesh, new: &Mesh) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut keys: Vec<&NamespacedHostname> = old.catalog.services().map(|service| &service.key).collect();
    keys.sort();
    for key in keys {
        let (Some(before), Some(after)) = (old.catalog.service(key), new.catalog.service(key)) else { continue };
        let ports = before.ports.iter().chain(after.ports.iter()).map(|port| port.service_port);
        let ports: BTreeSet<u16> = ports.collect();
        let name = Name::Service(key.clone());
        subjects.push(Subject { name, ports: ports.into_iter().collect(), other: None });
    }
    let ranges = destination_ranges(old, new);
    let mut kinds: BTreeMap<Kind, Vec<Uid>> = BTreeMap::new();
    for before in old.catalog.workloads() {
        let Some(after) = new.catalog.workload(before.uid.as_str()) else { continue };
        let captured = |workload: &Workload| workload.tunnel == TunnelProtocol::Hbone;
        let counts =
            (captured(before) || captured(after)) && !before.addresses.is_empty() && !after.addresses.is_empty();
        if !counts || old.is_waypoint(before) || new.is_waypoint(after) {
            continue;
        }
        let mut ports = BTreeSet::new();
        for (mesh, workload) in [(old, before), (new, after)] {
            ports_of(mesh, workload, &mut ports);
        }
        let side = |mesh: &Mesh, workload: &Workload| Side {
            namespace: workload.namespace.clone(),
            captured: captured(workload),
            policies: (
                mesh.applicable(workload).iter().map(|policy| policy.name.clone()).collect(),
                workload.policies.clone(),
            ),
            waypoint: workload.waypoint.as_ref().map(GatewayAddress::to_string),
            ranges: workload
                .addresses
                .first()
                .map(|ip| ranges.iter().map(|range| range.contains(ip)).collect())
                .unwrap_or_default(),
        };
        let kind = Kind { sides: [side(old, before), side(new, after)], ports };
        kinds.entry(kind).or_default().push(before.uid.clone());
    }
    for (kind, mut uids) in kinds {
        uids.sort();
        let other = (61_000..62_000).find(|port| !kind.ports.contains(port));
        let ports = kind.ports.into_iter().chain(other).collect();
        subjects.push(Subject { name: Name::Workloads(uids), ports, other });
    }
    subjects
}

/// The ports of a workload that services lead to, or that policies name.
fn ports_of(mesh: &Mesh, workload: &Arc<Workload>, ports: &mut BTreeSet<u16>) {
    for (key, own) in &workload.services {
        let service = mesh.catalog.service(key);
        let named = service.into_iter().flat_map(|service| service.ports.iter().map(|port| port.service_port));
        let targets = named.filter_map(|port| own.target(port).or_else(|| service?.ports.target(port)));
        ports.extend(targets);
    }
    for policy in mesh.applicable(workload) {
        let named =
            entries(policy).flat_map(|entry| entry.destination_ports.iter().chain(&entry.not_destination_ports));
        ports.extend(named.copied());
    }
    if workload.waypoint.is_some() {
        // Waypoints judge such ports by themselves.
        ports.extend(mesh.world.policies.values().flat_map(|(_, policy)| {
            let rules = policy.spec.rules.iter();
            let operations = rules.clone().flat_map(|rule| rule.to.iter().flatten()).map(|to| &to.operation);
            let named = operations.flat_map(|operation| operation.ports.iter().chain(&operation.not_ports));
            let when = rules.flat_map(|rule| rule.when.iter().flatten()).filter(|when| when.key == "destination.port");
            named
                .chain(when.flat_map(|when| when.values.iter().chain(&when.not_values)))
                .filter_map(|text| text.parse::<u16>().ok())
        }));
        ports.extend(mesh.catalog.services().flat_map(|service| service.ports.iter().map(|port| port.service_port)));
    }
}

fn entries(policy: &Policy) -> impl Iterator<Item = &Match> {
    policy.rules.iter().flat_map(|rule| &rule.clauses).flat_map(|clause| &clause.matches)
}

/// The ranges that policies ask destinations about.
fn destination_ranges(old: &Mesh, new: &Mesh) -> Vec<IpNet> {
    let policies = old.policies.iter().chain(new.policies.iter());
    let of_nodes = policies.flat_map(|policy| entries(policy));
    let of_nodes = of_nodes.flat_map(|entry| entry.destination_ips.iter().chain(&entry.not_destination_ips)).copied();
    let specs = old.world.policies.values().chain(new.world.policies.values());
    let rules = specs.flat_map(|(_, policy)| &policy.spec.rules);
    let when = rules.flat_map(|rule| rule.when.iter().flatten()).filter(|when| when.key == "destination.ip");
    let texts = when.flat_map(|when| when.values.iter().chain(&when.not_values));
    let of_waypoints = texts.filter_map(|text| {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
    });
    let ranges: BTreeSet<IpNet> = of_nodes.chain(of_waypoints).collect();
    ranges.into_iter().collect()
}
