//! From the world to what waypoints are programmed with, in Envoy's terms. Pure.
//!
//! A waypoint ends tunnels and begins others; what happens between is here. Streams come to the internal listener
//! `main_internal` with the address they were meant for:
//!
//! | chain | for | leads to |
//! | --- | --- | --- |
//! | `inbound-vip\|<port>\|http\|<host>` | HTTP of a port at the virtual addresses of a service | routes; without any, the cluster of the same name |
//! | `inbound-vip\|<port>\|tcp\|<host>` | TCP of a port | the cluster of the same name |
//! | `direct-http`, `direct-tcp` | what is addressed to workloads that are bound to the waypoint | the cluster `encap` |
//!
//! Of a port of which nobody says what is spoken there are both chains; an inspector finds out. Clusters
//! `inbound-vip|<port>|<kind>[/<subset>]|<host>` have the endpoints of services that are bound to the waypoint, clusters
//! `outbound|<port>|<subset>|<host>` those of others that routes lead to, clusters `companion|<port>|<kind>|<host>` those of
//! external authorizers.
//!
//! # Which routes count
//!
//! With HTTPRoutes or GRPCRoutes attached to a port, VirtualServices do not count for its requests; Istio leaves open what
//! happens then. Of several VirtualServices for one host the routes of the older go first.
//!
//! # Endpoints
//!
//! An endpoint of [`mesh_core::balance`] has the address of the workload and, where that speaks HBONE, a
//! [`Tunnel`](mesh_core::balance::Tunnel) with the identities one of which must be at its end. Without a tunnel it is connected
//! to. In [`encap`](mesh_core::balance::Discovery::TunnelToOriginalDst) the endpoint is the address that the stream was meant
//! for, and the cluster says whose it is. On the wire both are what Istio sends ([`mesh_xds::envoy::endpoint`]): an address of
//! the internal listener `connect_originate`, with metadata. So a proxy of ours tunnels by itself, and a real Envoy
//! through the listeners that [`envoy`] adds; and a proxy of ours can be programmed by Istio.

mod attached;
mod cluster;
mod destination;
mod encode;
pub mod envoy;
mod gateway_api;
mod host;
mod keys;
mod listener;
mod locality;
mod origination;
mod policy;
mod provider;
mod routes;
mod served;
mod token;
mod virtual_service;

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::Listener;
use mesh_core::name::{Locality, NamespacedName, SpiffeId};
use mesh_core::service::{AppProtocol, Service, ServicePort};
use mesh_core::workload::TunnelProtocol;

use self::attached::{Attached, Backends};
use self::cluster::{Made, Maker, Spoken, TO_WORKLOADS, inbound, to_workloads};
pub use self::encode::{ByType, Flavour};
use self::listener::Chains;
use self::policy::Targeted;
pub(crate) use self::policy::faults as policy_faults;
use self::served::{Index, Served};
pub(crate) use self::token::faults as token_faults;
pub(crate) use self::virtual_service::faults as virtual_service;
use super::{Place, Translation};
use crate::world::World;

/// What an instance of a waypoint is programmed with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// `main_internal`; none for a waypoint that serves nothing.
    pub listeners: Vec<Listener>,
    /// Clusters, in the order of their names.
    pub clusters: Vec<Cluster>,
    /// Endpoints of the clusters that discover them.
    pub assignments: Vec<Assignment>,
}

/// The waypoints of a world.
pub struct Waypoints<'a> {
    index: Index<'a>,
    attached: Attached<'a>,
    targeted: Targeted<'a>,
}

impl<'a> Waypoints<'a> {
    /// The waypoints of a world and of what node proxies receive of it.
    #[must_use]
    pub fn new(world: &'a World, place: &'a Place, translation: &'a Translation) -> Self {
        Self {
            index: Index::new(world, place, translation),
            attached: Attached::new(world, place),
            targeted: Targeted::new(world, place),
        }
    }

