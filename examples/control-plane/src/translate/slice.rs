//! Endpoints of slices that are no pods.
//!
//! All slices of a service are read together: an endpoint that stands in several of them (while a controller moves it,
//! with other ports, or once for each family of its addresses) is one workload. Of hints nothing is read: who is near
//! is decided by each client.

use std::collections::HashMap;
use std::net::IpAddr;

use mesh_core::name::{Locality, NamespacedHostname, NamespacedName};
use mesh_core::service::{PortMap, ServicePort};
use mesh_core::workload::{NetworkMode, Workload};

use super::facts::{By, Reader, Readiness};
use super::service::is_tcp;
use super::{clusterset, service, workload};
use crate::resource::{self, Endpoint, EndpointConditions, EndpointSlice, TargetRef};

/// Label of a slice: whose endpoints they are.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An endpoint, with all that slices say of it.
struct Member<'a> {
    /// The slice in which it stands first.
    slice: &'a NamespacedName,
    endpoint: &'a Endpoint,
    addresses: Vec<IpAddr>,
    ports: Vec<ServicePort>,
    readiness: Readiness,
}

/// The workloads of the endpoints that stand in a slice first.
pub(super) fn located(reader: &Reader<'_>, key: &NamespacedName) -> Vec<(Workload, Readiness)> {
    let with_any = reader.slice(key).filter(|slice| outside_pods(slice).next().is_some());
    let Some((service_key, source)) = with_any.and_then(|slice| service(reader, slice)) else { return Vec::new() };
    let name = NamespacedName::new(source.metadata.namespace.as_str(), source.metadata.name.as_str());
    let members = members(reader, &name, source);
    let first_here = members.into_iter().filter(|member| member.slice == key);
    first_here.filter_map(|member| made(reader, &service_key, source, member)).collect()
}

/// The service of a slice.
pub(super) fn service<'a>(
    reader: &Reader<'a>,
    slice: &EndpointSlice,
) -> Option<(NamespacedHostname, &'a resource::Service)> {
    let name = slice.metadata.labels.get(SERVICE_NAME)?;
    let key = NamespacedName::new(slice.metadata.namespace.as_str(), name.as_str());
    let service = reader.service_object(&key)?;
    Some((service::key(service, reader.place())?, service))
}

/// The ports of a slice's endpoints: those of the service's ports with the same names.
pub(super) fn ports(service: &resource::Service, slice: &EndpointSlice) -> PortMap {
    let target = |port: &resource::ServicePort| {
        let mut of_slice = slice.ports.iter().filter(|candidate| is_tcp(candidate.protocol.as_deref()));
        of_slice.find(|candidate| candidate.name == port.name).and_then(|candidate| candidate.port)
    };
    let of_service = service.spec.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
    of_service.filter_map(|port| Some(workload::mapped(port.port, target(port)?))).collect()
}

/// The endpoints of all slices of a service that are no pods, each once, in the order of their slices.
fn members<'a>(reader: &Reader<'a>, name: &NamespacedName, source: &resource::Service) -> Vec<Member<'a>> {
    let mut members: Vec<Member<'a>> = Vec::new();
    let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
    let mut by_target: HashMap<&TargetRef, usize> = HashMap::new();
    for id in reader.index(By::Endpoints(name.clone())) {
        let Some(slice) = reader.slice_of_index(&id.name) else { continue };
        let ports: Vec<ServicePort> = ports(source, slice).iter().copied().collect();
        for endpoint in outside_pods(slice) {
            let addresses: Vec<IpAddr> = endpoint.addresses.iter().filter_map(|ip| ip.parse().ok()).collect();
            let known = addresses.iter().find_map(|ip| by_address.get(ip).copied());
            let target = endpoint.target_ref.as_ref().filter(|target| !target.name.is_empty());
            let known = known.or_else(|| target.and_then(|target| by_target.get(target).copied()));
            let readiness = readiness(endpoint.conditions);
            let at = known.unwrap_or(members.len());
            match members.get_mut(at) {
                Some(member) => {
                    member.addresses.extend(addresses.iter().filter(|ip| !by_address.contains_key(*ip)));
                    member.ports.extend(ports.iter().copied());
                    // Of two that say otherwise the one that has it serve is the newer, or the other would not be there
                    // any more.
                    if rank(readiness) < rank(member.readiness) {
                        member.readiness = readiness;
                    }
                }
                None if addresses.is_empty() => continue,
                None => members.push(Member {
                    slice: &id.name,
                    endpoint,
                    addresses: addresses.clone(),
                    ports: ports.clone(),
                    readiness,
                }),
            }
            by_address.extend(addresses.into_iter().map(|ip| (ip, at)));
            by_target.extend(target.map(|target| (target, at)));
        }
    }
    members
}

/// The endpoints of a slice that are no pods: those are known better.
pub(super) fn outside_pods(slice: &EndpointSlice) -> impl Iterator<Item = &Endpoint> {
    slice.endpoints.iter().filter(|endpoint| endpoint.target_ref.as_ref().is_none_or(|target| target.kind != "Pod"))
}

fn readiness(conditions: EndpointConditions) -> Readiness {
    let EndpointConditions { ready, serving, terminating } = conditions;
    let ready = ready.unwrap_or(true);
    match terminating.unwrap_or(false) {
        _ if ready => Readiness::Ready,
        true if serving.unwrap_or(ready) => Readiness::Terminating,
        _ => Readiness::Unready,
    }
}

fn rank(readiness: Readiness) -> u8 {
    match readiness {
        Readiness::Ready => 0,
        Readiness::Terminating => 1,
        Readiness::Draining => 2,
        Readiness::Unready => 3,
    }
}

fn made(
    reader: &Reader<'_>,
    service: &NamespacedHostname,
    source: &resource::Service,
    member: Member<'_>,
) -> Option<(Workload, Readiness)> {
    let Member { slice, endpoint, addresses, ports, readiness } = member;
    let place = reader.place();
    let uid = format!("{}/discovery.k8s.io/EndpointSlice/{slice}/{}", place.cluster_id, addresses.first()?);
    let mut workload = workload::new(place, uid, slice.namespace.as_str(), slice.name.as_str(), "default")?;
    workload.addresses = addresses;
    // Nobody knows what else is at the address.
    workload.network_mode = NetworkMode::HostNetwork;
    let node = endpoint.node_name.as_deref().unwrap_or_default();
    workload.node = node.into();
    workload.locality = workload::locality_of_node(reader, node);
    if let Some(zone) = endpoint.zone.as_deref().filter(|zone| workload.locality.zone != **zone && !zone.is_empty()) {
        workload.locality = locality_of_zone(reader, zone);
    }
    // Of two ports of one number the first counts.
    let ports: PortMap = ports.into_iter().rev().collect();
    workload.services.extend(clusterset::endpoint(reader, source, &ports));
    workload.services.insert(service.clone(), ports);
    Some((workload, readiness))
}

/// A zone, in the region in which nodes say it is.
fn locality_of_zone(reader: &Reader<'_>, zone: &str) -> Locality {
    let mut nodes = reader.index(By::Zone(zone.into()));
    let region =
        nodes.find_map(|id| reader.node(&id.name).map(|node| node.locality()[0]).filter(|one| !one.is_empty()));
    Locality::new(region.unwrap_or_default(), zone, "")
}
