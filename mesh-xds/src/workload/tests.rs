use std::net::IpAddr;

use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
use mesh_core::name::{
    Hostname, Locality, NamespacedHostname, NamespacedName, Network, ServiceAccount, parse_spiffe_id,
    parse_trust_domain,
};
use mesh_core::service::{
    AppProtocol, GatewayAddress, GatewayDestination, HealthPolicy, IpFamilies, LoadBalancing, Mode, PortMap,
    Scope as LbScope, Service, ServicePort, Visibility,
};
use mesh_core::string_match::StringMatch;
use mesh_core::workload::{
    ApplicationProtocol, ApplicationTunnel, Health, NetworkMode, TunnelProtocol, Workload, WorkloadKind,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::security as policy_wire;
use crate::proto::workload as wire;

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}"
}

/// Addresses as decisions know them: IPv4 is IPv4.
fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>().prop_map(|ip| ip.to_canonical())
}

fn range() -> impl Strategy<Value = ipnet::IpNet> {
    (ip(), 0_u8..=128).prop_map(|(ip, bits)| {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        ipnet::IpNet::new(ip, bits.min(most)).unwrap()
    })
}

fn key() -> impl Strategy<Value = NamespacedHostname> {
    (word(), word()).prop_map(|(namespace, name)| {
        NamespacedHostname::new(namespace.as_str(), Hostname::parse(&format!("{name}.example")).unwrap())
    })
}

fn gateway() -> impl Strategy<Value = GatewayAddress> {
    let destination = prop_oneof![
        key().prop_map(GatewayDestination::Hostname),
        (word(), ip()).prop_map(|(network, ip)| GatewayDestination::Address(network.into(), ip)),
    ];
    (destination, 1_u16..).prop_map(|(destination, hbone_port)| GatewayAddress { destination, hbone_port })
}

fn ports() -> impl Strategy<Value = PortMap> {
    use AppProtocol::{Grpc, Http2, Http11, Tcp, Tls, Unknown};
    let protocol = proptest::sample::select(vec![Unknown, Http11, Http2, Grpc, Tcp, Tls]);
    let port = (1_u16.., option::of(1_u16..), protocol).prop_map(|(service_port, target_port, protocol)| ServicePort {
        service_port,
        target_port,
        protocol,
    });
    vec(port, 0..4).prop_map(|ports| ports.into_iter().collect())
}

fn workload() -> impl Strategy<Value = Workload> {
    let names = (word(), word(), word(), word(), word(), word());
    let place = (vec(ip(), 0..3), option::of(key()), word(), option::of(gateway()), option::of(gateway()));
    let kinds = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 0_usize..4);
    let rest =
        (vec((word(), word()), 0..3), any::<u32>(), vec((key(), ports()), 0..3), option::of(option::of(1_u16..)));
    (names, place, kinds, rest).prop_map(|(names, place, kinds, rest)| {
        let domain = parse_trust_domain(if kinds.3 { "cluster.local" } else { "other.test" }).unwrap();
        let mut workload =
            Workload::new(format!("c//Pod/{}/{}", names.0, names.1), domain.clone(), &names.0, &names.1).unwrap();
        workload.identity = ServiceAccount::new(domain, &names.0, &names.2).unwrap();
        workload.addresses = place.0;
        workload.hostname = place.1.map(|key| key.hostname);
        workload.network = Network::from(place.2);
        workload.waypoint = place.3;
        workload.network_gateway = place.4;
        workload.tunnel = if kinds.0 { TunnelProtocol::Hbone } else { TunnelProtocol::None };
        workload.health = if kinds.1 { Health::Healthy } else { Health::Unhealthy };
        workload.network_mode = if kinds.2 { NetworkMode::Standard } else { NetworkMode::HostNetwork };
        workload.native_tunnel = kinds.3;
        workload.kind =
            [WorkloadKind::Deployment, WorkloadKind::CronJob, WorkloadKind::Pod, WorkloadKind::Job][kinds.4];
        workload.node = names.3.as_str().into();
        workload.canonical_name = names.4.as_str().into();
        workload.canonical_revision = names.5.as_str().into();
        workload.cluster_id = names.3.as_str().into();
        workload.workload_name = names.4.as_str().into();
        workload.locality = Locality::new(&names.3, &names.4, "");
        workload.policies = rest.0.into_iter().map(|(a, b)| NamespacedName::new(a, b)).collect();
        workload.capacity = rest.1;
        workload.services = rest.2.into_iter().collect();
        workload.application_tunnel =
            rest.3.map(|port| ApplicationTunnel { protocol: ApplicationProtocol::Proxy, port });
        workload
    })
}

