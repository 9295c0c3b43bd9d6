use mesh_core::name::{
    Hostname, Locality, NamespacedHostname, ServiceAccount, SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain,
};
use mesh_core::service::{
    AppProtocol, GatewayAddress, GatewayDestination, HBONE_PORT, HealthPolicy, IpFamilies, LoadBalancing, Mode,
    PortMap, Scope, Service, ServicePort, Visibility,
};
use mesh_core::workload::{
    ApplicationProtocol, ApplicationTunnel, Health, NetworkMode, TunnelProtocol, Workload, WorkloadKind,
};
use prost::Message;

use super::{Error, ip, name};
use crate::pb::UInt32Value;
use crate::proto::workload as wire;
use crate::proto::workload::address::Type;
use crate::proto::workload::gateway_address::Destination;

/// Trust domain of a workload whose record names none.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// An `istio.workload.Address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A workload.
    Workload(Box<Workload>),
    /// A service.
    Service(Box<Service>),
}

/// Reads an `istio.workload.Address`.
///
/// # Errors
/// [`Error`], naming the field.
pub fn decode_address(bytes: &[u8]) -> Result<Address, Error> {
    let message = wire::Address::decode(bytes).map_err(|error| Error::Malformed(error.to_string()))?;
    match message.r#type.ok_or(Error::Missing("type"))? {
        Type::Workload(workload) => decode_workload(&workload).map(|workload| Address::Workload(Box::new(workload))),
        Type::Service(service) => decode_service(&service).map(|service| Address::Service(Box::new(service))),
    }
}

fn decode_workload(message: &wire::Workload) -> Result<Workload, Error> {
    if message.uid.is_empty() {
        return Err(Error::Missing("uid"));
    }
    let invalid = |field| move |source| Error::Name { field, source };
    let domain = default(&message.trust_domain, DEFAULT_TRUST_DOMAIN);
    let domain: TrustDomain = parse_trust_domain(domain).map_err(invalid("trust_domain"))?;
    let account = default(&message.service_account, "default");
    let identity =
        ServiceAccount::new(domain.clone(), &message.namespace, account).map_err(invalid("service_account"))?;

    let mut workload =
        Workload::new(message.uid.as_str(), domain, &message.namespace, &message.name).map_err(invalid("namespace"))?;
    workload.identity = identity;
    workload.addresses =
        message.addresses.iter().map(|bytes| ip::decode("addresses", bytes)).collect::<Result<_, _>>()?;
    workload.hostname = optional_hostname("hostname", &message.hostname)?;
    workload.network = message.network.as_str().into();
    workload.tunnel = match wire::TunnelProtocol::try_from(message.tunnel_protocol) {
        Ok(wire::TunnelProtocol::None) => TunnelProtocol::None,
        Ok(wire::TunnelProtocol::Hbone) => TunnelProtocol::Hbone,
        _ => return Err(Error::Enumeration { field: "tunnel_protocol", value: message.tunnel_protocol }),
    };
    workload.waypoint = optional_gateway("waypoint", message.waypoint.as_ref())?;
    workload.network_gateway = optional_gateway("network_gateway", message.network_gateway.as_ref())?;
    workload.node = message.node.as_str().into();
    workload.canonical_name = message.canonical_name.as_str().into();
    workload.canonical_revision = message.canonical_revision.as_str().into();
    // For telemetry only: an unknown kind is no reason to lose the workload.
    workload.kind = match wire::WorkloadType::try_from(message.workload_type) {
        Ok(wire::WorkloadType::Cronjob) => WorkloadKind::CronJob,
        Ok(wire::WorkloadType::Pod) => WorkloadKind::Pod,
        Ok(wire::WorkloadType::Job) => WorkloadKind::Job,
        _ => WorkloadKind::Deployment,
    };
    workload.workload_name = message.workload_name.as_str().into();
    workload.native_tunnel = message.native_tunnel;
    workload.policies = message
        .authorization_policies
        .iter()
        .map(|text| name("authorization_policies", text))
        .collect::<Result<_, _>>()?;
    workload.health = match wire::WorkloadStatus::try_from(message.status) {
        Ok(wire::WorkloadStatus::Healthy) => Health::Healthy,
        // A status that is not known is not known to be good.
        _ => Health::Unhealthy,
    };
    workload.cluster_id = default(&message.cluster_id, "Kubernetes").into();
    if let Some(locality) = &message.locality {
        workload.locality = Locality::new(&locality.region, &locality.zone, &locality.subzone);
    }
    workload.network_mode = match wire::NetworkMode::try_from(message.network_mode) {
        Ok(wire::NetworkMode::Standard) => NetworkMode::Standard,
        Ok(wire::NetworkMode::HostNetwork) => NetworkMode::HostNetwork,
        Err(_) => return Err(Error::Enumeration { field: "network_mode", value: message.network_mode }),
    };
    workload.application_tunnel = message.application_tunnel.as_ref().map(decode_application_tunnel).transpose()?;
    workload.capacity = message.capacity.as_ref().map_or(1, |capacity| capacity.value);
    for (key, ports) in &message.services {
        let key: NamespacedHostname = name("services", key)?;
        workload.services.insert(key, decode_ports(&ports.ports)?);
    }
    Ok(workload)
}

