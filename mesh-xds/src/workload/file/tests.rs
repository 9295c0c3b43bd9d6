use mesh_core::name::parse_spiffe_id;
use proptest::prelude::*;

use super::*;

/// Every field there is, as Istio's documentation and tests write them.
const EVERYTHING: &str = r#"
workloads:
- uid: lab//v1/Pod/shop/cart-1       # optional
  name: cart-1
  namespace: shop
  serviceAccount: cart
  trustDomain: cluster.local
  workloadIps: ["10.99.0.2", "fd00::2"]
  protocol: HBONE
  network: ""
  networkMode: Standard
  node: node-b
  clusterId: Kubernetes
  hostname: ""
  canonicalName: cart
  canonicalRevision: v3
  workloadName: cart
  workloadType: deployment
  nativeTunnel: false
  status: Healthy
  capacity: 1
  locality: {region: eu, zone: eu-1, subzone: a}
  applicationTunnel: {protocol: PROXY, port: 15088}
  waypoint: {destination: "shop/wp.shop.svc.cluster.local", hboneMtlsPort: 15008}
  networkGateway: {destination: "net2/203.0.113.7", hboneMtlsPort: 15008}
  authorizationPolicies: ["shop/only-web"]
  services:
    "shop/cart.shop.svc.cluster.local": {80: 8080}
- {name: bare, namespace: shop, workloadIps: [], services: {}}
services:
- name: cart
  namespace: shop
  hostname: cart.shop.svc.cluster.local
  vips: ["/10.96.7.7", "net2/10.96.7.8"]
  ports: {80: 8080, 81: 0}
  subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/cart"]
  waypoint: {destination: "shop/wp.shop.svc.cluster.local", hboneMtlsPort: 15008}
  weightedWaypoints:
  - {destination: {destination: "shop/wp2.shop.svc.cluster.local", hboneMtlsPort: 15008}, weight: 10}
  loadBalancer:
    routingPreferences: [Network, Region, Zone]
    mode: Failover
    healthPolicy: OnlyHealthy
  ipFamilies: Dual
  canonical: true
  visibility: Public
  cidrVips: [{network: "", cidr: "10.97.0.0/24"}]
policies:
- name: only-web
  namespace: shop
  scope: WorkloadSelector
  action: Allow
  dryRun: false
  rules:
  -
    -
      - principals: [!Exact cluster.local/ns/shop/sa/web]
        destinationPorts: [8080]
      - namespaces: [!Prefix mon, !Suffix x, !Presence []]
        notSourceIps: ["10.0.0.0/8"]
        serviceAccounts: [{namespace: shop, serviceAccount: web}]
"#;

#[test]
fn everything_there_is() {
    let file = parse_local_file(EVERYTHING).unwrap();
    let [cart, bare] = file.workloads.as_slice() else { panic!() };
    assert_eq!(cart.spiffe_id(), parse_spiffe_id("spiffe://cluster.local/ns/shop/sa/cart").unwrap());
    assert_eq!(cart.waypoint.as_ref().unwrap().to_string(), "shop/wp.shop.svc.cluster.local:15008");
    assert_eq!(cart.network_gateway.as_ref().unwrap().to_string(), "net2/203.0.113.7:15008");
    assert_eq!(cart.application_tunnel.unwrap().port, Some(15088));
    assert_eq!(cart.services.values().next().unwrap().target(80), Some(8080));
    assert_eq!(cart.policies[0].to_string(), "shop/only-web");
    assert_eq!((bare.uid.as_str(), bare.identity.name().as_str()), ("//local/shop/bare", "default"));
    let [service] = file.services.as_slice() else { panic!() };
    assert_eq!(service.vips.len(), 3);
    assert_eq!((service.ports.target(80), service.ports.target(81)), (Some(8080), None));
    assert_eq!(service.weighted_waypoints[0].1, 10);
    assert_eq!(service.load_balancing.mode, service::Mode::Failover);
    let [policy] = file.policies.as_slice() else { panic!() };
    let matches = &policy.rules[0].clauses[0].matches;
    assert_eq!(matches[0].principals, [StringMatch::Exact("cluster.local/ns/shop/sa/web".into())]);
    assert_eq!(
        matches[1].namespaces,
        [StringMatch::Prefix("mon".into()), StringMatch::Suffix("x".into()), StringMatch::Present]
    );
    assert_eq!(parse_local_file("{}").unwrap(), LocalFile::default());
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, wanted) in [
        ("namespace: shop\n  serviceAccount", "namspace: shop\n  serviceAccount", "namspace"),
        ("protocol: HBONE", "protocol: hbone", "hbone"),
        ("trustDomain: cluster.local", "trustDomain: Cluster.Local", "workload shop/cart-1: `trustDomain`"),
        ("net2/203.0.113.7", "203.0.113.7", "`203.0.113.7` is neither namespace/hostname nor network/address"),
        ("/10.96.7.7", "/10.96.7", "service shop/cart.shop.svc.cluster.local: `vips`: `/10.96.7`"),
        ("spiffe://cluster.local/ns/shop/sa/cart", "cluster.local/ns/shop", "`subjectAltNames`"),
        ("{80: 8080, 81: 0}", "{0: 8080}", "0 is no service port"),
        ("!Exact", "!Regex", "Regex"),
        ("notSourceIps: [\"10.0.0.0/8\"]", "notSourceIps: [\"10.0.0.0/40\"]", "line 60 column 24"),
    ] {
        let broken = EVERYTHING.replace(from, to);
        assert_ne!(broken, EVERYTHING, "{from}");
        let error = parse_local_file(&broken).unwrap_err().to_string();
        assert!(error.contains(wanted), "{from} -> {to}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n]{0,200}", at in 0..EVERYTHING.len(), with in "[ -~]{0,3}") {
        let _ = parse_local_file(&text);
        let mut changed = EVERYTHING.to_owned();
        changed.replace_range(at..=at, &with);
        let _ = parse_local_file(&changed);
    }
}