fn service() -> impl Strategy<Value = Service> {
    let scope = proptest::sample::select(vec![
        LbScope::Region,
        LbScope::Zone,
        LbScope::Subzone,
        LbScope::Node,
        LbScope::Cluster,
        LbScope::Network,
    ]);
    let mode = proptest::sample::select(vec![Mode::Any, Mode::Strict, Mode::Failover, Mode::Passthrough]);
    let families = proptest::sample::select(vec![
        IpFamilies::Automatic,
        IpFamilies::Ipv4Only,
        IpFamilies::Ipv6Only,
        IpFamilies::Dual,
    ]);
    let parts = (key(), word(), vec((word(), range()), 0..3), ports(), option::of(gateway()));
    let more = (vec((gateway(), any::<u32>()), 0..2), vec(scope, 0..3), mode, families, any::<[bool; 4]>());
    (parts, more).prop_map(|(parts, more)| {
        let mut service = Service::new(parts.0, parts.1);
        service.vips = parts.2.into_iter().map(|(network, range)| (network.into(), range)).collect();
        service.ports = parts.3;
        service.waypoint = parts.4;
        service.weighted_waypoints = more.0;
        let health_policy = if more.4[0] { HealthPolicy::AllowAll } else { HealthPolicy::OnlyHealthy };
        service.load_balancing = LoadBalancing { preference: more.1, mode: more.2, health_policy };
        service.ip_families = more.3;
        service.canonical = more.4[1];
        service.ingress_use_waypoint = more.4[2];
        service.visibility = if more.4[3] { Visibility::Namespace } else { Visibility::Public };
        service.subject_alt_names = vec![parse_spiffe_id("spiffe://td.test/ns/a/sa/b").unwrap()];
        service
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let strings = || {
        let text = prop_oneof![
            word().prop_map(|text| StringMatch::Exact(text.into())),
            word().prop_map(|text| StringMatch::Prefix(text.into())),
            word().prop_map(|text| StringMatch::Suffix(text.into())),
            Just(StringMatch::Present),
        ];
        vec(text, 0..3)
    };
    let accounts = || {
        vec(
            (word(), word())
                .prop_map(|(namespace, name)| ServiceAccountMatch { namespace: namespace.into(), name: name.into() }),
            0..2,
        )
    };
    let entry = (
        (strings(), strings(), strings(), strings()),
        (vec(range(), 0..2), vec(range(), 0..2), vec(range(), 0..2), vec(range(), 0..2)),
        (vec(any::<u16>(), 0..2), vec(any::<u16>(), 0..2), accounts(), accounts()),
    )
        .prop_map(|(text, ranges, rest)| Match {
            namespaces: text.0,
            not_namespaces: text.1,
            principals: text.2,
            not_principals: text.3,
            source_ips: ranges.0,
            not_source_ips: ranges.1,
            destination_ips: ranges.2,
            not_destination_ips: ranges.3,
            destination_ports: rest.0,
            not_destination_ports: rest.1,
            service_accounts: rest.2,
            not_service_accounts: rest.3,
        });
    let clause = vec(entry, 0..2).prop_map(|matches| Clause { matches });
    let rule = vec(clause, 0..3).prop_map(|clauses| Rule { clauses });
    let scope = proptest::sample::select(vec![Scope::Global, Scope::Namespace, Scope::WorkloadSelector]);
    let action = proptest::sample::select(vec![Action::Allow, Action::Deny]);
    (word(), word(), scope, action, vec(rule, 0..3), any::<bool>()).prop_map(
        |(ns, name, scope, action, rules, dry_run)| {
            let mut policy = Policy::new(NamespacedName::new(ns, name), scope, action, rules);
            policy.dry_run = dry_run;
            policy
        },
    )
}

proptest! {
    #[test]
    fn workloads_survive_the_wire(workload in workload()) {
        let decoded = decode_address(&encode_workload(&workload)).unwrap();
        prop_assert_eq!(decoded, Address::Workload(Box::new(workload)));
    }

    #[test]
    fn services_survive_the_wire(service in service()) {
        let decoded = decode_address(&encode_service(&service)).unwrap();
        prop_assert_eq!(decoded, Address::Service(Box::new(service)));
    }

    #[test]
    fn policies_survive_the_wire(policy in policy()) {
        prop_assert_eq!(decode_policy(&encode_policy(&policy)).unwrap(), policy);
    }

    #[test]
    fn equal_content_gives_equal_bytes(workload in workload()) {
        prop_assert_eq!(encode_workload(&workload), encode_workload(&workload.clone()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_address(&bytes);
        let _ = decode_policy(&bytes);
    }

    #[test]
    fn altered_messages_never_panic(workload in workload(), policy in policy(), index in any::<usize>(), value in any::<u8>()) {
        for (mut bytes, address) in [(encode_workload(&workload), true), (encode_policy(&policy), false)] {
            let length = bytes.len();
            bytes[index % length] = value;
            if address { let _ = decode_address(&bytes); } else { let _ = decode_policy(&bytes); }
        }
    }
}

#[test]
fn defaults_of_absent_fields() {
    let message = wire::Workload { uid: "u".into(), namespace: "ns".into(), ..Default::default() };
    let bytes = wire::Address { r#type: Some(wire::address::Type::Workload(message)) }.encode_to_vec();
    let Ok(Address::Workload(workload)) = decode_address(&bytes) else { panic!("no workload") };
    assert_eq!(workload.identity.to_string(), "spiffe://cluster.local/ns/ns/sa/default");
    assert_eq!((workload.cluster_id.as_str(), workload.capacity, workload.health), ("Kubernetes", 1, Health::Healthy));
}

#[test]
fn workloads_that_are_refused() {
    let good = || wire::Workload { uid: "u".into(), namespace: "ns".into(), ..Default::default() };
    let refuse = |message: wire::Workload| {
        decode_address(&wire::Address { r#type: Some(wire::address::Type::Workload(message)) }.encode_to_vec())
            .unwrap_err()
    };
    assert_eq!(refuse(wire::Workload { uid: String::new(), ..good() }), Error::Missing("uid"));
    assert_eq!(
        refuse(wire::Workload { addresses: vec![vec![1, 2, 3]], ..good() }),
        Error::Address { field: "addresses", length: 3 }
    );
    assert_eq!(
        refuse(wire::Workload { tunnel_protocol: 2, ..good() }),
        Error::Enumeration { field: "tunnel_protocol", value: 2 }
    );
    assert!(matches!(
        refuse(wire::Workload { trust_domain: "UPPER".into(), ..good() }),
        Error::Name { field: "trust_domain", .. }
    ));
    assert!(matches!(
        refuse(wire::Workload { authorization_policies: vec!["x".into()], ..good() }),
        Error::Name { .. }
    ));
    let port = wire::Port { service_port: 65_536, ..Default::default() };
    let services = [("ns/a.b".to_owned(), wire::PortList { ports: vec![port] })].into();
    assert_eq!(refuse(wire::Workload { services, ..good() }), Error::Port { field: "service_port", value: 65_536 });
    assert_eq!(decode_address(&[]), Err(Error::Missing("type")));
}

#[test]
fn a_policy_is_never_widened() {
    use policy_wire::{Address, Authorization, Clause, Extension, Match, Rule, StringMatch};
    let of = |entry: Match| Authorization {
        name: "p".into(),
        namespace: "ns".into(),
        rules: vec![Rule { clauses: vec![Clause { matches: vec![entry] }] }],
        ..Default::default()
    };
    let refuse = |message: Authorization| decode_policy(&message.encode_to_vec()).unwrap_err();
    let entry = Match { principals: vec![StringMatch { match_type: None }], ..Default::default() };
    assert_eq!(refuse(of(entry)), Error::EmptyStringMatch("principals"));
    let entry = Match { source_ips: vec![Address { address: vec![10, 0, 0, 1], length: 33 }], ..Default::default() };
    assert_eq!(refuse(of(entry)), Error::Prefix { field: "source_ips", length: 33 });
    let entry = Match { destination_ports: vec![65_616], ..Default::default() };
    assert_eq!(refuse(of(entry)), Error::Port { field: "destination_ports", value: 65_616 });
    let extension = Extension { name: "x".into(), config: None };
    assert_eq!(refuse(of(Match { extensions: vec![extension], ..Default::default() })), Error::Extension("x".into()));
    assert_eq!(
        refuse(Authorization { scope: 7, ..of(Match::default()) }),
        Error::Enumeration { field: "scope", value: 7 }
    );
    assert_eq!(
        refuse(Authorization { action: 2, ..of(Match::default()) }),
        Error::Enumeration { field: "action", value: 2 }
    );
    assert_eq!(refuse(Authorization { namespace: String::new(), ..of(Match::default()) }), Error::Missing("namespace"));

    // An IPv4 range in IPv6 form is the IPv4 range: left as it is it would never match.
    let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, 0]].concat();
    let entry = Match { source_ips: vec![Address { address: mapped, length: 104 }], ..Default::default() };
    let policy = decode_policy(&of(entry).encode_to_vec()).unwrap();
    assert_eq!(policy.rules[0].clauses[0].matches[0].source_ips, ["10.0.0.0/8".parse().unwrap()]);
}
