use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::{EnvoyInternalAddress, Pipe};
use mesh_core::balance::{InnerTunnel, Tunnel};
use mesh_core::route::MetadataValue;
use proptest::prelude::*;

use super::*;
use crate::envoy::testing::{changed, changes, damaged, field, text, warned, whole};

/// Values of the model, for other resources too.
pub(in crate::envoy) mod values {
    use std::collections::BTreeMap;

    use mesh_core::route::MetadataValue;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::sample::select;

    use super::*;

    /// Any assignment that is valid, with addresses of some kind.
    pub(in crate::envoy) fn assignment<A: std::fmt::Debug + Clone>(
        address: impl Strategy<Value = A>,
        endpoints: std::ops::Range<usize>,
    ) -> impl Strategy<Value = Assignment<A>> {
        let place = (weight(), vec(endpoint(address), endpoints));
        let drops = vec((text(), any::<u32>()), 0..3);
        let settings = (1..300_u32, any::<bool>());
        (text(), vec(place, 1..4), drops, settings).prop_map(|(name, places, drops, (factor, by_weight))| {
            let place = |(index, (weight, endpoints)): (usize, (Option<NonZeroU32>, _))| LocalityEndpoints {
                locality: Locality::new("eu", &index.to_string(), ""),
                priority: u32::try_from(index / 2).unwrap(),
                weight,
                endpoints,
            };
            Assignment {
                localities: places.into_iter().enumerate().map(place).collect(),
                drops: drops
                    .into_iter()
                    .map(|(category, share)| Drop { category, share: PerMillion::new(share) })
                    .collect(),
                overprovisioning_factor: NonZeroU32::new(factor).unwrap(),
                weighted_priority_health: by_weight,
                ..Assignment::new(name, vec![])
            }
        })
    }

    fn endpoint<A: std::fmt::Debug>(address: impl Strategy<Value = A>) -> impl Strategy<Value = Endpoint<A>> {
        let health = select(vec![
            Health::Unknown,
            Health::Healthy,
            Health::Degraded,
            Health::Unhealthy,
            Health::Draining,
            Health::Timeout,
        ]);
        let labels = btree_map(text(), text(), 0..3);
        let probe = (option::of(any::<SocketAddr>()), option::of(1..=u16::MAX), option::of(text()), any::<bool>());
        let value = prop_oneof![
            metadata_value().prop_map(EndpointValue::One),
            vec(metadata_value(), 0..3).prop_map(EndpointValue::List),
        ];
        let metadata = (option::of(text()), btree_map(text(), value, 0..3));
        let rest = (health, metadata, labels, probe);
        let names = (vec(any::<SocketAddr>(), 0..2), option::of(text()), 1..1000_u32);
        (address, names, rest).prop_map(|(address, (additional_addresses, hostname, weight), rest)| {
            let (health, (hash_key, metadata), transport_labels, (probed, port, probe_host, disabled)): (
                _,
                _,
                BTreeMap<_, _>,
                _,
            ) = rest;
            Endpoint {
                address,
                additional_addresses: additional_addresses.into_iter().map(plain).collect(),
                hostname: hostname.unwrap_or_default(),
                weight: NonZeroU32::new(weight).unwrap(),
                health,
                hash_key,
                metadata,
                transport_labels,
                tunnel: None,
                workload: Text::default(),
                probe: EndpointProbe {
                    address: probed.map(plain),
                    port,
                    hostname: probe_host.unwrap_or_default(),
                    disabled,
                },
            }
        })
    }

    pub(in crate::envoy) fn metadata_value() -> impl Strategy<Value = MetadataValue> {
        prop_oneof![
            any::<bool>().prop_map(MetadataValue::Bool),
            any::<i32>().prop_map(|number| MetadataValue::Number(f64::from(number) / 8.0)),
            text().prop_map(MetadataValue::Text),
        ]
    }

