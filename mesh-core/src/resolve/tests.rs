use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Catalog, Delta};
use crate::name::{Hostname, Locality, NamespacedHostname, Network, ServiceAccount, SpiffeId, parse_trust_domain};
use crate::service::{
    GatewayAddress, GatewayDestination, HBONE_PORT, HealthPolicy, IpFamilies, LoadBalancing, Mode, PortMap, Scope,
    Service, ServicePort, Visibility,
};
use crate::workload::{ApplicationProtocol, ApplicationTunnel, Health, NetworkMode, TunnelProtocol, Workload};

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

#[test]
fn service_by_vip_hostname_and_its_endpoint_by_address() {
    let catalog = catalog(vec![member(workload("a", "10.0.0.1"), "web")], vec![service("web", "10.96.0.1")]);
    let through_service = hbone("10.0.0.1:15008", "10.0.0.1:8080", &["a"]);
    for destination in ["10.96.0.1:80", "web.shop.svc.cluster.local:80", "WEB.shop.svc.cluster.local.:80"] {
        let way = go(&catalog, destination).unwrap();
        assert_eq!((way.hop, way.reason), (through_service.clone(), Reason::ServiceEndpoint), "{destination}");
        assert_eq!(way.service.unwrap().key, key("web"));
    }
    let way = go(&catalog, "10.0.0.1:9999").unwrap();
    assert_eq!((way.hop, way.reason), (hbone("10.0.0.1:15008", "10.0.0.1:9999", &["a"]), Reason::WorkloadAddress));
    assert_eq!(refusal(go(&catalog, "10.96.0.1:81")), Reason::PortNotDefined);
}

#[test]
fn unknown_is_plain_and_known_but_broken_is_refused() {
    let mut sick = member(workload("a", "10.0.0.1"), "web");
    sick.health = Health::Unhealthy;
    let known = catalog(vec![sick.clone()], vec![service("web", "10.96.0.1")]);
    assert_eq!(refusal(go(&known, "10.96.0.1:80")), Reason::NoHealthyUpstream);
    assert_eq!(go(&known, "1.1.1.1:53").unwrap().reason, Reason::UnknownDestination);
    assert_eq!(go(&known, "example.com:443").unwrap().hop, Hop::Plain { to: "example.com:443".parse().unwrap() });

    let mut tolerant = service("web", "10.96.0.1");
    tolerant.load_balancing.health_policy = HealthPolicy::AllowAll;
    assert!(go(&catalog(vec![sick], vec![tolerant]), "10.96.0.1:80").is_ok());
}

#[test]
fn plain_workloads_and_external_names() {
    let mut outside = member(workload("vm", "10.0.0.5"), "web");
    outside.tunnel = TunnelProtocol::None;
    let way = go(&catalog(vec![outside], vec![service("web", "10.96.0.1")]), "10.96.0.1:80").unwrap();
    assert_eq!(way.hop, Hop::Plain { to: "10.0.0.5:8080".parse().unwrap() });

    let mut by_name = member(workload("ext", ""), "web");
    by_name.tunnel = TunnelProtocol::None;
    by_name.hostname = Some(Hostname::parse("api.example.com").unwrap());
    let way = go(&catalog(vec![by_name.clone()], vec![service("web", "10.96.0.1")]), "10.96.0.1:80").unwrap();
    assert_eq!(way.hop, Hop::Plain { to: "api.example.com:8080".parse().unwrap() });

    by_name.tunnel = TunnelProtocol::Hbone;
    let refused = go(&catalog(vec![by_name], vec![service("web", "10.96.0.1")]), "10.96.0.1:80");
    assert_eq!(refusal(refused), Reason::NoAddress);
}

#[test]
fn target_port_by_endpoint_then_service_then_tunnel() {
    let own = |map: PortMap| {
        let mut endpoint = workload("a", "10.0.0.1");
        endpoint.services.insert(key("web"), map);
        endpoint
    };
    let port_of = |endpoint: Workload, service: Service| {
        go(&catalog(vec![endpoint], vec![service]), "10.96.0.1:80").map(|way| match way.hop {
            Hop::Hbone(tunnel) => tunnel.authority.port(),
            other => panic!("{other:?}"),
        })
    };
    let mut named = service("web", "10.96.0.1");
    named.ports = ports(&[(80, None)]);
    assert_eq!(port_of(own(ports(&[(80, Some(9000))])), service("web", "10.96.0.1")), Ok(9000));
    assert_eq!(port_of(own(PortMap::default()), service("web", "10.96.0.1")), Ok(8080));
    assert_eq!(port_of(own(ports(&[(80, Some(9000))])), named.clone()), Ok(9000));
    assert!(port_of(own(PortMap::default()), named.clone()).is_err());
    let mut proxy = own(PortMap::default());
    proxy.application_tunnel = Some(ApplicationTunnel { protocol: ApplicationProtocol::Proxy, port: Some(15088) });
    assert_eq!(port_of(proxy, named), Ok(80));
}

