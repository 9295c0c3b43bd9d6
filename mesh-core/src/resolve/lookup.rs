use std::net::IpAddr;
use std::sync::Arc;

use super::Destination;
use crate::catalog::Catalog;
use crate::name::{Hostname, Network};
use crate::service::Service;
use crate::workload::Workload;

/// What a destination names.
pub(super) enum Addressed<'a> {
    Service(&'a Arc<Service>),
    Workload(&'a Arc<Workload>),
    Unknown,
}

/// Finds what a client of `namespace` means by a destination: an exact VIP, then a workload, then a VIP range.
///
/// One order for every question. ztunnel asks for the workload first when it looks for a waypoint and for the service
/// first when it chooses an endpoint, so an address that is both is treated as two different things there; and a
/// service with a wide address range hides the workloads inside it.
pub(super) fn addressed<'a>(
    catalog: &'a Catalog,
    network: &Network,
    namespace: &str,
    destination: &Destination,
) -> Addressed<'a> {
    match destination {
        Destination::Address(address) => by_address(catalog, network, namespace, address.ip()),
        Destination::Hostname(hostname, _) => match by_hostname(catalog, namespace, hostname) {
            Some(service) => Addressed::Service(service),
            None => Addressed::Unknown,
        },
    }
}

pub(super) fn by_address<'a>(catalog: &'a Catalog, network: &Network, namespace: &str, ip: IpAddr) -> Addressed<'a> {
    if let Some(service) = best(catalog.services_at(network, ip), namespace) {
        return Addressed::Service(service);
    }
    if let Some(workload) = catalog.workload_at(network, ip) {
        return Addressed::Workload(workload);
    }
    // The client's own namespace counts more than the length of the prefix, as in Istio.
    let mut covering = catalog.services_covering(network, ip).filter(|service| service.is_visible_to(namespace));
    let Some(longest) = covering.next() else {
        return Addressed::Unknown;
    };
    if longest.key.namespace == *namespace {
        return Addressed::Service(longest);
    }
    let length = prefix_covering(longest, network, ip);
    let mut chosen = longest;
    for service in covering {
        if service.key.namespace == *namespace {
            return Addressed::Service(service);
        }
        if service.canonical && !chosen.canonical && prefix_covering(service, network, ip) == length {
            chosen = service;
        }
    }
    Addressed::Service(chosen)
}

/// The service that a client of `namespace` means by a host name: exact, then wildcards from most to least specific.
pub(super) fn by_hostname<'a>(catalog: &'a Catalog, namespace: &str, hostname: &Hostname) -> Option<&'a Arc<Service>> {
    best(catalog.services_named(hostname.as_str()), namespace)
        .or_else(|| hostname.wildcards().find_map(|wildcard| best(catalog.services_named(&wildcard), namespace)))
}

/// Among services with one VIP or host name: the client's namespace, then the canonical one, then the first by key.
fn best<'a>(services: impl Iterator<Item = &'a Arc<Service>>, namespace: &str) -> Option<&'a Arc<Service>> {
    services
        .filter(|service| service.is_visible_to(namespace))
        .min_by_key(|service| (service.key.namespace != *namespace, !service.canonical))
}

fn prefix_covering(service: &Service, network: &Network, ip: IpAddr) -> Option<u8> {
    let covering = service.vips.iter().filter(|(of, range)| of == network && range.contains(&ip));
    covering.map(|(_, range)| range.prefix_len()).max()
}