    /// An assignment with endpoints some of which are behind tunnels.
    pub(in crate::envoy) fn tunnelled() -> impl Strategy<Value = Assignment> {
        let identity = text().prop_map(|name| format!("spiffe://td/ns/a/sa/{name}").parse().unwrap());
        let identities = vec(identity, 0..3).boxed();
        let inner = (text(), any::<u16>(), identities.clone()).prop_map(|(name, port, identities)| {
            let host = mesh_core::name::Hostname::parse(&format!("{name}.test")).unwrap();
            InnerTunnel { host, port, identities }
        });
        let tunnel = prop_oneof![
            (identities.clone(), option::of(address())).prop_map(|(identities, via)| Tunnel {
                identities,
                via,
                inner: None
            }),
            (identities, inner).prop_map(|(identities, inner)| Tunnel { identities, via: None, inner: Some(inner) }),
        ]
        .boxed();
        let of_one = (option::of(tunnel), option::of(text()));
        (assignment(address(), 0..4), vec(of_one, 12)).prop_map(|(mut assignment, tunnels)| {
            let endpoints = assignment.localities.iter_mut().flat_map(|locality| &mut locality.endpoints);
            for (endpoint, (tunnel, workload)) in endpoints.zip(tunnels) {
                endpoint.tunnel = tunnel;
                endpoint.workload = workload.unwrap_or_default();
            }
            assignment
        })
    }

    /// Without the scope and flow of IPv6, which no resource carries.
    pub(in crate::envoy) fn plain(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip(), address.port())
    }

    pub(in crate::envoy) fn address() -> impl Strategy<Value = SocketAddr> {
        any::<SocketAddr>().prop_map(plain)
    }

    fn weight() -> impl Strategy<Value = Option<NonZeroU32>> {
        (0..1000_u32).prop_map(NonZeroU32::new)
    }
}

fn at(text: &str) -> Address {
    wire_address(text.parse().unwrap())
}