fn decode_service(message: &wire::Service) -> Result<Service, Error> {
    if message.namespace.is_empty() {
        return Err(Error::Missing("namespace"));
    }
    let hostname: Hostname = name("hostname", &message.hostname)?;
    let key = NamespacedHostname::new(message.namespace.as_str(), hostname);
    let mut service = Service::new(key, message.name.as_str());
    for address in &message.addresses {
        let host = ip::decode("addresses", &address.address)?;
        let range = match address.length {
            Some(length) => ip::decode_range("addresses", &address.address, length)?,
            None => host.into(),
        };
        service.vips.push((address.network.as_str().into(), range));
    }
    service.ports = decode_ports(&message.ports)?;
    let identity =
        |text: &String| parse_spiffe_id(text).map_err(|source| Error::Name { field: "subject_alt_names", source });
    service.subject_alt_names = message.subject_alt_names.iter().map(identity).collect::<Result<_, _>>()?;
    service.waypoint = optional_gateway("waypoint", message.waypoint.as_ref())?;
    for weighted in &message.weighted_waypoints {
        let gateway = optional_gateway("weighted_waypoints", weighted.destination.as_ref())?;
        let gateway = gateway.ok_or(Error::Missing("weighted_waypoints.destination"))?;
        service.weighted_waypoints.push((gateway, weighted.weight));
    }
    service.load_balancing = message.load_balancing.as_ref().map(decode_balancing).transpose()?.unwrap_or_default();
    service.ip_families = match wire::IpFamilies::try_from(message.ip_families) {
        Ok(wire::IpFamilies::Ipv4Only) => IpFamilies::Ipv4Only,
        Ok(wire::IpFamilies::Ipv6Only) => IpFamilies::Ipv6Only,
        Ok(wire::IpFamilies::Dual) => IpFamilies::Dual,
        _ => IpFamilies::Automatic,
    };
    service.canonical = message.canonical;
    service.ingress_use_waypoint = message.ingress_use_waypoint;
    service.visibility = match wire::service::Visibility::try_from(message.visibility) {
        Ok(wire::service::Visibility::Namespace) => Visibility::Namespace,
        _ => Visibility::Public,
    };
    Ok(service)
}