#[test]
fn passthrough_goes_where_it_was_meant_even_to_a_meshed_workload() {
    let mut through = service("web", "10.0.0.1");
    through.load_balancing = LoadBalancing { mode: Mode::Passthrough, ..LoadBalancing::default() };
    let way = go(&catalog(vec![workload("a", "10.0.0.1")], vec![through]), "10.0.0.1:80").unwrap();
    assert_eq!((way.hop, way.reason), (Hop::Plain { to: "10.0.0.1:80".parse().unwrap() }, Reason::PassthroughService));
}

#[test]
fn a_range_does_not_hide_the_workloads_inside_it() {
    let mut wide = service("all", "10.0.0.0/8");
    wide.load_balancing.mode = Mode::Passthrough;
    let catalog = catalog(vec![workload("a", "10.0.0.1")], vec![wide]);
    assert_eq!(go(&catalog, "10.0.0.1:80").unwrap().reason, Reason::WorkloadAddress);
    assert_eq!(go(&catalog, "10.0.0.2:80").unwrap().reason, Reason::PassthroughService);
    assert_eq!(go(&catalog, "11.0.0.2:80").unwrap().reason, Reason::UnknownDestination);
}

#[test]
fn ranges_by_namespace_then_length_then_canonical() {
    let range = |name: &str, namespace: &str, vip: &str, canonical: bool| {
        let mut service = service(name, vip);
        service.key.namespace = namespace.into();
        service.canonical = canonical;
        service.load_balancing.mode = Mode::Passthrough;
        service
    };
    let named = |services: Vec<Service>| {
        go(&catalog(vec![], services), "10.1.2.3:80").unwrap().service.unwrap().name.as_str().to_owned()
    };
    assert_eq!(named(vec![range("wide", "x", "10.0.0.0/8", true), range("long", "x", "10.1.0.0/16", false)]), "long");
    assert_eq!(named(vec![range("own", "shop", "10.0.0.0/8", false), range("long", "x", "10.1.0.0/16", true)]), "own");
    assert_eq!(named(vec![range("a", "x", "10.0.0.0/8", false), range("b", "y", "10.0.0.0/8", true)]), "b");
}

#[test]
fn same_hostname_in_several_namespaces() {
    let in_namespace = |namespace: &str, canonical: bool, visibility: Visibility| {
        let mut service = service("web", "");
        service.key = NamespacedHostname::new(namespace, Hostname::parse("api.example.com").unwrap());
        service.name = namespace.into();
        service.canonical = canonical;
        service.visibility = visibility;
        service.load_balancing.mode = Mode::Passthrough;
        service
    };
    let chosen = |services: Vec<Service>| {
        go(&catalog(vec![], services), "api.example.com:80").unwrap().service.map(|s| s.name.as_str().to_owned())
    };
    use Visibility::{Namespace, Public};
    assert_eq!(chosen(vec![in_namespace("a", false, Public), in_namespace("b", true, Public)]).as_deref(), Some("b"));
    assert_eq!(
        chosen(vec![in_namespace("b", true, Public), in_namespace("shop", false, Public)]).as_deref(),
        Some("shop")
    );
    assert_eq!(
        chosen(vec![in_namespace("a", false, Namespace), in_namespace("b", false, Public)]).as_deref(),
        Some("b")
    );
    assert_eq!(chosen(vec![in_namespace("a", false, Namespace)]), None);
}