fn endpoint(address: Address) -> LbEndpoint {
    let endpoint = WireEndpoint { address: Some(address), ..WireEndpoint::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
}

fn message() -> ClusterLoadAssignment {
    let place = |zone: &str, priority| LocalityLbEndpoints {
        locality: Some(WireLocality { zone: zone.into(), ..WireLocality::default() }),
        lb_endpoints: vec![endpoint(at("10.0.0.1:80"))],
        load_balancing_weight: Some(uint32(1)),
        priority,
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![place("a", 0), place("b", 0), place("a", 1)],
        policy: Some(Policy::default()),
        ..ClusterLoadAssignment::default()
    }
}

fn decoded(message: &ClusterLoadAssignment) -> Result<Decoded<Assignment>, Error> {
    decode_assignment(&message.encode_to_vec())
}

#[test]
fn what_is_refused() {
    type Change = fn(&mut ClusterLoadAssignment);
    fn first(message: &mut ClusterLoadAssignment) -> &mut LbEndpoint {
        &mut message.endpoints[0].lb_endpoints[0]
    }
    fn address(message: &mut ClusterLoadAssignment, place: Place) {
        *first(message) = endpoint(Address { address: Some(place) });
    }
    let table: [(Change, &str); 15] = [
        (|message| message.endpoints[2].priority = 2, "endpoints"),
        (|message| message.endpoints[2].priority = 0, "endpoints"),
        (|message| message.endpoints[2].priority = 1000, "endpoints[2].priority"),
        (|message| message.endpoints[0].load_balancing_weight = Some(uint32(u32::MAX)), "endpoints"),
        (|message| message.endpoints[0].load_balancing_weight = Some(uint32(0)), "endpoints[0].load_balancing_weight"),
        (
            |message| first(message).load_balancing_weight = Some(uint32(0)),
            "endpoints[0].lb_endpoints[0].load_balancing_weight",
        ),
        (|message| first(message).health_status = 9, "endpoints[0].lb_endpoints[0].health_status"),
        (|message| first(message).host_identifier = None, "endpoints[0].lb_endpoints[0].endpoint"),
        (
            |message| first(message).host_identifier = Some(HostIdentifier::EndpointName("e".into())),
            "endpoints[0].lb_endpoints[0].endpoint_name",
        ),
        (
            |message| address(message, Place::Pipe(Pipe::default())),
            "endpoints[0].lb_endpoints[0].endpoint.address.address",
        ),
        (
            |message| address(message, Place::EnvoyInternalAddress(EnvoyInternalAddress::default())),
            "endpoints[0].lb_endpoints[0].endpoint.address.address",
        ),
        (
            |message| {
                let mut socket = at("10.0.0.1:80");
                let Some(Place::SocketAddress(inner)) = &mut socket.address else { panic!() };
                inner.address = "host.example".into();
                *first(message) = endpoint(socket);
            },
            "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address",
        ),
        (
            |message| message.endpoints[0].lb_config = Some(LbConfig::LedsClusterLocalityConfig(Default::default())),
            "endpoints[0].leds_cluster_locality_config",
        ),
        (
            |message| message.policy.as_mut().unwrap().overprovisioning_factor = Some(uint32(0)),
            "policy.overprovisioning_factor",
        ),
        (
            |message| {
                let drop = DropOverload { category: "c".into(), drop_percentage: None };
                message.policy.as_mut().unwrap().drop_overloads.push(drop);
            },
            "policy.drop_overloads[0].drop_percentage",
        ),
    ];
    assert!(decoded(&message()).is_ok());
    for (change, expected) in table {
        assert_eq!(field(decoded(&changed(message(), change))), expected);
    }
}

#[test]
fn what_is_left_out_is_said() {
    let message = changed(message(), |message| {
        message.named_endpoints.insert("e".into(), WireEndpoint::default());
        message.endpoints[1].proximity = Some(uint32(1));
    });
    assert_eq!(warned(&decoded(&message).unwrap()), ["named_endpoints", "endpoints[1].proximity"]);
}

#[test]
fn shares_of_any_denominator() {
    for (denominator, expected) in [(0, 500_000), (1, 5_000), (2, 50)] {
        let share = FractionalPercent { numerator: 50, denominator };
        assert_eq!(per_million(&Report::default(), share).unwrap().value(), expected);
    }
    let all = FractionalPercent { numerator: u32::MAX, denominator: 0 };
    assert_eq!(per_million(&Report::default(), all).unwrap(), PerMillion::ALL);
}

#[test]
fn what_of_metadata_is_compared_with() {
    let kinds = [
        ("hash_key", Kind::NumberValue(1.0)),
        ("null", Kind::NullValue(0)),
        ("struct", Kind::StructValue(Struct::default())),
        (
            "list",
            Kind::ListValue(ListValue {
                values: vec![Value { kind: Some(Kind::BoolValue(true)) }, Value { kind: None }],
            }),
        ),
        ("text", Kind::StringValue("x".into())),
    ];
    let fields = kinds.into_iter().map(|(key, kind)| (key.to_owned(), Value { kind: Some(kind) })).collect();
    let mut message = message();
    message.endpoints[0].lb_endpoints[0].metadata =
        Some(Metadata { filter_metadata: [(BALANCING.to_owned(), Struct { fields })].into(), ..Metadata::default() });
    let endpoint = decoded(&message).unwrap().value.localities[0].endpoints[0].clone();
    let expected = [
        ("hash_key", EndpointValue::One(MetadataValue::Number(1.0))),
        ("list", EndpointValue::List(vec![MetadataValue::Bool(true)])),
        ("text", EndpointValue::One(MetadataValue::Text("x".into()))),
    ];
    assert_eq!(endpoint.metadata, expected.map(|(key, value)| (Text::from(key), value)).into());
    assert_eq!(endpoint.hash_key, None);
}

/// An endpoint behind a tunnel, as Istio sends it.
fn behind_tunnel(pairs: &[(&str, &str)]) -> LbEndpoint {
    let mut metadata = Metadata::default();
    metadata.filter_metadata.insert("envoy.filters.listener.original_dst".into(), texts(pairs.iter().copied()));
    LbEndpoint { metadata: Some(metadata), ..endpoint(tunnel::wire_listener("10.0.0.7:80".into())) }
}

#[test]
fn endpoints_behind_tunnels() {
    let read = |endpoint: LbEndpoint| {
        let mut message = message();
        message.endpoints[0].lb_endpoints[0] = endpoint;
        decoded(&message)
    };
    let good = read(behind_tunnel(&[("local", "10.0.0.7:80")])).unwrap().value;
    let first = good.endpoints().next().unwrap();
    assert_eq!(first.address, "10.0.0.7:80".parse().unwrap());
    assert_eq!(first.tunnel, Some(Tunnel::default()));
    let via = read(behind_tunnel(&[("local", "[fd00::7]:80"), ("waypoint", "10.0.0.9:15008")])).unwrap().value;
    let first = via.endpoints().next().unwrap();
    assert_eq!(first.address, "[fd00::7]:80".parse().unwrap());
    assert_eq!(first.tunnel.as_ref().and_then(|tunnel| tunnel.via), Some("10.0.0.9:15008".parse().unwrap()));

    let at = "endpoints[0].lb_endpoints[0].";
    let namespace = "metadata.filter_metadata[envoy.filters.listener.original_dst]";
    let other = EnvoyInternalAddress {
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName("elsewhere".into())),
        ..EnvoyInternalAddress::default()
    };
    let mut not_somebody = behind_tunnel(&[("local", "10.0.0.7:80")]);
    let metadata = not_somebody.metadata.as_mut().unwrap();
    metadata.filter_metadata.insert("mesh.tunnel".into(), texts([("identities", "spiffe://td/a")]));
    for (endpoint, expected) in [
        (behind_tunnel(&[]), format!("{at}{namespace}.local")),
        (behind_tunnel(&[("local", "here:80")]), format!("{at}{namespace}.local")),
        (behind_tunnel(&[("local", "10.0.0.7:80"), ("waypoint", "")]), format!("{at}{namespace}.waypoint")),
        (not_somebody, format!("{at}metadata.filter_metadata[mesh.tunnel].identities")),
        (
            endpoint(Address { address: Some(Place::EnvoyInternalAddress(other)) }),
            format!("{at}endpoint.address.address"),
        ),
    ] {
        assert_eq!(field(read(endpoint)), expected);
    }
}