fn decode_balancing(message: &wire::LoadBalancing) -> Result<LoadBalancing, Error> {
    use wire::load_balancing as lb;
    let scope = |value: &i32| match lb::Scope::try_from(*value) {
        Ok(lb::Scope::Region) => Ok(Scope::Region),
        Ok(lb::Scope::Zone) => Ok(Scope::Zone),
        Ok(lb::Scope::Subzone) => Ok(Scope::Subzone),
        Ok(lb::Scope::Node) => Ok(Scope::Node),
        Ok(lb::Scope::Cluster) => Ok(Scope::Cluster),
        Ok(lb::Scope::Network) => Ok(Scope::Network),
        _ => Err(Error::Enumeration { field: "routing_preference", value: *value }),
    };
    Ok(LoadBalancing {
        preference: message.routing_preference.iter().map(scope).collect::<Result<_, _>>()?,
        mode: match lb::Mode::try_from(message.mode) {
            Ok(lb::Mode::UnspecifiedMode) => Mode::Any,
            Ok(lb::Mode::Strict) => Mode::Strict,
            Ok(lb::Mode::Failover) => Mode::Failover,
            Ok(lb::Mode::Passthrough) => Mode::Passthrough,
            Err(_) => return Err(Error::Enumeration { field: "mode", value: message.mode }),
        },
        health_policy: match lb::HealthPolicy::try_from(message.health_policy) {
            Ok(lb::HealthPolicy::AllowAll) => HealthPolicy::AllowAll,
            _ => HealthPolicy::OnlyHealthy,
        },
    })
}

fn decode_ports(ports: &[wire::Port]) -> Result<PortMap, Error> {
    let one = |port: &wire::Port| {
        let service_port = self::port("service_port", port.service_port)?;
        let service_port = service_port.ok_or(Error::Port { field: "service_port", value: 0 })?;
        let protocol = match wire::AppProtocol::try_from(port.app_protocol) {
            Ok(wire::AppProtocol::Http11) => AppProtocol::Http11,
            Ok(wire::AppProtocol::Http2) => AppProtocol::Http2,
            Ok(wire::AppProtocol::Grpc) => AppProtocol::Grpc,
            Ok(wire::AppProtocol::Tcp) => AppProtocol::Tcp,
            Ok(wire::AppProtocol::Tls) => AppProtocol::Tls,
            _ => AppProtocol::Unknown,
        };
        Ok(ServicePort { service_port, target_port: self::port("target_port", port.target_port)?, protocol })
    };
    ports.iter().map(one).collect()
}

/// A port; 0 is none.
fn port(field: &'static str, value: u32) -> Result<Option<u16>, Error> {
    u16::try_from(value).map(|port| Some(port).filter(|port| *port != 0)).map_err(|_| Error::Port { field, value })
}

fn decode_application_tunnel(message: &wire::ApplicationTunnel) -> Result<ApplicationTunnel, Error> {
    use wire::application_tunnel::Protocol;
    let protocol = match Protocol::try_from(message.protocol) {
        Ok(Protocol::None) => ApplicationProtocol::None,
        Ok(Protocol::Proxy) => ApplicationProtocol::Proxy,
        Err(_) => return Err(Error::Enumeration { field: "application_tunnel", value: message.protocol }),
    };
    Ok(ApplicationTunnel { protocol, port: port("application_tunnel.port", message.port)? })
}

fn optional_gateway(
    field: &'static str,
    message: Option<&wire::GatewayAddress>,
) -> Result<Option<GatewayAddress>, Error> {
    let Some(message) = message else { return Ok(None) };
    let destination = match message.destination.as_ref().ok_or(Error::Missing(field))? {
        Destination::Hostname(key) => {
            let hostname = name(field, &key.hostname)?;
            GatewayDestination::Hostname(NamespacedHostname::new(key.namespace.as_str(), hostname))
        }
        Destination::Address(address) => {
            GatewayDestination::Address(address.network.as_str().into(), ip::decode(field, &address.address)?)
        }
    };
    let hbone_port = port(field, message.hbone_mtls_port)?.unwrap_or(HBONE_PORT);
    Ok(Some(GatewayAddress { destination, hbone_port }))
}

fn optional_hostname(field: &'static str, text: &str) -> Result<Option<Hostname>, Error> {
    if text.is_empty() { Ok(None) } else { name(field, text).map(Some) }
}

