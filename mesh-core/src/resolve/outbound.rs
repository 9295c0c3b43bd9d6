use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::endpoint::{Endpoint, Purpose, address, below, choices, choose};
use super::gateway::{Found, expected, find, find_all, is_behind, nested};
use super::lookup::{Addressed, addressed};
use super::{Destination, Hop, Reason, Refusal, Resolution, Tunnel};
use crate::catalog::Catalog;
use crate::name::{Network, SpiffeId};
use crate::service::{GatewayAddress, HBONE_PORT, IpFamilies, Mode, Service};
use crate::workload::{TunnelProtocol, Workload};

/// A local workload wants to reach something.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Outbound<'a> {
    /// The workload that connects.
    pub source: &'a Workload,
    /// The network it connects from.
    pub network: &'a Network,
    /// What it addressed.
    pub destination: &'a Destination,
    /// What becomes of traffic whose waypoint cannot be found.
    pub unready_waypoint: UnreadyWaypoint,
}

impl<'a> Outbound<'a> {
    /// A request with the defaults: without its waypoint a destination is refused.
    #[must_use]
    pub fn new(source: &'a Workload, network: &'a Network, destination: &'a Destination) -> Self {
        Self { source, network, destination, unready_waypoint: UnreadyWaypoint::Refuse }
    }
}

/// What becomes of traffic to a destination whose waypoint is not known, or has no endpoint that takes traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreadyWaypoint {
    /// It is refused. The policies that are bound to a waypoint are known to nobody else, so this is the only safe answer
    /// wherever one might be.
    #[default]
    Refuse,
    /// It goes to the destination directly, past every policy of the waypoint.
    Direct,
}

/// Decides how a local workload reaches a destination.
///
/// `seed` drives every choice among equals; the same seed over the same catalog gives the same answer. The caller hands
/// in a fresh random number per connection.
///
/// # Errors
/// [`Refusal`] when the destination is known but must not or cannot be reached now. An unknown destination is no error:
/// it is reached in plaintext, as it would be without the mesh.
pub fn outbound(catalog: &Catalog, request: &Outbound<'_>, seed: u64) -> Result<Resolution, Refusal> {
    let way = match addressed(catalog, request.network, request.source.namespace.as_str(), request.destination) {
        Addressed::Service(service) => to_service(catalog, service, request, seed),
        Addressed::Workload(workload) => to_workload(catalog, workload, request, seed),
        Addressed::Unknown => Ok(plain(request.destination.clone(), Reason::UnknownDestination)),
    };
    way.map_err(|reason| Refusal { destination: request.destination.clone(), reason })
}

/// Every answer that [`outbound`] gives for some seed: each waypoint that has a share, each endpoint that may be chosen. Of
/// several gateways to another network it is one, the same for all. Never empty. For explanations, and for what compares
/// catalogs; it allocates.
#[must_use]
pub fn ways(catalog: &Catalog, request: &Outbound<'_>) -> Vec<Result<Resolution, Refusal>> {
    let ways = match addressed(catalog, request.network, request.source.namespace.as_str(), request.destination) {
        Addressed::Service(service) => ways_to_service(catalog, service, request),
        Addressed::Workload(workload) => ways_to_workload(catalog, workload, request),
        Addressed::Unknown => vec![Ok(plain(request.destination.clone(), Reason::UnknownDestination))],
    };
    let refusal = |reason| Refusal { destination: request.destination.clone(), reason };
    ways.into_iter().map(|way| way.map_err(refusal)).collect()
}

fn ways_to_service(
    catalog: &Catalog,
    service: &Arc<Service>,
    request: &Outbound<'_>,
) -> Vec<Result<Resolution, Reason>> {
    let weighted = service.weighted_waypoints.iter().filter(|(_, weight)| *weight > 0).map(|(reference, _)| reference);
    let mut references: Vec<&GatewayAddress> = weighted.collect();
    if references.is_empty() {
        references.extend(&service.waypoint);
    }
    let endpoints = || ways_to_endpoints(catalog, service, request);
    let through = |reference: &GatewayAddress| -> Vec<Result<Resolution, Reason>> {
        let waypoints = find_all(catalog, reference, request);
        if waypoints.is_empty() {
            return match request.unready_waypoint {
                UnreadyWaypoint::Refuse => vec![Err(Reason::UnknownWaypoint)],
                UnreadyWaypoint::Direct => endpoints().into_iter().map(past_waypoint).collect(),
            };
        }
        waypoints.iter().map(|waypoint| through_waypoint(catalog, service, reference, waypoint, request, 0)).collect()
    };
    match references.is_empty() {
        true => endpoints(),
        false => references.into_iter().flat_map(through).collect(),
    }
}