/// An endpoint in another network, as Istio sends it.
fn behind_gateway(target: &str) -> LbEndpoint {
    let mut endpoint = behind_tunnel(&[("local", "192.0.2.7:15008")]);
    let listener = EnvoyInternalAddress {
        endpoint_id: "192.0.2.7:15008".into(),
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName("inner_connect_originate".into())),
    };
    let Some(HostIdentifier::Endpoint(inner)) = &mut endpoint.host_identifier else { panic!() };
    inner.address = Some(Address { address: Some(Place::EnvoyInternalAddress(listener)) });
    let double = Kind::StructValue(texts([("hbone_target_address", target)]));
    let mut fields = texts([("workload", "carts;shop;carts;;c2")]).fields;
    fields.insert("double_hbone".into(), Value { kind: Some(double) });
    endpoint.metadata.as_mut().unwrap().filter_metadata.insert("istio".into(), Struct { fields });
    endpoint
}

#[test]
fn endpoints_in_other_networks() {
    let read = |endpoint: LbEndpoint| {
        let mut message = message();
        message.endpoints[0].lb_endpoints[0] = endpoint;
        decoded(&message)
    };
    let good = read(behind_gateway("carts.shop.svc.cluster.local:80")).unwrap().value;
    let first = good.endpoints().next().unwrap();
    assert_eq!((first.address, first.workload.as_str()), ("192.0.2.7:15008".parse().unwrap(), "carts;shop;carts;;c2"));
    let inner = InnerTunnel { host: "carts.shop.svc.cluster.local".parse().unwrap(), port: 80, identities: Vec::new() };
    assert_eq!(first.tunnel, Some(Tunnel { inner: Some(inner), ..Tunnel::default() }));

    let field_of = "endpoints[0].lb_endpoints[0].metadata.filter_metadata[istio].double_hbone.hbone_target_address";
    for target in ["carts", "carts:http", ":80", "192 0 2 7:80"] {
        assert_eq!(field(read(behind_gateway(target))), field_of, "{target}");
    }
    let mut nowhere = behind_gateway("carts:80");
    nowhere.metadata.as_mut().unwrap().filter_metadata.remove("istio");
    assert_eq!(field(read(nowhere)), field_of);
    let mut not_somebody = behind_gateway("carts:80");
    let metadata = not_somebody.metadata.as_mut().unwrap();
    metadata.filter_metadata.insert("mesh.tunnel".into(), texts([("inner_identities", "spiffe://td/a")]));
    let named = "endpoints[0].lb_endpoints[0].metadata.filter_metadata[mesh.tunnel].inner_identities";
    assert_eq!(field(read(not_somebody)), named);
}

proptest! {
    #[test]
    fn decoding_is_the_inverse_of_encoding(assignment in values::tunnelled()) {
        prop_assert_eq!(decode_assignment(&encode_assignment(&assignment)), Ok(whole(assignment)));
    }

    #[test]
    fn no_bytes_are_too_bad(bytes: Vec<u8>, assignment in values::tunnelled(), changes in changes()) {
        let _ = decode_assignment(&bytes);
        let _ = decode_assignment(&damaged(encode_assignment(&assignment), &changes));
    }
}
