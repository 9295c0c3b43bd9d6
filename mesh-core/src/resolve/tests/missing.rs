use super::*;

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
