use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::gateway::is_behind;
use super::lookup::{Addressed, by_address, by_hostname};
use super::{Destination, Reason, Refusal};
use crate::catalog::Catalog;
use crate::service::Service;
use crate::workload::Workload;

/// Where a tunnel that ends at a local workload leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundTarget {
    /// The application's address: always that of the tunnel's own end, only the port is asked for.
    pub to: SocketAddr,
    /// The service that was addressed, when the request named one.
    pub service: Option<Arc<Service>>,
}

/// Decides where a CONNECT request leads that arrived for `local` at its address `tunnel_ip`.
///
/// The address of the application is never taken from the request: an authority with another address is refused, unless
/// the workload judges by itself (it has an application tunnel) or is the waypoint of what was asked for.
///
/// # Errors
/// [`Refusal`] with [`Reason::NotThisWorkload`] or [`Reason::UnknownService`].
pub fn inbound(
    catalog: &Catalog,
    local: &Workload,
    tunnel_ip: IpAddr,
    authority: &Destination,
) -> Result<InboundTarget, Refusal> {
    let refuse = |reason| Refusal { destination: authority.clone(), reason };
    let (port, service) = match authority {
        Destination::Address(address) => {
            if address.ip() != tunnel_ip
                && local.application_tunnel.is_none()
                && !is_waypoint_of(catalog, local, address.ip())
            {
                return Err(refuse(Reason::NotThisWorkload));
            }
            (address.port(), None)
        }
        Destination::Hostname(hostname, port) => {
            let service = by_hostname(catalog, local.namespace.as_str(), hostname)
                .ok_or_else(|| refuse(Reason::UnknownService))?;
            let own = local.services.get(&service.key).ok_or_else(|| refuse(Reason::UnknownService))?;
            let target = own.target(*port).or_else(|| service.ports.target(*port));
            (target.ok_or_else(|| refuse(Reason::UnknownService))?, Some(Arc::clone(service)))
        }
    };
    let port = local.application_tunnel.and_then(|tunnel| tunnel.port).unwrap_or(port);
    Ok(InboundTarget { to: SocketAddr::new(tunnel_ip, port), service })
}

/// Whether `local` is the waypoint of the service or workload at an address of its network.
fn is_waypoint_of(catalog: &Catalog, local: &Workload, ip: IpAddr) -> bool {
    match by_address(catalog, &local.network, local.namespace.as_str(), ip) {
        Addressed::Service(service) => {
            let weighted = service.weighted_waypoints.iter().map(|(reference, _)| reference);
            service.waypoint.iter().chain(weighted).any(|reference| is_behind(catalog, reference, local))
        }
        Addressed::Workload(workload) => {
            workload.waypoint.as_ref().is_some_and(|reference| is_behind(catalog, reference, local))
        }
        Addressed::Unknown => false,
    }
}
