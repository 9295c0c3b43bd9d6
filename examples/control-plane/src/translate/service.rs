use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::name::{Hostname, NamespacedHostname, Network, parse_spiffe_id};
use mesh_core::service::{
    AppProtocol, HealthPolicy, IpFamilies, LoadBalancing, Mode, Scope, Service, ServicePort, Visibility,
};

use super::binding::{self, Object, Traffic};
use super::facts::{Reader, is_automatic};
use super::{Place, clusterset};
use crate::resource::{self, Kind, ObjectId};
use crate::world::Lookup;

/// Annotation of a service or namespace: which endpoints are preferred.
pub(crate) const DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// The services that a Service or ServiceEntry declares.
pub(super) fn declared(reader: &Reader<'_>, id: &ObjectId) -> Vec<Service> {
    let (mut services, metadata) = match id.kind {
        Kind::Service => match reader.service_object(&id.name) {
            Some(source) => (from_kubernetes(reader, source), &source.metadata),
            None => return Vec::new(),
        },
        Kind::ServiceImport => match reader.import(&id.name) {
            Some(import) => (clusterset::imported(reader, &id.name).into_iter().collect(), &import.metadata),
            None => return Vec::new(),
        },
        _ => match reader.service_entry(&id.name) {
            Some(entry) => (from_entry(reader, entry), &entry.metadata),
            None => return Vec::new(),
        },
    };
    for service in &mut services {
        bind(reader, service, metadata);
    }
    services
}

fn bind(reader: &Reader<'_>, service: &mut Service, metadata: &resource::Metadata) {
    let place = reader.place();
    let bound = binding::bound(reader, Object::new(Traffic::Service, metadata));
    let Some(primary) = bound.waypoint.map(|key| binding::address(reader, place, &key)) else { return };
    if let Some((key, weight)) = bound.canary {
        let shares = [(primary.clone(), 100 - weight), (binding::address(reader, place, &key), weight)];
        service.weighted_waypoints = shares.into();
    }
    service.waypoint = Some(primary);
}

/// The key of a Kubernetes service; `None` for an ExternalName, which has no endpoints.
pub(crate) fn key(service: &resource::Service, place: &Place) -> Option<NamespacedHostname> {
    if is_external_name(service) {
        return None;
    }
    let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
    let hostname = Hostname::parse(&format!("{name}.{namespace}.svc.{}", place.cluster_domain)).ok()?;
    Some(NamespacedHostname::new(namespace.as_str(), hostname))
}

/// Whether a service is a name for another, and nothing else.
pub(super) fn is_external_name(service: &resource::Service) -> bool {
    service.spec.r#type.as_deref() == Some("ExternalName")
}

/// The keys of a ServiceEntry, one per host.
pub(super) fn entry_keys(entry: &resource::ServiceEntry) -> impl Iterator<Item = NamespacedHostname> + '_ {
    let namespace = entry.metadata.namespace.as_str();
    let hosts = entry.spec.hosts.iter().filter_map(|host| Hostname::parse(host).ok());
    hosts.map(move |host| NamespacedHostname::new(namespace, host))
}

/// A Service, and the service of the cluster set that it is too, if it is exported.
fn from_kubernetes(reader: &Reader<'_>, source: &resource::Service) -> Vec<Service> {
    let place = reader.place();
    let Some(key) = key(source, place) else { return Vec::new() };
    let mut service = Service::new(key, source.metadata.name.as_str());
    let spec = &source.spec;
    let first = spec.cluster_ip.iter().filter(|_| spec.cluster_ips.is_empty());
    for ip in first.chain(&spec.cluster_ips).filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        service.vips.push((Network::from(place.network.as_str()), IpNet::from(ip)));
    }
    service.ports = spec
        .ports
        .iter()
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .map(|port| ServicePort {
            service_port: port.port,
            target_port: match &port.target_port {
                None => Some(port.port),
                Some(resource::IntOrString::Int(number)) => Some(*number),
                // Each endpoint knows its own port of this name.
                Some(resource::IntOrString::String(_)) => None,
            },
            protocol: protocol(port.app_protocol.as_deref(), &port.name),
        })
        .collect();
    service.canonical = true;
    service.load_balancing = LoadBalancing {
        health_policy: match spec.publish_not_ready_addresses {
            true => HealthPolicy::AllowAll,
            false => HealthPolicy::OnlyHealthy,
        },
        ..balancing(reader, &source.metadata, spec)
    };
    service.ip_families = match spec.ip_families.as_slice() {
        [one] if one == "IPv4" => IpFamilies::Ipv4Only,
        [one] if one == "IPv6" => IpFamilies::Ipv6Only,
        [_, _] => IpFamilies::Dual,
        _ => IpFamilies::Automatic,
    };
    let exported = clusterset::exported(reader, source, &service);
    [service].into_iter().chain(exported).collect()
}

