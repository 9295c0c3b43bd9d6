//! Services that are reached through their waypoint from Gateways too, as `istio.io/ingress-use-waypoint` says.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use mesh_core::balance::{Assignment, Discovery, Endpoint, Health, LocalityEndpoints, Tunnel};
use mesh_core::name::{Locality, NamespacedHostname, NamespacedName, SpiffeId};
use mesh_core::service::{GatewayDestination, Service};
use mesh_core::workload::Health as WorkloadHealth;

use crate::resource::{Kind, Metadata};
use crate::translate::binding::{self, Object, Traffic};
use crate::translate::facts::Reader;
use crate::translate::waypoint::{self, Made};
use crate::world::Lookup;

/// Label of a service or its namespace.
const THROUGH: &str = "istio.io/ingress-use-waypoint";

/// What the weights of the endpoints of a waypoint and its canary are parts of.
const WHOLE: u32 = 10_000;

/// Has a cluster lead to the waypoint of its service, if that is said. A waypoint that is not there is nobody to go to: nothing
/// goes past it.
pub(super) fn waypoint(reader: &Reader<'_>, key: &NamespacedHostname, port: u16, made: &mut Made) {
    let Some((service, metadata)) = said(reader, key) else { return };
    let bound = binding::bound(reader, Object::new(Traffic::Service, metadata));
    let Some(primary) = bound.waypoint else { return };
    let network = reader.place().network.as_str();
    let Some(vip) = service.vips.iter().find(|(of, _)| *of == *network).map(|(_, range)| range.addr()) else { return };
    let (canary, share) = bound.canary.map_or((None, 0), |(key, share)| (Some(key), share.min(100)));
    let mut endpoints = instances(reader, &primary, SocketAddr::new(vip, port), 100 - share);
    endpoints.extend(canary.iter().flat_map(|key| instances(reader, key, SocketAddr::new(vip, port), share)));
    let assignment =
        Assignment::new(made.cluster.name.clone(), vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
    made.cluster.discovery = Discovery::Eds { service_name: None };
    made.cluster.tunnels = true;
    made.assignment = Some(assignment);
}

/// The service, and what is written about it, if Gateways go through its waypoint.
fn said<'a>(reader: &Reader<'a>, key: &NamespacedHostname) -> Option<(&'a Service, &'a Metadata)> {
    let id = reader.declaring(key).find(|id| matches!(id.kind, Kind::Service | Kind::ServiceEntry))?;
    let metadata = match id.kind {
        Kind::Service => &reader.service_object(&id.name)?.metadata,
        _ => &reader.service_entry(&id.name)?.metadata,
    };
    let of_namespace = reader.namespace(&metadata.namespace).and_then(|found| found.metadata.labels.get(THROUGH));
    let is_said = metadata.labels.get(THROUGH).or(of_namespace).is_some_and(|value| value == "true");
    is_said.then_some(()).and_then(|()| Some((reader.service(key)?, metadata)))
}

/// The instances of a waypoint, each as a way to an address.
fn instances(reader: &Reader<'_>, key: &NamespacedName, to: SocketAddr, share: u32) -> Vec<Endpoint> {
    let identities: Vec<SpiffeId> = waypoint::identities(reader, key).into_iter().collect();
    if identities.is_empty() || share == 0 {
        return Vec::new();
    }
    let address = binding::address(reader, reader.place(), key);
    let at: Vec<(IpAddr, Health)> = match &address.destination {
        GatewayDestination::Address(_, ip) if ip.is_unspecified() => Vec::new(),
        GatewayDestination::Address(_, ip) => vec![(*ip, Health::Healthy)],
        GatewayDestination::Hostname(host) => {
            let here = reader.endpoints(host).filter(|one| one.workload.network == *reader.place().network);
            let health = |healthy: bool| if healthy { Health::Healthy } else { Health::Unhealthy };
            let at = here.filter_map(|one| {
                let ip = one.workload.addresses.first()?;
                Some((*ip, health(one.workload.health == WorkloadHealth::Healthy)))
            });
            at.collect()
        }
        _ => Vec::new(),
    };
    let count = u32::try_from(at.len()).unwrap_or(u32::MAX).max(1);
    let weight = NonZeroU32::new(share * WHOLE / count).unwrap_or(NonZeroU32::MIN);
    let endpoint = |(ip, health): (IpAddr, Health)| {
        let mut endpoint = Endpoint::new(to);
        endpoint.weight = weight;
        endpoint.health = health;
        let via = Some(SocketAddr::new(ip, address.hbone_port));
        endpoint.tunnel = Some(Tunnel { identities: identities.clone(), via, inner: None });
        endpoint
    };
    at.into_iter().map(endpoint).collect()
}
