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
mod part;
mod policy;
mod provider;
mod routes;
mod served;
mod token;
mod virtual_service;

use std::collections::BTreeSet;

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::Listener;
use mesh_core::name::{Locality, NamespacedName, SpiffeId, Text};

pub(super) use self::attached::Backends;
pub use self::cluster::Made;
pub(super) use self::cluster::{Bare, Maker, Spec, Specs, Spoken, outbound};
pub use self::encode::{ByType, Flavour};
pub(super) use self::gateway_api::{grpc_route, http_route};
pub(super) use self::host::service as service_of_host;
pub(super) use self::listener::ranges;
pub(super) use self::origination::{is_mutual, names_in_mesh};
pub(super) use self::part::{Assembled, Direct, Part, assemble, direct, part, services};
pub(crate) use self::policy::faults as policy_faults;
pub(super) use self::policy::{Policies, of_gateway};
pub(super) use self::routes::{filters, hash, table, to_itself};
pub(super) use self::served::identities_of;
pub(crate) use self::token::faults as token_faults;
pub(crate) use self::virtual_service::faults as virtual_service;
use super::facts::Reader;
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

/// The Gateways of a world that are waypoints.
pub(super) fn keys(world: &World) -> impl Iterator<Item = &NamespacedName> {
    world.gateways.iter().filter(|(_, (_, gateway))| served::is_served(gateway)).map(|(key, _)| key)
}

/// Who the instances of a waypoint may be; nobody, if it is not served here.
pub(super) fn identities(reader: &Reader<'_>, waypoint: &NamespacedName) -> BTreeSet<SpiffeId> {
    served::identities(reader, waypoint)
}

/// One cluster of a waypoint; `None` if it has none of the name.
pub(super) fn cluster(
    reader: &Reader<'_>,
    waypoint: &NamespacedName,
    locality: &Locality,
    assembled: &Assembled,
    name: &Text,
) -> Option<Made> {
    Maker::of_waypoint(reader, waypoint, locality).make(name, assembled.clusters.get(name)?)
}

/// The names of the clusters that differ between two states of a waypoint.
pub(super) fn different_clusters<'a>(before: &'a Assembled, now: &'a Assembled) -> impl Iterator<Item = &'a Text> {
    let gone = before.clusters.keys().filter(|name| !now.clusters.contains_key(*name));
    let come = now.clusters.iter().filter(|(name, spec)| before.clusters.get(*name) != Some(*spec));
    gone.chain(come.map(|(name, _)| name))
}

/// What an instance of a waypoint is programmed with that is somewhere; nothing, if it is not served here.
pub(super) fn resources(reader: &Reader<'_>, waypoint: &NamespacedName, locality: &Locality) -> Resources {
    let parts = services(reader, waypoint).into_iter().filter_map(|key| part(reader, waypoint, &key));
    let parts: Vec<Part> = parts.collect();
    let assembled = assemble(parts.iter(), direct(reader, waypoint).as_ref());
    let maker = Maker::of_waypoint(reader, waypoint, locality);
    let mut resources = Resources::default();
    for Made { cluster, assignment } in assembled.clusters.iter().filter_map(|(name, spec)| maker.make(name, spec)) {
        resources.clusters.push(cluster);
        resources.assignments.extend(assignment);
    }
    resources.listeners.extend(assembled.listener);
    resources
}

#[cfg(test)]
pub(super) mod tests;