fn ways_to_endpoints(
    catalog: &Catalog,
    service: &Arc<Service>,
    request: &Outbound<'_>,
) -> Vec<Result<Resolution, Reason>> {
    if service.load_balancing.mode == Mode::Passthrough {
        return vec![Ok(passed_through(service, request))];
    }
    match choices(catalog, service, request, request.destination.port(), Purpose::Traffic) {
        Ok(choices) => choices.iter().map(|chosen| to_chosen(catalog, service, chosen, request, 0)).collect(),
        Err(reason) => vec![Err(reason)],
    }
}

fn ways_to_workload(
    catalog: &Catalog,
    workload: &Arc<Workload>,
    request: &Outbound<'_>,
) -> Vec<Result<Resolution, Reason>> {
    match &workload.waypoint {
        Some(reference) if !is_behind(catalog, reference, request.source) => {
            let waypoints = find_all(catalog, reference, request);
            match (waypoints.is_empty(), request.unready_waypoint) {
                (true, UnreadyWaypoint::Refuse) => vec![Err(Reason::UnknownWaypoint)],
                (true, UnreadyWaypoint::Direct) => vec![past_waypoint(to_workload_itself(workload, request))],
                (false, _) => {
                    waypoints.iter().map(|waypoint| through_workload_waypoint(reference, waypoint, request)).collect()
                }
            }
        }
        _ => vec![to_workload_itself(workload, request)],
    }
}

fn to_service(
    catalog: &Catalog,
    service: &Arc<Service>,
    request: &Outbound<'_>,
    seed: u64,
) -> Result<Resolution, Reason> {
    // One seed, several choices: each takes its own stream, so that the waypoint does not decide the endpoint.
    let (waypoint_seed, endpoint_seed, gateway_seed) = (seed, seed.rotate_left(21), seed.rotate_left(42));

    if let Some(reference) = service_waypoint(service, waypoint_seed) {
        let Some(waypoint) = find(catalog, reference, request, endpoint_seed) else {
            return match request.unready_waypoint {
                UnreadyWaypoint::Refuse => Err(Reason::UnknownWaypoint),
                UnreadyWaypoint::Direct => past_waypoint(to_endpoint(catalog, service, request, seed)),
            };
        };
        return through_waypoint(catalog, service, reference, &waypoint, request, gateway_seed);
    }
    to_endpoint(catalog, service, request, seed)
}

fn through_waypoint(
    catalog: &Catalog,
    service: &Arc<Service>,
    reference: &GatewayAddress,
    waypoint: &Found<'_>,
    request: &Outbound<'_>,
    gateway_seed: u64,
) -> Result<Resolution, Reason> {
    if waypoint.workload.network != *request.network {
        let of_waypoint = waypoint.service.ok_or(Reason::NoNetworkGateway)?;
        let by_name = Destination::Hostname(service.key.hostname.clone(), request.destination.port());
        let (hop, gateway) = nested(catalog, waypoint.workload, by_name, of_waypoint, request, gateway_seed)?;
        return Ok(way(hop, Reason::NetworkGateway, Some(service), Some(gateway)));
    }
    let authority = waypoint_authority(service, request);
    let hop = tunnel(waypoint.workload, reference.hbone_port, authority, waypoint.expected())?;
    Ok(way(hop, Reason::ServiceWaypoint, Some(service), Some(waypoint.workload)))
}

fn to_endpoint(
    catalog: &Catalog,
    service: &Arc<Service>,
    request: &Outbound<'_>,
    seed: u64,
) -> Result<Resolution, Reason> {
    let port = request.destination.port();
    let (endpoint_seed, gateway_seed) = (seed.rotate_left(21), seed.rotate_left(42));
    if service.load_balancing.mode == Mode::Passthrough {
        return Ok(passed_through(service, request));
    }
    let chosen = choose(catalog, service, request, port, Purpose::Traffic, endpoint_seed)?;
    to_chosen(catalog, service, &chosen, request, gateway_seed)
}

fn passed_through(service: &Arc<Service>, request: &Outbound<'_>) -> Resolution {
    let mut resolution = plain(request.destination.clone(), Reason::PassthroughService);
    resolution.service = Some(Arc::clone(service));
    resolution
}

fn to_chosen(
    catalog: &Catalog,
    service: &Arc<Service>,
    chosen: &Endpoint<'_>,
    request: &Outbound<'_>,
    gateway_seed: u64,
) -> Result<Resolution, Reason> {
    if chosen.workload.network != *request.network {
        let authority = Destination::Hostname(service.key.hostname.clone(), request.destination.port());
        let (hop, gateway) = nested(catalog, chosen.workload, authority, service, request, gateway_seed)?;
        return Ok(way(hop, Reason::NetworkGateway, Some(service), Some(gateway)));
    }
    let hop = direct(chosen.workload, Some(service), chosen.port, request)?;
    Ok(way(hop, Reason::ServiceEndpoint, Some(service), Some(chosen.workload)))
}

