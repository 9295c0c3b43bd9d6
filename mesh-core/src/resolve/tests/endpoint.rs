use proptest::prelude::*;

use super::*;
use crate::name::Locality;
use crate::service::{IpFamilies, LoadBalancing, Mode, Scope};
use crate::workload::{ApplicationProtocol, ApplicationTunnel, Health};

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

proptest! {
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
