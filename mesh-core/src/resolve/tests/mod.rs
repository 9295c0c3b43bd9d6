//! Ways through small meshes, by what decides about them.

mod destination;
mod endpoint;
mod gateway;
mod inbound;
mod lookup;
mod missing;
mod ways;

use std::net::IpAddr;

use super::*;
use crate::catalog::{Catalog, Delta};
use crate::name::{Hostname, NamespacedHostname, Network, ServiceAccount, SpiffeId, parse_trust_domain};
use crate::service::{GatewayAddress, GatewayDestination, HBONE_PORT, PortMap, Service, ServicePort};
use crate::workload::{TunnelProtocol, Workload};

fn workload(name: &str, ip: &str) -> Workload {
    let domain = parse_trust_domain("cluster.local").unwrap();
    let mut workload = Workload::new(format!("c1//Pod/shop/{name}"), domain.clone(), "shop", name).unwrap();
    workload.addresses = ip.split(',').filter(|ip| !ip.is_empty()).map(|ip| ip.parse().unwrap()).collect();
    workload.identity = ServiceAccount::new(domain, "shop", name).unwrap();
    workload.tunnel = TunnelProtocol::Hbone;
    workload
}

fn ports(pairs: &[(u16, Option<u16>)]) -> PortMap {
    let port = |(service_port, target_port): &(u16, Option<u16>)| ServicePort {
        service_port: *service_port,
        target_port: *target_port,
        protocol: crate::service::AppProtocol::Unknown,
    };
    pairs.iter().map(port).collect()
}

fn key(name: &str) -> NamespacedHostname {
    NamespacedHostname::new("shop", Hostname::parse(&format!("{name}.shop.svc.cluster.local")).unwrap())
}

fn service(name: &str, vip: &str) -> Service {
    let mut service = Service::new(key(name), name);
    let range = |vip: &str| vip.parse().unwrap_or_else(|_| vip.parse::<IpAddr>().unwrap().into());
    service.vips = vip.split(',').filter(|vip| !vip.is_empty()).map(|vip| (Network::default(), range(vip))).collect();
    service.ports = ports(&[(80, Some(8080))]);
    service
}

fn member(mut workload: Workload, of: &str) -> Workload {
    workload.services.insert(key(of), PortMap::default());
    workload
}

fn catalog(workloads: Vec<Workload>, services: Vec<Service>) -> Catalog {
    let mut delta = Delta::new();
    workloads.into_iter().for_each(|workload| delta.upsert_workload(workload));
    services.into_iter().for_each(|service| delta.upsert_service(service));
    Catalog::default().apply(delta)
}

fn go(catalog: &Catalog, destination: &str) -> Result<Resolution, Refusal> {
    go_as(catalog, &workload("client", "10.0.0.99"), destination, 7)
}

fn go_as(catalog: &Catalog, source: &Workload, destination: &str, seed: u64) -> Result<Resolution, Refusal> {
    let destination = destination.parse().unwrap();
    outbound(catalog, &Outbound::new(source, &Network::default(), &destination), seed)
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap()
}

fn hbone(to: &str, authority: &str, expected: &[&str]) -> Hop {
    Hop::Hbone(Tunnel {
        to: to.parse().unwrap(),
        authority: authority.parse().unwrap(),
        expected: expected.iter().map(|name| id(name)).collect(),
    })
}

fn refusal(result: Result<Resolution, Refusal>) -> Reason {
    result.expect_err("must be refused").reason
}

fn waypoint_reference(host: &str) -> GatewayAddress {
    GatewayAddress { destination: GatewayDestination::Hostname(key(host)), hbone_port: HBONE_PORT }
}

fn waypoint_service() -> Service {
    let mut service = service("wp", "10.96.0.9");
    service.ports = ports(&[(HBONE_PORT, Some(HBONE_PORT))]);
    service
}

#[test]
fn reasons_are_distinct_words() {
    let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}