fn to_workload(
    catalog: &Catalog,
    workload: &Arc<Workload>,
    request: &Outbound<'_>,
    seed: u64,
) -> Result<Resolution, Reason> {
    if let Some(reference) = &workload.waypoint
        && !is_behind(catalog, reference, request.source)
    {
        let Some(waypoint) = find(catalog, reference, request, seed) else {
            return match request.unready_waypoint {
                UnreadyWaypoint::Refuse => Err(Reason::UnknownWaypoint),
                UnreadyWaypoint::Direct => past_waypoint(to_workload_itself(workload, request)),
            };
        };
        return through_workload_waypoint(reference, &waypoint, request);
    }
    to_workload_itself(workload, request)
}

fn through_workload_waypoint(
    reference: &GatewayAddress,
    waypoint: &Found<'_>,
    request: &Outbound<'_>,
) -> Result<Resolution, Reason> {
    if waypoint.workload.network != *request.network {
        return Err(Reason::NoNetworkGateway);
    }
    let authority = request.destination.clone();
    let hop = tunnel(waypoint.workload, reference.hbone_port, authority, waypoint.expected())?;
    Ok(way(hop, Reason::WorkloadWaypoint, None, Some(waypoint.workload)))
}

fn to_workload_itself(workload: &Arc<Workload>, request: &Outbound<'_>) -> Result<Resolution, Reason> {
    let hop = direct(workload, None, request.destination.port(), request)?;
    Ok(way(hop, Reason::WorkloadAddress, None, Some(workload)))
}

fn past_waypoint(direct: Result<Resolution, Reason>) -> Result<Resolution, Reason> {
    direct.map(|resolution| Resolution { reason: Reason::PastWaypoint, ..resolution })
}

/// The waypoint of a service: one of the weighted ones, or the plain one when there are none or none takes traffic.
fn service_waypoint(service: &Service, seed: u64) -> Option<&GatewayAddress> {
    let total = service.weighted_waypoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return service.waypoint.as_ref();
    }
    let mut left = below(seed, total);
    let mut weighted = service.weighted_waypoints.iter();
    let chosen = weighted.find(|(_, weight)| {
        let weight = u64::from(*weight);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    });
    chosen.map(|(reference, _)| reference)
}

/// What the CONNECT request to a waypoint names: the VIP that was addressed. A client that came by host name is given a
/// VIP too, because that is the form every waypoint dispatches on.
fn waypoint_authority(service: &Service, request: &Outbound<'_>) -> Destination {
    let Destination::Hostname(_, port) = request.destination else {
        return request.destination.clone();
    };
    let vip = service
        .vips
        .iter()
        .find(|(network, range)| network == request.network && range.prefix_len() == range.max_prefix_len());
    vip.map_or_else(|| request.destination.clone(), |(_, vip)| Destination::Address(SocketAddr::new(vip.addr(), *port)))
}

fn direct(
    workload: &Workload,
    service: Option<&Arc<Service>>,
    port: u16,
    request: &Outbound<'_>,
) -> Result<Hop, Reason> {
    let families = service.map_or(IpFamilies::Automatic, |service| service.ip_families);
    let ip = address(workload, families, wanted(request.destination));
    match (workload.tunnel, ip, &workload.hostname) {
        (TunnelProtocol::Hbone, Some(ip), _) => {
            let authority = Destination::Address(SocketAddr::new(ip, port));
            let expected = expected(service.map(Arc::as_ref), workload);
            Ok(Hop::Hbone(Tunnel { to: SocketAddr::new(ip, HBONE_PORT), authority, expected }))
        }
        (TunnelProtocol::None, Some(ip), _) => Ok(Hop::Plain { to: Destination::Address(SocketAddr::new(ip, port)) }),
        (TunnelProtocol::None, None, Some(hostname)) => {
            Ok(Hop::Plain { to: Destination::Hostname(hostname.clone(), port) })
        }
        (_, None, _) => Err(Reason::NoAddress),
    }
}

fn tunnel(workload: &Workload, port: u16, authority: Destination, expected: Vec<SpiffeId>) -> Result<Hop, Reason> {
    let ip = address(workload, IpFamilies::Automatic, None).ok_or(Reason::NoAddress)?;
    Ok(Hop::Hbone(Tunnel { to: SocketAddr::new(ip, port), authority, expected }))
}

fn wanted(destination: &Destination) -> Option<IpAddr> {
    match destination {
        Destination::Address(address) => Some(address.ip()),
        Destination::Hostname(..) => None,
    }
}

fn plain(to: Destination, reason: Reason) -> Resolution {
    Resolution { hop: Hop::Plain { to }, reason, service: None, workload: None }
}

fn way(hop: Hop, reason: Reason, service: Option<&Arc<Service>>, workload: Option<&Arc<Workload>>) -> Resolution {
    Resolution { hop, reason, service: service.map(Arc::clone), workload: workload.map(Arc::clone) }
}
