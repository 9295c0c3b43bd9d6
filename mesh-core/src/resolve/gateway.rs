use std::net::SocketAddr;
use std::sync::Arc;

use super::endpoint::{Purpose, address, choices, choose};
use super::lookup::{Addressed, by_address};
use super::{Destination, Hop, InnerTunnel, Outbound, Reason, Tunnel};
use crate::catalog::Catalog;
use crate::name::SpiffeId;
use crate::service::{GatewayAddress, GatewayDestination, IpFamilies, Service};
use crate::workload::Workload;

/// The workload behind a waypoint or gateway reference, and the service through which it was found.
pub(super) struct Found<'a> {
    pub(super) workload: &'a Arc<Workload>,
    pub(super) service: Option<&'a Arc<Service>>,
}

impl Found<'_> {
    /// Who may be at the other end: the workload, or who else the service accepts.
    pub(super) fn expected(&self) -> Vec<SpiffeId> {
        expected(self.service.map(Arc::as_ref), self.workload)
    }
}

/// Looks a reference up. Local state only: a reference that is not there yet gives `None`, and its user refuses.
pub(super) fn find<'a>(
    catalog: &'a Catalog,
    reference: &GatewayAddress,
    request: &Outbound<'_>,
    seed: u64,
) -> Option<Found<'a>> {
    let endpoint_of = |service: &'a Arc<Service>| {
        let port = reference.hbone_port;
        let endpoint = choose(catalog, service, request, port, Purpose::Tunnel, seed).ok()?;
        Some(Found { workload: endpoint.workload, service: Some(service) })
    };
    match &reference.destination {
        GatewayDestination::Hostname(key) => catalog.service(key).and_then(endpoint_of),
        GatewayDestination::Address(network, ip) => {
            match by_address(catalog, network, request.source.namespace.as_str(), *ip) {
                Addressed::Workload(workload) => Some(Found { workload, service: None }),
                Addressed::Service(service) => endpoint_of(service),
                Addressed::Unknown => None,
            }
        }
    }
}

/// All that [`find`] could find, whatever the seed.
pub(super) fn find_all<'a>(catalog: &'a Catalog, reference: &GatewayAddress, request: &Outbound<'_>) -> Vec<Found<'a>> {
    let endpoints_of = |service: &'a Arc<Service>| {
        let choices = choices(catalog, service, request, reference.hbone_port, Purpose::Tunnel).unwrap_or_default();
        choices.iter().map(|endpoint| Found { workload: endpoint.workload, service: Some(service) }).collect()
    };
    match &reference.destination {
        GatewayDestination::Hostname(key) => catalog.service(key).map(endpoints_of).unwrap_or_default(),
        GatewayDestination::Address(network, ip) => {
            match by_address(catalog, network, request.source.namespace.as_str(), *ip) {
                Addressed::Workload(workload) => vec![Found { workload, service: None }],
                Addressed::Service(service) => endpoints_of(service),
                Addressed::Unknown => Vec::new(),
            }
        }
    }
}

/// Whether a workload stands behind a reference, whatever its health or weight.
pub(super) fn is_behind(catalog: &Catalog, reference: &GatewayAddress, workload: &Workload) -> bool {
    match &reference.destination {
        GatewayDestination::Hostname(key) => workload.services.contains_key(key),
        GatewayDestination::Address(network, ip) => {
            (workload.network == *network && workload.addresses.contains(ip))
                || catalog.services_at(network, *ip).any(|service| workload.services.contains_key(&service.key))
        }
    }
}

/// The way to a workload of another network: a tunnel through that network's gateway.
///
/// `authority` names the service that was addressed, in both layers: the gateway balances by it, and the far end finds
/// its own port by it. `far_end` is the service whose endpoints may stand at the inner end; as the gateway chooses among
/// them, only the service can say who that may be.
pub(super) fn nested<'a>(
    catalog: &'a Catalog,
    remote: &Workload,
    authority: Destination,
    far_end: &Service,
    request: &Outbound<'_>,
    seed: u64,
) -> Result<(Hop, &'a Arc<Workload>), Reason> {
    let reference = remote.network_gateway.as_ref().ok_or(Reason::NoNetworkGateway)?;
    let gateway = find(catalog, reference, request, seed).ok_or(Reason::NoNetworkGateway)?;
    let ip = address(gateway.workload, IpFamilies::Automatic, None).ok_or(Reason::NoAddress)?;
    let outer = Tunnel {
        to: SocketAddr::new(ip, reference.hbone_port),
        authority: authority.clone(),
        expected: gateway.expected(),
    };
    let inner = InnerTunnel { authority, expected: far_end.subject_alt_names.clone() };
    Ok((Hop::Nested { outer, inner }, gateway.workload))
}

/// Who may be at the end of a tunnel to a workload: the workload itself, and whom its service accepts beside it.
pub(super) fn expected(service: Option<&Service>, workload: &Workload) -> Vec<SpiffeId> {
    let mut expected: Vec<SpiffeId> = service.map_or_else(Vec::new, |service| service.subject_alt_names.clone());
    let own = workload.spiffe_id();
    if !expected.contains(&own) {
        expected.push(own);
    }
    expected
}
