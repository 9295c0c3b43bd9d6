use super::*;
use crate::service::{HealthPolicy, LoadBalancing, Mode, Visibility};
use crate::workload::{Health, NetworkMode};

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

#[test]
fn host_network_addresses_name_nobody() {
    let mut host = member(workload("a", "10.0.0.1"), "web");
    host.network_mode = NetworkMode::HostNetwork;
    let catalog = catalog(vec![host], vec![service("web", "10.96.0.1")]);
    assert_eq!(go(&catalog, "10.0.0.1:80").unwrap().reason, Reason::UnknownDestination);
    assert_eq!(go(&catalog, "10.96.0.1:80").unwrap().reason, Reason::ServiceEndpoint);
}
