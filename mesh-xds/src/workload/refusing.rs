use mesh_core::name::{Hostname, NamespacedHostname, Network, ServiceAccount, parse_trust_domain};
use mesh_core::service::Service;
use mesh_core::workload::{Health, TunnelProtocol, Workload};
use prost::Message;

use super::Address;
use super::ip::decode as decode_ip;
use crate::proto::workload as wire;

/// A trust domain of which nobody has a certificate (RFC 6761 keeps the name free).
const NOBODY: &str = "rejected.invalid";

/// What stands in for a workload or service that was rejected and of which there is no earlier version: the same addresses,
/// and nobody who could be reached at them. Without it they would be addresses outside the mesh, to which plaintext goes.
///
/// `None` when the bytes tell no address.
#[must_use]
pub fn refusing_address(name: &str, body: &[u8]) -> Option<Address> {
    match wire::Address::decode(body).ok()?.r#type? {
        wire::address::Type::Workload(message) => workload(name, &message).map(Box::new).map(Address::Workload),
        wire::address::Type::Service(message) => service(name, &message).map(Box::new).map(Address::Service),
    }
}

fn workload(name: &str, message: &wire::Workload) -> Option<Workload> {
    let domain = parse_trust_domain(NOBODY).ok()?;
    let mut workload = Workload::new(name, domain.clone(), "rejected", &message.name).ok()?;
    workload.addresses = message.addresses.iter().filter_map(|bytes| decode_ip("addresses", bytes).ok()).collect();
    workload.network = Network::from(message.network.as_str());
    workload.tunnel = TunnelProtocol::Hbone;
    workload.health = Health::Unhealthy;
    workload.identity = ServiceAccount::new(domain, "rejected", "rejected").ok()?;
    (!workload.addresses.is_empty()).then_some(workload)
}

fn service(name: &str, message: &wire::Service) -> Option<Service> {
    let (namespace, hostname) = name.split_once('/')?;
    let mut service =
        Service::new(NamespacedHostname::new(namespace, Hostname::parse(hostname).ok()?), message.name.as_str());
    service.vips = message
        .addresses
        .iter()
        .filter_map(|address| {
            let ip = decode_ip("addresses", &address.address).ok()?;
            let full = if ip.is_ipv4() { 32 } else { 128 };
            let length = address.length.and_then(|length| u8::try_from(length).ok()).unwrap_or(full).min(full);
            Some((Network::from(address.network.as_str()), ipnet::IpNet::new(ip, length).ok()?))
        })
        .collect();
    Some(service)
}