fn default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// Writes a workload as `istio.workload.Address`.
#[must_use]
pub fn encode_workload(workload: &Workload) -> Vec<u8> {
    let domain = workload.identity.trust_domain().as_str();
    let message = wire::Workload {
        name: workload.name.to_string(),
        namespace: workload.namespace.to_string(),
        addresses: workload.addresses.iter().copied().map(ip::encode).collect(),
        network: workload.network.to_string(),
        tunnel_protocol: match workload.tunnel {
            TunnelProtocol::Hbone => wire::TunnelProtocol::Hbone,
            _ => wire::TunnelProtocol::None,
        }
        .into(),
        // As istiod does: the default is left out.
        trust_domain: if domain == DEFAULT_TRUST_DOMAIN { String::new() } else { domain.to_owned() },
        service_account: workload.identity.name().to_string(),
        waypoint: workload.waypoint.as_ref().map(encode_gateway),
        node: workload.node.to_string(),
        canonical_name: workload.canonical_name.to_string(),
        canonical_revision: workload.canonical_revision.to_string(),
        workload_type: match workload.kind {
            WorkloadKind::CronJob => wire::WorkloadType::Cronjob,
            WorkloadKind::Pod => wire::WorkloadType::Pod,
            WorkloadKind::Job => wire::WorkloadType::Job,
            _ => wire::WorkloadType::Deployment,
        }
        .into(),
        workload_name: workload.workload_name.to_string(),
        native_tunnel: workload.native_tunnel,
        authorization_policies: workload.policies.iter().map(ToString::to_string).collect(),
        status: match workload.health {
            Health::Healthy => wire::WorkloadStatus::Healthy,
            _ => wire::WorkloadStatus::Unhealthy,
        }
        .into(),
        cluster_id: workload.cluster_id.to_string(),
        network_gateway: workload.network_gateway.as_ref().map(encode_gateway),
        uid: workload.uid.to_string(),
        hostname: workload.hostname.as_ref().map(ToString::to_string).unwrap_or_default(),
        services: workload.services.iter().map(|(key, ports)| (key.to_string(), encode_ports(ports))).collect(),
        application_tunnel: workload.application_tunnel.map(encode_application_tunnel),
        locality: (!workload.locality.is_empty()).then(|| wire::Locality {
            region: workload.locality.region.to_string(),
            zone: workload.locality.zone.to_string(),
            subzone: workload.locality.subzone.to_string(),
        }),
        network_mode: match workload.network_mode {
            NetworkMode::HostNetwork => wire::NetworkMode::HostNetwork,
            _ => wire::NetworkMode::Standard,
        }
        .into(),
        extensions: Vec::new(),
        capacity: (workload.capacity != 1).then_some(UInt32Value { value: workload.capacity }),
    };
    wire::Address { r#type: Some(Type::Workload(message)) }.encode_to_vec()
}

/// Writes a service as `istio.workload.Address`.
#[must_use]
pub fn encode_service(service: &Service) -> Vec<u8> {
    let vip = |(network, range): &(mesh_core::name::Network, ipnet::IpNet)| wire::NetworkAddress {
        network: network.to_string(),
        address: ip::encode(range.addr()),
        length: (range.prefix_len() < range.max_prefix_len()).then(|| u32::from(range.prefix_len())),
    };
    let weighted = |(gateway, weight): &(GatewayAddress, u32)| wire::WeightedWaypoint {
        destination: Some(encode_gateway(gateway)),
        weight: *weight,
    };
    let message = wire::Service {
        name: service.name.to_string(),
        namespace: service.key.namespace.to_string(),
        hostname: service.key.hostname.to_string(),
        addresses: service.vips.iter().map(vip).collect(),
        ports: encode_ports(&service.ports).ports,
        subject_alt_names: service.subject_alt_names.iter().map(SpiffeId::to_string).collect(),
        waypoint: service.waypoint.as_ref().map(encode_gateway),
        load_balancing: encode_balancing(&service.load_balancing),
        ip_families: match service.ip_families {
            IpFamilies::Ipv4Only => wire::IpFamilies::Ipv4Only,
            IpFamilies::Ipv6Only => wire::IpFamilies::Ipv6Only,
            IpFamilies::Dual => wire::IpFamilies::Dual,
            _ => wire::IpFamilies::Automatic,
        }
        .into(),
        extensions: Vec::new(),
        canonical: service.canonical,
        ingress_use_waypoint: service.ingress_use_waypoint,
        weighted_waypoints: service.weighted_waypoints.iter().map(weighted).collect(),
        visibility: match service.visibility {
            Visibility::Namespace => wire::service::Visibility::Namespace,
            _ => wire::service::Visibility::Public,
        }
        .into(),
    };
    wire::Address { r#type: Some(Type::Service(message)) }.encode_to_vec()
}

fn encode_balancing(balancing: &LoadBalancing) -> Option<wire::LoadBalancing> {
    use wire::load_balancing as lb;
    let scope = |scope: &Scope| match scope {
        Scope::Zone => lb::Scope::Zone,
        Scope::Subzone => lb::Scope::Subzone,
        Scope::Node => lb::Scope::Node,
        Scope::Cluster => lb::Scope::Cluster,
        Scope::Network => lb::Scope::Network,
        _ => lb::Scope::Region,
    };
    (*balancing != LoadBalancing::default()).then(|| wire::LoadBalancing {
        routing_preference: balancing.preference.iter().map(|entry| scope(entry).into()).collect(),
        mode: match balancing.mode {
            Mode::Strict => lb::Mode::Strict,
            Mode::Failover => lb::Mode::Failover,
            Mode::Passthrough => lb::Mode::Passthrough,
            _ => lb::Mode::UnspecifiedMode,
        }
        .into(),
        health_policy: match balancing.health_policy {
            HealthPolicy::AllowAll => lb::HealthPolicy::AllowAll,
            _ => lb::HealthPolicy::OnlyHealthy,
        }
        .into(),
    })
}

fn encode_ports(ports: &PortMap) -> wire::PortList {
    let one = |port: &ServicePort| wire::Port {
        service_port: u32::from(port.service_port),
        target_port: port.target_port.map_or(0, u32::from),
        app_protocol: match port.protocol {
            AppProtocol::Http11 => wire::AppProtocol::Http11,
            AppProtocol::Http2 => wire::AppProtocol::Http2,
            AppProtocol::Grpc => wire::AppProtocol::Grpc,
            AppProtocol::Tcp => wire::AppProtocol::Tcp,
            AppProtocol::Tls => wire::AppProtocol::Tls,
            _ => wire::AppProtocol::Unknown,
        }
        .into(),
    };
    wire::PortList { ports: ports.iter().map(one).collect() }
}

fn encode_application_tunnel(tunnel: ApplicationTunnel) -> wire::ApplicationTunnel {
    use wire::application_tunnel::Protocol;
    let protocol = match tunnel.protocol {
        ApplicationProtocol::Proxy => Protocol::Proxy,
        _ => Protocol::None,
    };
    wire::ApplicationTunnel { protocol: protocol.into(), port: tunnel.port.map_or(0, u32::from) }
}

fn encode_gateway(gateway: &GatewayAddress) -> wire::GatewayAddress {
    let destination = match &gateway.destination {
        GatewayDestination::Hostname(key) => Some(Destination::Hostname(wire::NamespacedHostname {
            namespace: key.namespace.to_string(),
            hostname: key.hostname.to_string(),
        })),
        GatewayDestination::Address(network, address) => Some(Destination::Address(wire::NetworkAddress {
            network: network.to_string(),
            address: ip::encode(*address),
            length: None,
        })),
        _ => None,
    };
    wire::GatewayAddress { destination, hbone_mtls_port: u32::from(gateway.hbone_port) }
}
