use std::net::IpAddr;
use std::sync::Arc;

use super::{Outbound, Reason};
use crate::catalog::Catalog;
use crate::name::Network;
use crate::service::{HealthPolicy, IpFamilies, LoadBalancing, Mode, Scope, Service};
use crate::workload::{Health, Workload};

/// For what an endpoint is sought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To carry a connection to a port of the service.
    Traffic,
    /// To be a waypoint or gateway: the port is that of the tunnel, which an endpoint with an application tunnel serves
    /// without the service defining it.
    Tunnel,
}

/// A chosen endpoint and its port behind the service port.
pub(super) struct Endpoint<'a> {
    pub(super) workload: &'a Arc<Workload>,
    pub(super) port: u16,
}

/// Chooses an endpoint of a service for a client, by health, preference and weight. `seed` decides among equals.
///
/// Two passes over the endpoints and no allocation: the first finds the best rank and its total weight, the second
/// walks to the chosen one.
pub(super) fn choose<'a>(
    catalog: &'a Catalog,
    service: &Service,
    request: &Outbound<'_>,
    port: u16,
    purpose: Purpose,
    seed: u64,
) -> Result<Endpoint<'a>, Reason> {
    let usable = || usable(catalog, service, request, port, purpose);
    check_port(service, port, purpose)?;
    let (best, total) = usable().fold((0, 0_u64), |(best, total), (endpoint, rank)| {
        let weight = u64::from(endpoint.workload.capacity);
        match rank.cmp(&best) {
            std::cmp::Ordering::Greater => (rank, weight),
            std::cmp::Ordering::Equal => (best, total + weight),
            std::cmp::Ordering::Less => (best, total),
        }
    });
    let mut left = below(seed, total);
    for (endpoint, rank) in usable() {
        if rank != best {
            continue;
        }
        let weight = u64::from(endpoint.workload.capacity);
        if left < weight {
            return Ok(endpoint);
        }
        left -= weight;
    }
    Err(Reason::NoHealthyUpstream)
}

/// All endpoints that [`choose`] could choose, whatever the seed; never none.
pub(super) fn choices<'a>(
    catalog: &'a Catalog,
    service: &Service,
    request: &Outbound<'_>,
    port: u16,
    purpose: Purpose,
) -> Result<Vec<Endpoint<'a>>, Reason> {
    check_port(service, port, purpose)?;
    let usable: Vec<_> = usable(catalog, service, request, port, purpose).collect();
    let best = usable.iter().map(|(_, rank)| *rank).max().ok_or(Reason::NoHealthyUpstream)?;
    Ok(usable.into_iter().filter(|(_, rank)| *rank == best).map(|(endpoint, _)| endpoint).collect())
}

fn check_port(service: &Service, port: u16, purpose: Purpose) -> Result<(), Reason> {
    match purpose == Purpose::Traffic && service.ports.get(port).is_none() {
        true => Err(Reason::PortNotDefined),
        false => Ok(()),
    }
}

/// The endpoints that may take a connection at all, and how well each fits the client.
fn usable<'a>(
    catalog: &'a Catalog,
    service: &Service,
    request: &Outbound<'_>,
    port: u16,
    purpose: Purpose,
) -> impl Iterator<Item = (Endpoint<'a>, usize)> {
    let (client, network) = (request.source, request.network);
    catalog.endpoints(&service.key).filter_map(move |workload| {
        let healthy =
            workload.health == Health::Healthy || service.load_balancing.health_policy == HealthPolicy::AllowAll;
        let reachable = !workload.addresses.is_empty()
            || workload.hostname.is_some()
            || (workload.network != *network && workload.network_gateway.is_some());
        if !healthy || !reachable || workload.capacity == 0 {
            return None;
        }
        let port = target_port(service, workload, port, purpose)?;
        let rank = rank(&service.load_balancing, client, network, workload)?;
        Some((Endpoint { workload, port }, rank))
    })
}

/// The port of an endpoint: by its own mapping, by the service's, or, behind an application tunnel, the port itself.
fn target_port(service: &Service, workload: &Workload, port: u16, purpose: Purpose) -> Option<u16> {
    let own = workload.services.get(&service.key).and_then(|ports| ports.target(port));
    let tunnelled = workload.application_tunnel.filter(|tunnel| tunnel.port.is_some() || purpose == Purpose::Tunnel);
    own.or_else(|| service.ports.target(port)).or_else(|| tunnelled.map(|_| port))
}

/// How well an endpoint fits a client; higher is better, `None` is not allowed.
fn rank(balancing: &LoadBalancing, client: &Workload, network: &Network, workload: &Workload) -> Option<usize> {
    let shares = |scope: &Scope| shares(*scope, client, network, workload);
    match balancing.mode {
        Mode::Any | Mode::Passthrough => Some(0),
        Mode::Strict => balancing.preference.iter().all(shares).then_some(0),
        Mode::Failover => {
            // A network in front outweighs all that follows: any endpoint in reach beats every one behind a gateway.
            // Without it the remaining scopes still order the remote ones.
            let (bonus, scopes) = match balancing.preference.split_first() {
                Some((Scope::Network, rest)) if shares(&Scope::Network) => (balancing.preference.len(), rest),
                Some((Scope::Network, rest)) => (0, rest),
                _ => (0, balancing.preference.as_slice()),
            };
            Some(bonus + scopes.iter().take_while(|scope| shares(scope)).count())
        }
    }
}

fn shares(scope: Scope, client: &Workload, network: &Network, workload: &Workload) -> bool {
    let (here, there) = (&client.locality, &workload.locality);
    let region = here.region == there.region;
    let zone = region && here.zone == there.zone;
    match scope {
        Scope::Region => region,
        Scope::Zone => zone,
        Scope::Subzone => zone && here.subzone == there.subzone,
        Scope::Node => client.node == workload.node,
        Scope::Cluster => client.cluster_id == workload.cluster_id,
        Scope::Network => *network == workload.network,
    }
}

/// An address of a workload for a client that asked for `wanted`: that one if the workload has it, else one of the
/// allowed families, that of `wanted` preferred.
pub(super) fn address(workload: &Workload, families: IpFamilies, wanted: Option<IpAddr>) -> Option<IpAddr> {
    if let Some(ip) = wanted.filter(|ip| workload.addresses.contains(ip)) {
        return Some(ip);
    }
    let allowed = |ip: &&IpAddr| match families {
        IpFamilies::Automatic | IpFamilies::Dual => true,
        IpFamilies::Ipv4Only => ip.is_ipv4(),
        IpFamilies::Ipv6Only => ip.is_ipv6(),
    };
    let addresses = || workload.addresses.iter().filter(allowed);
    wanted
        .and_then(|wanted| addresses().find(|ip| ip.is_ipv4() == wanted.is_ipv4()))
        .or_else(|| addresses().next())
        .copied()
}

/// A number below `bound` (0 when `bound` is 0), spread evenly by the seed.
pub(super) fn below(seed: u64, bound: u64) -> u64 {
    // SplitMix64's finisher: neighbouring seeds must not choose neighbouring endpoints.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let scaled = (u128::from(mixed) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}