    /// Their Gateways.
    pub fn keys(&self) -> impl Iterator<Item = &'a NamespacedName> {
        self.index.waypoints()
    }

    /// Who the instances of a waypoint may be; nobody, if it is not served here.
    #[must_use]
    pub fn identities(&self, waypoint: &NamespacedName) -> BTreeSet<SpiffeId> {
        self.index
            .served(waypoint)
            .map(|(served, gateway)| self.index.accounts(served.gateway, gateway))
            .unwrap_or_default()
    }

    /// What an instance of a waypoint is programmed with that is somewhere; nothing, if it is not served here.
    #[must_use]
    pub fn resources(&self, waypoint: &NamespacedName, locality: &Locality) -> Resources {
        let Some((served, _)) = self.index.served(waypoint) else { return Resources::default() };
        let maker = Maker { index: &self.index, gateway: served.gateway, locality };
        resources(maker, &self.attached, &self.targeted, &served)
    }
}

impl std::fmt::Debug for Waypoints<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}

fn resources<'a>(
    maker: Maker<'a, '_>,
    attached: &Attached<'a>,
    targeted: &Targeted<'a>,
    served: &Served<'a>,
) -> Resources {
    let mut chains = Chains::new(maker.index.place);
    let mut clusters = BTreeMap::new();
    let mut backends = Backends::new(maker, served);
    let mut keys = BTreeSet::new();
    for service in &served.services {
        let policies = targeted.of(&mut backends, Some(&service.key));
        keys.extend(policies.keys.iter().cloned());
        for port in &service.ports {
            let ranges = chains.take(service, port.service_port);
            for spoken in spoken(port.protocol) {
                clusters.extend(of_port(maker, service, port, *spoken));
                match spoken {
                    _ if ranges.is_empty() => {}
                    Spoken::Http => {
                        let Ok(table) = routes::table(attached, &mut backends, service, port) else { continue };
                        chains.http(service, port, &ranges, table, &policies);
                    }
                    Spoken::Tcp => {
                        let settings = maker.settings(service, port.service_port, None);
                        let target = attached::tcp_target(&mut backends, service, port);
                        chains.tcp(service, port, &ranges, &settings, target, policies.connections());
                    }
                }
            }
        }
    }
    let workloads: Vec<_> =
        served.workloads.iter().copied().filter(|workload| workload.tunnel == TunnelProtocol::Hbone).collect();
    if !workloads.is_empty()
        && let Ok(table) = routes::to_workloads()
    {
        let policies = targeted.of(&mut backends, None);
        keys.extend(policies.keys.iter().cloned());
        chains.workloads(&workloads, &table, &policies);
        clusters.insert(TO_WORKLOADS.to_owned(), Made { cluster: to_workloads(&workloads), assignment: None });
    }
    clusters.extend(backends.made);
    clusters.extend(keys.iter().map(|keys| (keys.name(), Made { cluster: keys.cluster(), assignment: None })));
    let mut resources = Resources { listeners: chains.finish().into_iter().collect(), ..Resources::default() };
    for (_, Made { cluster, assignment }) in clusters {
        resources.clusters.push(cluster);
        resources.assignments.extend(assignment);
    }
    resources
}

/// The clusters of a port: with all endpoints, and with those of each subset.
fn of_port(maker: Maker<'_, '_>, service: &Service, port: &ServicePort, spoken: Spoken) -> Vec<(String, Made)> {
    let subsets = maker.subsets(service).into_iter().map(Some);
    let one = |subset: Option<(&str, &BTreeMap<String, String>)>| {
        let name = inbound(service, port.service_port, spoken, subset.map(|(name, _)| name));
        (name.clone(), maker.make(name, service, port, spoken, subset))
    };
    [None].into_iter().chain(subsets).map(one).collect()
}

/// What is spoken on a port; both where nobody says.
fn spoken(protocol: AppProtocol) -> &'static [Spoken] {
    match protocol {
        AppProtocol::Http11 | AppProtocol::Http2 | AppProtocol::Grpc => &[Spoken::Http],
        AppProtocol::Tcp | AppProtocol::Tls => &[Spoken::Tcp],
        _ => &[Spoken::Http, Spoken::Tcp],
    }
}

#[cfg(test)]
mod tests;