fn from_entry(reader: &Reader<'_>, source: &resource::ServiceEntry) -> Vec<Service> {
    let network = Network::from(reader.place().network.as_str());
    let spec = &source.spec;
    let passthrough = spec.resolution.as_deref().unwrap_or("NONE") == "NONE";
    entry_keys(source)
        .map(|key| {
            let mut service = Service::new(key, source.metadata.name.as_str());
            let ranges = spec
                .addresses
                .iter()
                .filter_map(|text| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)));
            service.vips = ranges.map(|range| (network.clone(), range)).collect();
            if is_automatic(source, service.key.hostname.as_str()) {
                let given = reader.vips(&service.key).into_iter();
                service.vips = given.map(|ip| (network.clone(), IpNet::from(ip))).collect();
            }
            service.load_balancing = balancing(reader, &source.metadata, &resource::ServiceSpec::default());
            service.ports = spec
                .ports
                .iter()
                .map(|port| ServicePort {
                    service_port: port.number,
                    target_port: Some(port.target_port.unwrap_or(port.number)),
                    protocol: protocol(port.protocol.as_deref(), &port.name),
                })
                .collect();
            service.subject_alt_names =
                spec.subject_alt_names.iter().filter_map(|name| parse_spiffe_id(name).ok()).collect();
            if passthrough {
                service.load_balancing = LoadBalancing {
                    preference: Vec::new(),
                    mode: Mode::Passthrough,
                    health_policy: HealthPolicy::AllowAll,
                };
            }
            if spec.export_to.iter().any(|scope| scope == ".") {
                service.visibility = Visibility::Namespace;
            }
            service
        })
        .collect()
}

/// By the service itself, else by its annotation, else by that of its namespace.
fn balancing(reader: &Reader<'_>, metadata: &resource::Metadata, spec: &resource::ServiceSpec) -> LoadBalancing {
    let of_namespace = reader.namespace(&metadata.namespace).map(|namespace| &namespace.metadata.annotations);
    let annotated = || {
        let said_by = [Some(&metadata.annotations), of_namespace].into_iter().flatten();
        said_by.filter_map(|annotations| annotations.get(DISTRIBUTION)).next()
    };
    let distribution = spec.traffic_distribution.as_ref().or_else(annotated).map(|text| text.to_ascii_lowercase());
    let (mode, preference) = match distribution.as_deref() {
        _ if spec.internal_traffic_policy.as_deref() == Some("Local") => (Mode::Strict, vec![Scope::Node]),
        Some("preferclose" | "prefersamezone") => (Mode::Failover, vec![Scope::Network, Scope::Region, Scope::Zone]),
        Some("prefersamenode") => {
            (Mode::Failover, vec![Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node])
        }
        _ => (Mode::Any, Vec::new()),
    };
    LoadBalancing { preference, mode, ..LoadBalancing::default() }
}

pub(crate) fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol != "UDP" && protocol != "SCTP")
}

/// The protocol of a port: declared, or by the prefix of its name.
pub(crate) fn protocol(declared: Option<&str>, name: &str) -> AppProtocol {
    let prefix = name.split('-').next().unwrap_or_default();
    match declared.unwrap_or(prefix).to_ascii_lowercase().as_str() {
        "http" | "http1" | "kubernetes.io/ws" => AppProtocol::Http11,
        "http2" | "h2c" | "kubernetes.io/h2c" => AppProtocol::Http2,
        "grpc" | "grpc-web" => AppProtocol::Grpc,
        "https" | "tls" => AppProtocol::Tls,
        "tcp" => AppProtocol::Tcp,
        _ => AppProtocol::Unknown,
    }
}
