use super::lookup::{Addressed, addressed};
use super::{Destination, Outbound};
use crate::catalog::Catalog;
use crate::name::Hostname;
use crate::service::{GatewayAddress, GatewayDestination, Service};
use crate::workload::Workload;

/// Names of resources that a decision about `request` would look for and that the catalog does not hold: for nodes that
/// ask for what they use (on-demand discovery). Empty when nothing is missing.
///
/// The names are those of Istio's workload discovery: `network/address`, or `namespace/hostname`. What was asked for and
/// does not exist stays in the answer; the caller remembers that it has asked. An answer can reveal further names (a
/// service names its waypoint), so the question is repeated until nothing new is missing.
#[must_use]
pub fn missing(catalog: &Catalog, request: &Outbound<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let namespace = request.source.namespace.as_str();
    match addressed(catalog, request.network, namespace, request.destination) {
        Addressed::Unknown => names.extend(names_of(request)),
        Addressed::Service(service) => of_service(catalog, service, request, &mut names),
        Addressed::Workload(workload) => {
            names.extend(workload.waypoint.as_ref().and_then(|reference| unknown(catalog, reference)));
            // An address may be that of a service as well, which a workload record alone does not tell; a workload that
            // is known was asked for by its address, and the answer would have held the service.
        }
    }
    names
}

fn of_service(catalog: &Catalog, service: &Service, request: &Outbound<'_>, names: &mut Vec<String>) {
    let weighted = service.weighted_waypoints.iter().map(|(reference, _)| reference);
    let waypoints = service.waypoint.iter().chain(weighted);
    names.extend(waypoints.filter_map(|reference| unknown(catalog, reference)));
    let remote = |workload: &&std::sync::Arc<Workload>| workload.network != *request.network;
    let gateways =
        catalog.endpoints(&service.key).filter(remote).filter_map(|workload| workload.network_gateway.as_ref());
    for name in gateways.filter_map(|reference| unknown(catalog, reference)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

fn names_of(request: &Outbound<'_>) -> Option<String> {
    match request.destination {
        Destination::Address(address) => Some(format!("{}/{}", request.network, address.ip())),
        Destination::Hostname(hostname, _) => Some(key_of(hostname, request.source.namespace.as_str())),
    }
}

/// The key under which a host name would be found: Kubernetes names carry their namespace, others are taken to be of the
/// client's.
fn key_of(hostname: &Hostname, namespace: &str) -> String {
    let mut labels = hostname.as_str().split('.').skip(1);
    match (labels.next(), labels.next()) {
        (Some(own), Some("svc")) => format!("{own}/{hostname}"),
        _ => format!("{namespace}/{hostname}"),
    }
}

fn unknown(catalog: &Catalog, reference: &GatewayAddress) -> Option<String> {
    match &reference.destination {
        GatewayDestination::Hostname(key) => catalog.service(key).is_none().then(|| key.to_string()),
        GatewayDestination::Address(network, ip) => {
            let known =
                catalog.workload_at(network, *ip).is_some() || catalog.services_at(network, *ip).next().is_some();
            (!known).then(|| format!("{network}/{ip}"))
        }
    }
}
