//! Kubernetes' own kinds, as far as they are honoured.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::finding::Faults;
use crate::resource::{EndpointSlice, IntOrString, Pod, Service, ServiceSpec};

use super::metadata::is_label;

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// A Service by itself.
pub(super) fn service(service: &Service, faults: &mut Faults<'_>) {
    let ServiceSpec { r#type, cluster_ip, cluster_ips, ports, internal_traffic_policy, traffic_distribution, .. } =
        &service.spec;
    let r#type = r#type.as_deref().unwrap_or("ClusterIP");
    faults.one_of("type", Some(r#type), &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]);
    let mut address = |field: &str, ip: &str| {
        if !matches!(ip, "" | "None") && ip.parse::<IpAddr>().is_err() {
            faults.error(field, format_args!("`{ip}` is no IP address"));
        }
    };
    address("clusterIP", cluster_ip.as_deref().unwrap_or_default());
    for (index, ip) in cluster_ips.iter().enumerate() {
        address(&format!("clusterIPs[{index}]"), ip);
    }
    if let (Some(ip), Some(first)) = (cluster_ip, cluster_ips.first())
        && ip != first
    {
        faults.error("clusterIPs[0]", format_args!("is not `clusterIP`, `{ip}`"));
    }
    faults.one_of("internalTrafficPolicy", internal_traffic_policy.as_deref(), &["Cluster", "Local"]);
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    faults.one_of("trafficDistribution", traffic_distribution.as_deref(), &distributions);
    for (index, family) in service.spec.ip_families.iter().enumerate() {
        faults.one_of(&format!("ipFamilies[{index}]"), Some(family), &["IPv4", "IPv6"]);
    }
    let headless = cluster_ip.as_deref() == Some("None");
    if ports.is_empty() && !headless && r#type != "ExternalName" {
        faults.warning("ports", "there is none; nothing is reached by it, and an API server refuses it");
    }
    faults.each("ports", ports, |faults, port| {
        faults.port("port", port.port);
        faults.one_of("protocol", port.protocol.as_deref(), &PROTOCOLS);
        match &port.name {
            name if name.is_empty() && ports.len() > 1 => faults.error("name", "is missing; there are several ports"),
            name if !name.is_empty() && !is_label(name) => {
                faults.error("name", format_args!("`{name}` is not a DNS label of at most 63 characters"));
            }
            _ => {}
        }
        match &port.target_port {
            Some(IntOrString::Int(0)) => faults.error("targetPort", "0 is no port"),
            Some(IntOrString::String(name)) if !is_port_name(name) => {
                faults.error("targetPort", format_args!("`{name}` is neither a port nor the name of one"));
            }
            _ => {}
        }
    });
    faults.distinct("ports", ports.iter().map(|port| &port.name).filter(|name| !name.is_empty()), "name");
    let places = ports.iter().map(|port| (port.port, port.protocol.as_deref().unwrap_or("TCP")));
    faults.distinct("ports", places, "port and protocol");
}

/// The name of a port of a container (RFC 6335).
fn is_port_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_letter = name.bytes().any(|byte| byte.is_ascii_lowercase());
    let edges = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    (1..=15).contains(&name.len()) && name.bytes().all(inner) && has_letter && !edges
}

/// The addresses of a pod. What is said is said of its status.
pub(super) fn pod_status(pod: &Pod, faults: &mut Faults<'_>) {
    let is_address = |ip: &str| ip.is_empty() || ip.parse::<IpAddr>().is_ok();
    if let Some(ip) = pod.status.pod_ip.as_deref().filter(|ip| !is_address(ip)) {
        faults.error("podIP", format_args!("`{ip}` is no IP address"));
    }
    for (index, ip) in pod.status.pod_ips.iter().enumerate().filter(|(_, ip)| !is_address(&ip.ip)) {
        faults.error(format_args!("podIPs[{index}].ip"), format_args!("`{}` is no IP address", ip.ip));
    }
}

/// An EndpointSlice by itself. What is said is said of the whole.
pub(super) fn endpoint_slice(slice: &EndpointSlice, faults: &mut Faults<'_>) {
    faults.one_of("addressType", Some(&slice.address_type), &["IPv4", "IPv6", "FQDN"]);
    faults.at_most("endpoints", slice.endpoints.len(), 1000);
    faults.at_most("ports", slice.ports.len(), 20_000);
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        if !(1..=100).contains(&endpoint.addresses.len()) {
            faults.error(format_args!("endpoints[{index}].addresses"), "there must be 1 to 100");
        }
        let is_address = |text: &str| match slice.address_type.as_str() {
            "IPv4" => text.parse::<Ipv4Addr>().is_ok(),
            "IPv6" => text.parse::<Ipv6Addr>().is_ok(),
            _ => true,
        };
        for address in endpoint.addresses.iter().filter(|address| !is_address(address)) {
            let kind = &slice.address_type;
            faults
                .error(format_args!("endpoints[{index}].addresses"), format_args!("`{address}` is no {kind} address"));
        }
    }
    let names: Vec<_> = slice.ports.iter().map(|port| &port.name).collect();
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        faults.error("ports", "two have one name");
    }
    faults.each("ports", &slice.ports, |faults, port| {
        faults.one_of("protocol", port.protocol.as_deref(), &PROTOCOLS);
    });
    for (index, _) in slice.ports.iter().enumerate().filter(|(_, port)| port.port == Some(0)) {
        faults.error(format_args!("ports[{index}].port"), "0 is no port");
    }
}
