//! Services of the cluster set (KEP-1645): one that a ServiceExport offers has a second name,
//! `<service>.<namespace>.svc.clusterset.local`, with addresses of its own.
//!
//! The service behind the name is what a ServiceImport says, as far as there is one; else what the Service says. Its
//! endpoints are those of the Service here, if it is exported; others come from elsewhere. Whoever protects the Service
//! protects both names: it is bound to the same waypoint, and policies that name the Service are for both. Routes are
//! for the name that they have as parent: Service or ServiceImport.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mesh_core::name::{Hostname, NamespacedHostname, NamespacedName, Network};
use mesh_core::service::{PortMap, Service, ServicePort};

use super::facts::Reader;
use super::service::{is_external_name, is_tcp, protocol};
use crate::resource::{self, ImportPort, Kind, ObjectId, ServiceImport};
use crate::world::World;

/// API group of ServiceExport and ServiceImport.
pub(crate) const GROUP: &str = "multicluster.x-k8s.io";

/// What names of services of the cluster set end with.
const DOMAIN: &str = "clusterset.local";

/// The key of the service that an export or import is about.
pub(crate) fn key(name: &NamespacedName) -> Option<NamespacedHostname> {
    let hostname = Hostname::parse(&format!("{}.{}.svc.{DOMAIN}", name.name, name.namespace)).ok()?;
    Some(NamespacedHostname::new(name.namespace.clone(), hostname))
}

/// Whether a service is one of the cluster set.
pub(super) fn is_of_cluster_set(service: &NamespacedHostname) -> bool {
    service.hostname.as_str().ends_with(&format!(".{}.svc.{DOMAIN}", service.namespace))
}

/// The object that routes name as parent which are for a service that an object declares; none where there is no such
/// object.
pub(super) fn parent(reader: &Reader<'_>, declaring: &ObjectId, service: &NamespacedHostname) -> Option<ObjectId> {
    if declaring.kind == Kind::ServiceEntry || !is_of_cluster_set(service) {
        return Some(declaring.clone());
    }
    reader.import(&declaring.name)?;
    Some(ObjectId { kind: Kind::ServiceImport, name: declaring.name.clone() })
}

/// The service of the cluster set that a Service is: `local` under its other name.
pub(super) fn exported(reader: &Reader<'_>, source: &resource::Service, local: &Service) -> Option<Service> {
    let name = name_of(source);
    reader.export(&name)?;
    let import = reader.import(&name);
    let mut service = local.clone();
    service.key = key(&name)?;
    service.vips = Vec::new();
    set_addresses(reader, &mut service, import, Some(source));
    if let Some(ports) = import.map(ports).filter(|ports| !ports.is_empty()) {
        service.ports = ports;
    }
    Some(service)
}

/// The service of the cluster set that an import is alone, without an export here.
pub(super) fn imported(reader: &Reader<'_>, name: &NamespacedName) -> Option<Service> {
    let import = reader.import(name)?;
    let local = reader.service_object(name).filter(|local| !is_external_name(local));
    if local.is_some() && reader.export(name).is_some() {
        return None;
    }
    let mut service = Service::new(key(name)?, name.name.as_str());
    service.canonical = true;
    service.ports = ports(import);
    set_addresses(reader, &mut service, Some(import), None);
    Some(service)
}

/// The ports of an endpoint of a Service as one of the cluster set; `None` if the Service is not exported.
pub(super) fn endpoint(
    reader: &Reader<'_>,
    source: &resource::Service,
    own: &PortMap,
) -> Option<(NamespacedHostname, PortMap)> {
    let name = name_of(source);
    reader.export(&name)?;
    let key = key(&name)?;
    let Some(import) = reader.import(&name).filter(|import| !import.spec.ports.is_empty()) else {
        return Some((key, own.clone()));
    };
    // What is offered by others alone leads to none of these.
    let offered = |port: &ImportPort| {
        let by_name = source.spec.ports.iter().find(|candidate| candidate.name == port.name);
        let local = by_name.or_else(|| source.spec.ports.iter().find(|candidate| candidate.port == port.port))?;
        Some(ServicePort { service_port: port.port, ..*own.get(local.port)? })
    };
    Some((key, tcp(import).filter_map(offered).collect()))
}

/// Since when a service of the cluster set wants addresses: it is to have some, and nobody gave them. `None` if it does
/// not.
pub(super) fn wants_address(world: &World, name: &NamespacedName) -> Option<Duration> {
    let local = world.services.get(name).map(|(_, local)| local).filter(|local| !is_external_name(local));
    let export = world.exports.get(name).filter(|_| local.is_some()).map(|(_, export)| &export.metadata);
    let import = world.imports.get(name).map(|(_, import)| import);
    let made = export.or_else(|| import.map(|import| &import.metadata))?;
    let has_some = import.is_some_and(|import| !import.spec.ips.is_empty());
    (!has_some && !is_headless(import, local)).then(|| made.created())
}

/// What an import says counts before what the Service says.
fn is_headless(import: Option<&ServiceImport>, local: Option<&resource::Service>) -> bool {
    match import.map(|import| import.spec.r#type.as_str()).filter(|kind| !kind.is_empty()) {
        Some(kind) => kind == "Headless",
        None => local.is_some_and(|local| local.spec.cluster_ip.as_deref() == Some("None")),
    }
}

fn set_addresses(
    reader: &Reader<'_>,
    service: &mut Service,
    import: Option<&ServiceImport>,
    local: Option<&resource::Service>,
) {
    if is_headless(import, local) {
        return;
    }
    let said: Vec<IpAddr> =
        import.iter().flat_map(|import| &import.spec.ips).filter_map(|ip| ip.parse::<IpAddr>().ok()).collect();
    let addresses = if said.is_empty() { reader.vips(&service.key) } else { said };
    let network = Network::from(reader.place().network.as_str());
    service.vips = addresses.into_iter().map(|ip| (network.clone(), IpNet::from(ip))).collect();
}

/// The ports of an import. Each endpoint says to which of its own they lead.
fn ports(import: &ServiceImport) -> PortMap {
    let port = |port: &ImportPort| ServicePort {
        service_port: port.port,
        target_port: None,
        protocol: protocol(port.app_protocol.as_deref(), &port.name),
    };
    tcp(import).map(port).collect()
}

fn tcp(import: &ServiceImport) -> impl Iterator<Item = &ImportPort> {
    import.spec.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()))
}

fn name_of(source: &resource::Service) -> NamespacedName {
    NamespacedName::new(source.metadata.namespace.as_str(), source.metadata.name.as_str())
}