#[test]
fn wildcard_hosts_most_specific_first() {
    let wildcard = |host: &str| {
        let mut service = service("w", "");
        service.key.hostname = Hostname::parse(host).unwrap();
        service.name = host.into();
        service.load_balancing.mode = Mode::Passthrough;
        service
    };
    let catalog = catalog(vec![], vec![wildcard("*.com"), wildcard("*.example.com")]);
    let name = |destination| go(&catalog, destination).unwrap().service.map(|s| s.name.as_str().to_owned());
    assert_eq!(name("a.example.com:80").as_deref(), Some("*.example.com"));
    assert_eq!(name("other.com:80").as_deref(), Some("*.com"));
    assert_eq!(name("com:80"), None);
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
fn service_waypoint_takes_service_traffic_only_and_fails_closed() {
    let mut guarded = service("web", "10.96.0.1");
    guarded.waypoint = Some(waypoint_reference("wp"));
    let endpoint = member(workload("a", "10.0.0.1"), "web");
    let proxy = member(workload("wp", "10.0.0.9"), "wp");
    let with = catalog(vec![endpoint.clone(), proxy], vec![guarded.clone(), waypoint_service()]);

    let way = go(&with, "10.96.0.1:80").unwrap();
    assert_eq!((way.hop, way.reason), (hbone("10.0.0.9:15008", "10.96.0.1:80", &["wp"]), Reason::ServiceWaypoint));
    let way = go(&with, "web.shop.svc.cluster.local:80").unwrap();
    assert_eq!(way.hop, hbone("10.0.0.9:15008", "10.96.0.1:80", &["wp"]));
    assert_eq!(go(&with, "10.0.0.1:80").unwrap().reason, Reason::WorkloadAddress);

    let without = catalog(vec![endpoint], vec![guarded]);
    assert_eq!(refusal(go(&without, "10.96.0.1:80")), Reason::UnknownWaypoint);
}

#[test]
fn weighted_waypoints_share_by_weight() {
    let mut guarded = service("web", "10.96.0.1");
    let at = |ip: &str| GatewayAddress {
        destination: GatewayDestination::Address(Network::default(), ip.parse().unwrap()),
        hbone_port: 15009,
    };
    guarded.waypoint = Some(at("10.0.0.8"));
    guarded.weighted_waypoints = vec![(at("10.0.0.8"), 3), (at("10.0.0.9"), 1)];
    let both = vec![workload("wp1", "10.0.0.8"), workload("wp2", "10.0.0.9")];
    let with = catalog(both.clone(), vec![guarded.clone()]);
    let mut counts = BTreeMap::new();
    for seed in 0..4000 {
        let way = go_as(&with, &workload("client", "10.0.0.99"), "10.96.0.1:80", seed).unwrap();
        let Hop::Hbone(tunnel) = way.hop else { panic!("not a tunnel") };
        *counts.entry(tunnel.to.to_string()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 2);
    assert!((2850..3150).contains(&counts["10.0.0.8:15009"]), "{counts:?}");

    guarded.weighted_waypoints.iter_mut().for_each(|(_, weight)| *weight = 0);
    let way = go(&catalog(both, vec![guarded]), "10.96.0.1:80").unwrap();
    assert_eq!(way.hop, hbone("10.0.0.8:15009", "10.96.0.1:80", &["wp1"]));
}

#[test]
fn workload_waypoint_except_from_the_waypoint_itself() {
    let mut guarded = member(workload("a", "10.0.0.1"), "web");
    guarded.waypoint = Some(waypoint_reference("wp"));
    let proxy = member(workload("wp", "10.0.0.9"), "wp");
    let catalog = catalog(vec![guarded, proxy.clone()], vec![service("web", "10.96.0.1"), waypoint_service()]);

    let way = go(&catalog, "10.0.0.1:80").unwrap();
    assert_eq!((way.hop, way.reason), (hbone("10.0.0.9:15008", "10.0.0.1:80", &["wp"]), Reason::WorkloadWaypoint));
    assert_eq!(go_as(&catalog, &proxy, "10.0.0.1:80", 0).unwrap().reason, Reason::WorkloadAddress);
    assert_eq!(go(&catalog, "10.96.0.1:80").unwrap().reason, Reason::ServiceEndpoint);
}

#[test]
fn another_network_is_reached_through_its_gateway_with_identity_end_to_end() {
    let mut remote = member(workload("remote", ""), "web");
    remote.network = "west".into();
    remote.network_gateway = Some(GatewayAddress {
        destination: GatewayDestination::Address(Network::default(), "192.0.2.1".parse().unwrap()),
        hbone_port: 15018,
    });
    let mut global = service("web", "10.96.0.1");
    global.subject_alt_names = vec![id("remote-web")];
    let gateway = workload("gw", "192.0.2.1");

    let way = go(&catalog(vec![remote.clone(), gateway], vec![global.clone()]), "10.96.0.1:80").unwrap();
    let authority: Destination = "web.shop.svc.cluster.local:80".parse().unwrap();
    assert_eq!(way.reason, Reason::NetworkGateway);
    assert_eq!(
        way.hop,
        Hop::Nested {
            outer: Tunnel {
                to: "192.0.2.1:15018".parse().unwrap(),
                authority: authority.clone(),
                expected: vec![id("gw")]
            },
            inner: InnerTunnel { authority, expected: vec![id("remote-web")] },
        }
    );
    assert_eq!(refusal(go(&catalog(vec![remote], vec![global]), "10.96.0.1:80")), Reason::NoNetworkGateway);
}

#[test]
fn failover_rank_by_example() {
    // [NETWORK, REGION, ZONE]: 5 all, 4 network+region, 3 network, 2 remote region+zone, 1 remote region, 0 none.
    let preference = vec![Scope::Network, Scope::Region, Scope::Zone];
    let mut web = service("web", "10.96.0.1");
    web.load_balancing = LoadBalancing { preference, mode: Mode::Failover, ..LoadBalancing::default() };
    web.subject_alt_names = vec![id("any")];
    let mut client = workload("client", "10.0.0.99");
    client.locality = Locality::new("eu", "eu-a", "");

    let gateway = || GatewayAddress {
        destination: GatewayDestination::Address(Network::default(), "192.0.2.1".parse().unwrap()),
        hbone_port: HBONE_PORT,
    };
    let endpoint = |name: &str, ip: &str, network: &str, locality: (&str, &str)| {
        let mut workload = member(workload(name, ip), "web");
        workload.network = network.into();
        workload.locality = Locality::new(locality.0, locality.1, "");
        workload.network_gateway = (!network.is_empty()).then(gateway);
        workload
    };
    let mut ranked = vec![
        endpoint("r5", "10.0.0.5", "", ("eu", "eu-a")),
        endpoint("r4", "10.0.0.4", "", ("eu", "eu-b")),
        endpoint("r3", "10.0.0.3", "", ("us", "us-a")),
        endpoint("r2", "", "west", ("eu", "eu-a")),
    ];
    let fixed = [workload("gw", "192.0.2.1")];
    while let Some(best) = ranked.first().cloned() {
        let all = fixed.iter().cloned().chain(ranked.iter().cloned()).collect();
        let catalog = catalog(all, vec![web.clone()]);
        for seed in 0..50 {
            let way = go_as(&catalog, &client, "10.96.0.1:80", seed).unwrap();
            match (&way.hop, best.network.is_empty()) {
                (Hop::Hbone(_), true) => assert_eq!(way.workload.unwrap().name, best.name),
                (Hop::Nested { .. }, false) => {}
                other => panic!("{other:?} although {} is there", best.name),
            }
        }
        ranked.remove(0);
    }
}

#[test]
fn strict_takes_none_rather_than_another() {
    let mut web = service("web", "10.96.0.1");
    web.load_balancing =
        LoadBalancing { preference: vec![Scope::Node], mode: Mode::Strict, ..LoadBalancing::default() };
    let mut far = member(workload("far", "10.0.0.1"), "web");
    far.node = "n2".into();
    let mut client = workload("client", "10.0.0.99");
    client.node = "n1".into();
    assert_eq!(
        refusal(go_as(&catalog(vec![far.clone()], vec![web.clone()]), &client, "10.96.0.1:80", 1)),
        Reason::NoHealthyUpstream
    );
    far.node = "n1".into();
    assert!(go_as(&catalog(vec![far], vec![web]), &client, "10.96.0.1:80", 1).is_ok());
}

#[test]
fn address_families() {
    let both = || member(workload("a", "10.0.0.1,2001:db8::1"), "web");
    let reached = |families: IpFamilies, destination: &str| {
        let mut web = service("web", "10.96.0.1,2001:db8:f::1");
        web.ip_families = families;
        match go(&catalog(vec![both()], vec![web]), destination).unwrap().hop {
            Hop::Hbone(tunnel) => tunnel.to.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reached(IpFamilies::Automatic, "10.96.0.1:80"), "10.0.0.1:15008");
    assert_eq!(reached(IpFamilies::Dual, "[2001:db8:f::1]:80"), "[2001:db8::1]:15008");
    assert_eq!(reached(IpFamilies::Ipv4Only, "[2001:db8:f::1]:80"), "10.0.0.1:15008");
    assert_eq!(reached(IpFamilies::Ipv6Only, "10.96.0.1:80"), "[2001:db8::1]:15008");
}

#[test]
fn host_network_addresses_name_nobody() {
    let mut host = member(workload("a", "10.0.0.1"), "web");
    host.network_mode = NetworkMode::HostNetwork;
    let catalog = catalog(vec![host], vec![service("web", "10.96.0.1")]);
    assert_eq!(go(&catalog, "10.0.0.1:80").unwrap().reason, Reason::UnknownDestination);
    assert_eq!(go(&catalog, "10.96.0.1:80").unwrap().reason, Reason::ServiceEndpoint);
}

#[test]
fn inbound_leads_to_the_tunnels_own_address() {
    let mut local = member(workload("a", "10.0.0.1"), "web");
    let catalog = catalog(vec![local.clone()], vec![service("web", "10.96.0.1"), service("other", "10.96.0.2")]);
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let ask = |local: &Workload, authority: &str| {
        inbound(&catalog, local, ip, &authority.parse().unwrap()).map(|t| t.to.to_string()).map_err(|r| r.reason)
    };
    assert_eq!(ask(&local, "10.0.0.1:8080").as_deref(), Ok("10.0.0.1:8080"));
    assert_eq!(ask(&local, "10.0.0.2:8080"), Err(Reason::NotThisWorkload));
    assert_eq!(ask(&local, "web.shop.svc.cluster.local:80").as_deref(), Ok("10.0.0.1:8080"));
    assert_eq!(ask(&local, "web.shop.svc.cluster.local:81"), Err(Reason::UnknownService));
    assert_eq!(ask(&local, "other.shop.svc.cluster.local:80"), Err(Reason::UnknownService));
    assert_eq!(ask(&local, "nobody.example.com:80"), Err(Reason::UnknownService));
    local.application_tunnel = Some(ApplicationTunnel { protocol: ApplicationProtocol::None, port: Some(15088) });
    assert_eq!(ask(&local, "10.96.0.7:80").as_deref(), Ok("10.0.0.1:15088"));
}

#[test]
fn inbound_for_others_only_as_their_waypoint() {
    let mut guarded = service("web", "10.96.0.1");
    guarded.waypoint = Some(waypoint_reference("wp"));
    let proxy = member(workload("wp", "10.0.0.9"), "wp");
    let plain = workload("b", "10.0.0.8");
    let catalog = catalog(vec![proxy.clone(), plain.clone()], vec![guarded, waypoint_service()]);
    let authority = "10.96.0.1:80".parse().unwrap();
    assert!(inbound(&catalog, &proxy, "10.0.0.9".parse().unwrap(), &authority).is_ok());
    let refused = inbound(&catalog, &plain, "10.0.0.8".parse().unwrap(), &authority).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no way to 10.96.0.1:80: the tunnel does not end at the destination that it asks for"
    );
}

#[test]
fn reasons_are_distinct_words() {
    let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}

#[test]
fn destinations() {
    for good in ["10.0.0.1:80", "[2001:db8::1]:80", "a.b:65535"] {
        assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
    }
    assert_eq!("[::ffff:10.0.0.1]:80".parse::<Destination>().unwrap().to_string(), "10.0.0.1:80");
    for bad in [
        "",
        ":",
        ":80",
        "a",
        "a:",
        "a:0",
        "a:+80",
        "a:65536",
        "a:80:90",
        "10.0.0.1",
        "10.0.0.1:x",
        "2001:db8::1",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[10.0.0.1]:80",
        "::1:80",
        "a b:80",
        "http://a:80",
        "a:80/",
        "*.a:80",
        "user@a:80",
    ] {
        assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn destination_round_trip(ip in any::<IpAddr>(), port in 1_u16..) {
        let destination = Destination::from(std::net::SocketAddr::new(ip, port));
        prop_assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination);
    }

    #[test]
    fn parsing_never_panics(text in ".{0,40}") {
        let _ = text.parse::<Destination>();
    }

    /// Whatever the endpoints look like, the one chosen is usable, and each usable one of the best rank can be chosen.
    #[test]
    fn choice_is_sound_and_complete(
        endpoints in proptest::collection::vec((0_u32..3, any::<bool>(), 0_usize..3), 1..8),
    ) {
        let zones = ["eu-a", "eu-b", "us-a"];
        let mut web = service("web", "10.96.0.1");
        web.load_balancing = LoadBalancing {
            preference: vec![Scope::Region, Scope::Zone], mode: Mode::Failover, ..LoadBalancing::default()
        };
        let mut client = workload("client", "10.0.0.99");
        client.locality = Locality::new("eu", "eu-a", "");
        let made: Vec<Workload> = endpoints.iter().enumerate().map(|(n, (capacity, healthy, zone))| {
            let mut endpoint = member(workload(&format!("e{n}"), &format!("10.0.1.{n}")), "web");
            endpoint.capacity = *capacity;
            endpoint.health = if *healthy { Health::Healthy } else { Health::Unhealthy };
            endpoint.locality = Locality::new(&zones[*zone][..2], zones[*zone], "");
            endpoint
        }).collect();
        let usable: Vec<_> = endpoints.iter().enumerate().filter(|(_, (c, h, _))| *c > 0 && *h).collect();
        let best = usable.iter().map(|(_, (_, _, zone))| *zone).min();
        let wanted: std::collections::BTreeSet<String> =
            usable.iter().filter(|(_, (_, _, zone))| Some(*zone) == best).map(|(n, _)| format!("e{n}")).collect();
        let catalog = catalog(made, vec![web]);
        let mut chosen = std::collections::BTreeSet::new();
        for seed in 0..400 {
            match go_as(&catalog, &client, "10.96.0.1:80", seed) {
                Ok(way) => { chosen.insert(way.workload.unwrap().name.as_str().to_owned()); }
                Err(refusal) => prop_assert_eq!(refusal.reason, Reason::NoHealthyUpstream),
            }
        }
        prop_assert_eq!(chosen, wanted);
    }
}

#[test]
fn a_waypoint_that_is_not_ready_refuses_unless_the_settings_say_otherwise() {
    let mut web = service("web", "10.96.0.1");
    web.waypoint =
        Some(GatewayAddress { destination: GatewayDestination::Hostname(key("waypoint")), hbone_port: HBONE_PORT });
    let mut alone = workload("b", "10.0.0.2");
    alone.waypoint = web.waypoint.clone();
    let catalog = catalog(vec![member(workload("a", "10.0.0.1"), "web"), alone], vec![web]);
    let (source, network) = (workload("client", "10.0.0.99"), Network::default());
    for (destination, way) in [
        ("10.96.0.1:80", hbone("10.0.0.1:15008", "10.0.0.1:8080", &["a"])),
        ("10.0.0.2:99", hbone("10.0.0.2:15008", "10.0.0.2:99", &["b"])),
    ] {
        assert_eq!(refusal(go(&catalog, destination)), Reason::UnknownWaypoint);
        let destination = destination.parse().unwrap();
        let mut request = Outbound::new(&source, &network, &destination);
        request.unready_waypoint = UnreadyWaypoint::Direct;
        let direct = outbound(&catalog, &request, 1).unwrap();
        assert_eq!((direct.hop, direct.reason), (way, Reason::PastWaypoint));
    }
}

#[test]
fn what_is_missing_is_named_step_by_step() {
    let (source, network) = (workload("client", "10.0.0.99"), Network::default());
    let missing_for = |catalog: &Catalog, destination: &str| {
        missing(catalog, &Outbound::new(&source, &network, &destination.parse().unwrap()))
    };
    let nothing = Catalog::default();
    assert_eq!(missing_for(&nothing, "10.96.0.1:80"), ["/10.96.0.1"]);
    assert_eq!(missing_for(&nothing, "web.other.svc.cluster.local:80"), ["other/web.other.svc.cluster.local"]);
    assert_eq!(missing_for(&nothing, "example.com:80"), ["shop/example.com"]);

    let gateway = |name: &str| GatewayAddress {
        destination: GatewayDestination::Address(Network::from(name), "192.0.2.1".parse().unwrap()),
        hbone_port: HBONE_PORT,
    };
    let mut remote = member(workload("r", "10.9.0.1"), "web");
    remote.network = Network::from("far");
    remote.network_gateway = Some(gateway("far"));
    let mut web = service("web", "10.96.0.1");
    web.waypoint =
        Some(GatewayAddress { destination: GatewayDestination::Hostname(key("waypoint")), hbone_port: HBONE_PORT });
    let known = catalog(vec![remote], vec![web]);
    assert_eq!(
        missing_for(&known, "10.96.0.1:80"),
        ["shop/waypoint.shop.svc.cluster.local", "far/192.0.2.1"],
        "a service reveals its waypoint and its gateways"
    );
}
