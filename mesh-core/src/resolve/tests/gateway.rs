use std::collections::BTreeMap;

use super::*;

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
