//! A waypoint in parts: of each service that is bound to it, and of what is addressed to workloads. A part depends on nothing
//! that the others are about, and not on endpoints.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mesh_core::listener::{FilterChain, Listener};
use mesh_core::name::{NamespacedHostname, NamespacedName, Text};
use mesh_core::service::{AppProtocol, GatewayAddress};

use super::attached::{self, Backends};
use super::cluster::{Spec, Specs, Spoken, TO_WORKLOADS, inbound, tunnelled};
use super::destination;
use super::keys::KeyCluster;
use super::listener::{self, Chains};
use super::policy::{self, Policies};
use super::{routes, served};
use crate::translate::facts::Reader;

/// What a waypoint has for one service.
#[derive(Debug, PartialEq)]
pub(in crate::translate) struct Part {
    ports: Vec<Port>,
    /// Clusters of those who are asked.
    asked: Specs,
    keys: BTreeSet<KeyCluster>,
}

/// What it has for one port.
#[derive(Debug, PartialEq)]
struct Port {
    number: u16,
    /// The addresses of the service.
    ranges: BTreeSet<IpNet>,
    /// The clusters of the port.
    own: Specs,
    /// Chains, each with the clusters that it leads to.
    chains: Vec<(FilterChain, Specs)>,
}

/// What a waypoint has for what is addressed to workloads.
#[derive(Debug, PartialEq)]
pub(in crate::translate) struct Direct {
    ranges: BTreeSet<IpNet>,
    policies: Policies,
    asked: Specs,
}

/// All of a waypoint that does not depend on endpoints.
#[derive(Debug, Default, PartialEq)]
pub(in crate::translate) struct Assembled {
    pub(in crate::translate) listener: Option<Listener>,
    pub(super) clusters: Specs,
}

impl Assembled {
    /// The names of its clusters.
    pub(in crate::translate) fn cluster_names(&self) -> impl Iterator<Item = &Text> {
        self.clusters.keys()
    }

    /// Whether it has a cluster of a name.
    pub(in crate::translate) fn has_cluster(&self, name: &Text) -> bool {
        self.clusters.contains_key(name)
    }
}

/// The services that a waypoint serves; none, if it is not served here.
pub(in crate::translate) fn services(reader: &Reader<'_>, waypoint: &NamespacedName) -> Vec<NamespacedHostname> {
    served::address(reader, waypoint).map(|address| reader.bound_services(&address)).unwrap_or_default()
}

/// The part of a service.
pub(in crate::translate) fn part(
    reader: &Reader<'_>,
    waypoint: &NamespacedName,
    key: &NamespacedHostname,
) -> Option<Part> {
    let address = served::address(reader, waypoint)?;
    let service = reader.service(key)?;
    let mut backends = Backends::of_waypoint(reader, waypoint, &address);
    let policies = policy::of(&mut backends, waypoint, Some(key));
    let mut part = Part { ports: Vec::new(), asked: backends.specs, keys: policies.keys.clone() };
    let rule = destination::rule(reader, waypoint.namespace.as_str(), service);
    let subsets = rule.into_iter().flat_map(|rule| &rule.spec.subsets);
    let subsets: Vec<Option<&str>> =
        [None].into_iter().chain(subsets.map(|subset| Some(subset.name.as_str()))).collect();
    let ranges = listener::ranges(service, reader.place());
    for port in &service.ports {
        let number = port.service_port;
        let mut made = Port { number, ranges: ranges.clone(), own: Specs::new(), chains: Vec::new() };
        for spoken in spoken(port.protocol) {
            made.own.extend(subsets.iter().map(|subset| {
                let name = inbound(service, number, *spoken, *subset);
                (name.into(), Spec::of(service, number, *spoken, *subset))
            }));
            if ranges.is_empty() {
                continue;
            }
            let mut backends = Backends::of_waypoint(reader, waypoint, &address);
            let chain = match spoken {
                Spoken::Http | Spoken::Grpc => match routes::table(&mut backends, service, port) {
                    Ok(table) => listener::http(service, port, table, &policies),
                    Err(_) => continue,
                },
                Spoken::Tcp => {
                    let target = attached::tcp_target(&mut backends, service, port);
                    let settings = backends.settings(service, number, None);
                    listener::tcp(service, port, &settings, target, policies.connections())
                }
            };
            made.chains.push((chain, backends.specs));
        }
        part.ports.push(made);
    }
    Some(part)
}

/// What is spoken on a port; both where nobody says.
fn spoken(protocol: AppProtocol) -> &'static [Spoken] {
    match protocol {
        AppProtocol::Http11 | AppProtocol::Http2 | AppProtocol::Grpc => &[Spoken::Http],
        AppProtocol::Tcp | AppProtocol::Tls => &[Spoken::Tcp],
        _ => &[Spoken::Http, Spoken::Tcp],
    }
}

/// The part of what is addressed to workloads; `None` where none is bound.
pub(in crate::translate) fn direct(reader: &Reader<'_>, waypoint: &NamespacedName) -> Option<Direct> {
    let address: GatewayAddress = served::address(reader, waypoint)?;
    let workloads = tunnelled(reader, &address);
    if workloads.is_empty() {
        return None;
    }
    let addresses = workloads.iter().flat_map(|workload| &workload.addresses);
    let ranges = addresses.map(|ip| IpNet::from(*ip)).collect();
    let mut backends = Backends::of_waypoint(reader, waypoint, &address);
    let policies = policy::of(&mut backends, waypoint, None);
    Some(Direct { ranges, policies, asked: backends.specs })
}

/// Puts the parts together, those of services in the order of their keys. Of two services with one address the first has it.
pub(in crate::translate) fn assemble<'p>(parts: impl Iterator<Item = &'p Part>, direct: Option<&Direct>) -> Assembled {
    let mut chains = Chains::default();
    let (mut clusters, mut others) = (Specs::new(), Specs::new());
    let mut keys: BTreeSet<&KeyCluster> = BTreeSet::new();
    for part in parts {
        add(&mut others, &part.asked);
        keys.extend(&part.keys);
        for port in &part.ports {
            let ranges = chains.take(port.number, &port.ranges);
            clusters.extend(port.own.clone());
            for (chain, to) in port.chains.iter().filter(|_| !ranges.is_empty()) {
                chains.push(chain, &ranges);
                add(&mut others, to);
            }
        }
    }
    if let Some(direct) = direct
        && let Ok(table) = routes::to_workloads()
    {
        add(&mut others, &direct.asked);
        keys.extend(&direct.policies.keys);
        chains.workloads(&direct.ranges, &table, &direct.policies);
        clusters.insert(TO_WORKLOADS.into(), Spec::Workloads);
    }
    clusters.extend(others);
    clusters.extend(keys.into_iter().map(|keys| (keys.name().into(), Spec::Keys(keys.clone()))));
    Assembled { listener: chains.finish(), clusters }
}

/// Adds what is not there yet.
fn add(specs: &mut Specs, more: &Specs) {
    for (name, spec) in more {
        specs.entry(name.clone()).or_insert_with(|| spec.clone());
    }
}
