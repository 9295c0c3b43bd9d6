use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, ZoneAwareLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::LbSubsetSelector;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    CustomClusterType, LbPolicy, LbSubsetConfig, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::load_balancing_policy::Policy as Entry;
use envoy_types::pb::envoy::config::cluster::v3::{Filter, LoadBalancingPolicy, OutlierDetection};
use envoy_types::pb::envoy::config::core::v3::health_check::payload::Payload as PayloadKind;
use envoy_types::pb::envoy::config::core::v3::health_check::{HealthChecker, Payload};
use envoy_types::pb::envoy::config::core::v3::{
    BindConfig, Http2ProtocolOptions, TransportSocket, TypedExtensionConfig, UpstreamHttpProtocolOptions,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::random::v3::Random;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::google::protobuf::{Any, UInt64Value};
use mesh_core::balance::{
    Choice, CircuitSettings, Discovery, Dns, DnsFamily, DnsHost, GrpcProbe, HashFunction, HealthCheck, HttpProbe,
    LeastRequest, LocalityBasis, LocalityWeights, Maglev, OnPanic, OutlierSettings, Policy, Probe, ProbeMethod,
    RetryLimit, RingHash, SelectorFallback, SlowStart, SubsetFallback, SubsetSelector, SubsetSettings, TableSize,
    TcpProbe, Thresholds, ZoneAware,
};
use mesh_core::string_match::Pattern;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::envoy::endpoint::tests::values::{address, assignment, metadata_value};
use crate::envoy::testing::{changed, changes, damaged, field, text, warned, whole};
use crate::envoy::tls::tests::values::upstream;
use crate::envoy::wire::{any as pack, uint32};

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn identity() -> impl Strategy<Value = mesh_core::name::SpiffeId> {
    text().prop_map(|name| format!("spiffe://td/ns/a/sa/{name}").parse().unwrap())
}

fn discovery() -> impl Strategy<Value = Discovery> {
    let host = (text(), any::<u16>()).prop_map(|(name, port)| DnsHost { name, port });
    let family =
        select(vec![DnsFamily::Auto, DnsFamily::V4Only, DnsFamily::V6Only, DnsFamily::V4Preferred, DnsFamily::All]);
    let settings = (family, millis(1..10_000), any::<bool>());
    let dns = (assignment(host, 0..3), settings).prop_map(|(hosts, (family, refresh, respect_ttl))| Dns {
        family,
        refresh,
        respect_ttl,
        ..Dns::new(hosts)
    });
    let dns = dns.boxed();
    let one = dns.clone().prop_filter_map("one host", |mut dns| {
        dns.hosts.localities.truncate(1);
        let first = dns.hosts.localities.first_mut()?;
        first.endpoints.truncate(1);
        (first.endpoints.len() == 1).then_some(Discovery::LogicalDns(dns))
    });
    prop_oneof![
        option::of(text()).prop_map(|service_name| Discovery::Eds { service_name }),
        assignment(address(), 0..3).prop_map(Discovery::Static),
        dns.prop_map(Discovery::StrictDns),
        one,
        vec(text(), 1..4).prop_map(Discovery::Aggregate),
        Just(Discovery::OriginalDst),
        btree_map(any::<std::net::IpAddr>(), identity(), 0..3).prop_map(Discovery::TunnelToOriginalDst),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let slow_start = option::of(
        (millis(1..10_000), 0.1..5.0_f64, 0.0..=100.0_f64)
            .prop_map(|(window, aggression, min_weight_percent)| SlowStart { window, aggression, min_weight_percent }),
    )
    .boxed();
    let hashing = (any::<bool>(), option::of(100..300_u32))
        .prop_map(|(by_hostname, balance_factor)| Hashing { by_hostname, balance_factor })
        .boxed();
    let choice = prop_oneof![Just(Choice::All), (2..20_u32).prop_map(Choice::Random)];
    let function = select(vec![HashFunction::XxHash, HashFunction::Murmur2]);
    let size = select(vec![2, 251, 65_537, TableSize::LIMIT]).prop_map(|size| TableSize::try_new(size).unwrap());
    prop_oneof![
        millis(0..20_000).prop_map(|decay| Policy::PeakEwma { decay }),
        slow_start.clone().prop_map(|slow_start| Policy::RoundRobin { slow_start }),
        (choice, 0.0..3.0_f64, slow_start).prop_map(|(choice, bias, slow_start)| Policy::LeastRequest(LeastRequest {
            choice,
            bias,
            slow_start
        })),
        Just(Policy::Random),
        (function, 1..1000_u32, 1000..=RingHash::SIZE_LIMIT, hashing.clone()).prop_map(
            |(function, min_size, max_size, hashing)| {
                Policy::RingHash(RingHash { function, min_size, max_size, hashing })
            }
        ),
        (size, hashing).prop_map(|(table_size, hashing)| Policy::Maglev(Maglev { table_size, hashing })),
        any::<bool>().prop_map(|shuffle| Policy::PickFirst { shuffle }),
        Just(Policy::ClusterProvided),
    ]
}

fn outlier() -> impl Strategy<Value = OutlierSettings> {
    let times = (millis(1..1000), millis(1..1000), millis(0..1000), millis(0..1000));
    let flags = any::<[bool; 3]>();
    let percents = proptest::array::uniform9(0..=100_u32);
    let numbers = any::<[u32; 8]>();
    (times, flags, percents, numbers).prop_map(|((interval, base, more, jitter), flags, percents, numbers)| {
        OutlierSettings {
            interval,
            base_ejection_time: base,
            max_ejection_time: base + more,
            max_ejection_jitter: jitter,
            max_ejection_percent: percents[0],
            always_eject_one: flags[0],
            passing_check_unejects: flags[1],
            split_local_origin: flags[2],
            consecutive_5xx: numbers[0],
            enforcing_consecutive_5xx: percents[1],
            consecutive_gateway_failure: numbers[1],
            enforcing_consecutive_gateway_failure: percents[2],
            consecutive_local_origin_failure: numbers[2],
            enforcing_consecutive_local_origin_failure: percents[3],
            success_rate_minimum_hosts: numbers[3],
            success_rate_request_volume: numbers[4],
            success_rate_stdev_factor: numbers[5],
            enforcing_success_rate: percents[4],
            enforcing_local_origin_success_rate: percents[5],
            failure_percentage_threshold: percents[6],
            failure_percentage_minimum_hosts: numbers[6],
            failure_percentage_request_volume: numbers[7],
            enforcing_failure_percentage: percents[7],
            enforcing_failure_percentage_local_origin: percents[8],
        }
    })
}

fn circuit() -> impl Strategy<Value = CircuitSettings> {
    let retries = prop_oneof![
        any::<u32>().prop_map(RetryLimit::Count),
        (0.0..=100.0_f64, any::<u32>(), millis(0..1000))
            .prop_map(|(percent, min_concurrency, interval)| RetryLimit::Budget { percent, min_concurrency, interval }),
    ];
    let thresholds =
        (any::<[u32; 3]>(), retries).prop_map(|([max_connections, max_pending_requests, max_requests], retries)| {
            Thresholds { max_connections, max_pending_requests, max_requests, retries }
        });
    let thresholds = thresholds.boxed();
    (thresholds.clone(), thresholds, option::of(any::<u32>())).prop_map(|(default, high, per_endpoint)| {
        CircuitSettings { default, high, max_connections_per_endpoint: per_endpoint }
    })
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let pairs = vec((text(), text()), 0..2).boxed();
    let ranges = vec((100..300_u16, 301..=600_u16).prop_map(|(start, end)| start..end), 0..2).boxed();
    let methods = vec![
        ProbeMethod::Get,
        ProbeMethod::Head,
        ProbeMethod::Post,
        ProbeMethod::Put,
        ProbeMethod::Delete,
        ProbeMethod::Options,
        ProbeMethod::Trace,
        ProbeMethod::Patch,
    ];
    let service_name =
        option::of((text(), any::<bool>()).prop_map(|(text, ignore_case)| Pattern::Exact { text, ignore_case }));
    let limit = prop_oneof![Just(None), (1..u64::MAX).prop_map(Some)];
    let deep = (any::<Vec<u8>>(), vec(any::<Vec<u8>>(), 0..2), limit, service_name);
    let http = (
        (text(), "/[a-z]{0,3}", select(methods), deep),
        pairs.clone(),
        vec(text(), 0..2),
        ranges.clone(),
        ranges,
        any::<bool>(),
    )
        .prop_map(
            |((host, path, method, deep), headers, remove_headers, expected_statuses, retriable_statuses, http2)| {
                let (mut send, receive, body_limit, service_name) = deep;
                if matches!(method, ProbeMethod::Get | ProbeMethod::Head | ProbeMethod::Delete | ProbeMethod::Trace) {
                    send.clear();
                }
                Probe::Http(HttpProbe {
                    send,
                    receive,
                    body_limit,
                    service_name,
                    host,
                    path: path.into(),
                    method,
                    headers,
                    remove_headers,
                    expected_statuses,
                    retriable_statuses,
                    http2,
                })
            },
        );
    let tcp = (any::<Vec<u8>>(), vec(any::<Vec<u8>>(), 0..2))
        .prop_map(|(send, receive)| Probe::Tcp(TcpProbe { send, receive }));
    let grpc = (text(), text(), pairs)
        .prop_map(|(service, authority, metadata)| Probe::Grpc(GrpcProbe { service, authority, metadata }));
    let some = || option::of(millis(1..1000));
    let times = (millis(1..1000), millis(1..1000), millis(0..9), millis(0..9), millis(1..1000));
    let more = (some(), some(), some(), some());
    let rest = (1..9_u32, 1..9_u32, 0..100_u32, option::of(any::<u16>()), any::<bool>(), vec(text(), 0..2));
    (prop_oneof![http, tcp, grpc], times, more, rest).prop_map(|(probe, times, more, rest)| {
        let (timeout, interval, initial_jitter, interval_jitter, no_traffic_interval) = times;
        let (no_traffic_healthy_interval, unhealthy_interval, unhealthy_edge_interval, healthy_edge_interval) = more;
        let (unhealthy, healthy, interval_jitter_percent, port, reuse_connection, alpn) = rest;
        HealthCheck {
            probe,
            timeout,
            interval,
            unhealthy_threshold: NonZeroU32::new(unhealthy).unwrap(),
            healthy_threshold: NonZeroU32::new(healthy).unwrap(),
            initial_jitter,
            interval_jitter,
            interval_jitter_percent,
            port,
            reuse_connection,
            no_traffic_interval,
            no_traffic_healthy_interval,
            unhealthy_interval,
            unhealthy_edge_interval,
            healthy_edge_interval,
            alpn,
        }
    })
}

fn has_localities(policy: &Policy) -> bool {
    !policy.hashes() && !matches!(policy, Policy::PickFirst { .. } | Policy::ClusterProvided)
}

fn subsets() -> impl Strategy<Value = SubsetSettings> {
    let of_policy = select(vec![SubsetFallback::None, SubsetFallback::Any, SubsetFallback::Default]).boxed();
    let keys = btree_set("[a-d]{1,2}".prop_map(|key| Text::from(key.as_str())), 1..4);
    let fallback = option::of(prop_oneof![of_policy.clone().prop_map(Some), Just(None)]);
    let selector = (keys, any::<bool>(), fallback).prop_map(|(keys, single_endpoint, fallback)| {
        let fewer: BTreeSet<_> = keys.iter().skip(1).cloned().collect();
        let fallback = fallback.and_then(|policy| match policy {
            Some(policy) => Some(SelectorFallback::Policy(policy)),
            None => (!fewer.is_empty()).then_some(SelectorFallback::Keys(fewer)),
        });
        SubsetSelector { keys, single_endpoint, fallback }
    });
    let weights = select(vec![LocalityWeights::Ignored, LocalityWeights::Kept, LocalityWeights::Scaled]);
    let default = btree_map(text(), metadata_value(), 0..3);
    (vec(selector, 1..4), of_policy, default, weights, any::<[bool; 3]>()).prop_map(
        |(selectors, fallback, default, locality_weights, [panic_any, list_as_any, redundant_keys])| SubsetSettings {
            fallback,
            default,
            locality_weights,
            panic_any,
            list_as_any,
            redundant_keys,
            ..SubsetSettings::new(selectors)
        },
    )
}

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let zone_aware = (any::<bool>(), 0..=100_u32, any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
        |(fail, percent, min_cluster_size, force, by_weight)| ZoneAware {
            on_panic: if fail { OnPanic::Fail } else { OnPanic::UseAll },
            percent,
            min_cluster_size,
            force_local: NonZeroU32::new(force),
            basis: if by_weight { LocalityBasis::Weight } else { LocalityBasis::Endpoints },
        },
    );
    let localities = prop_oneof![
        Just(Localities::Weighted),
        Just(Localities::default()),
        zone_aware.prop_map(Localities::ZoneAware),
    ];
    let protocol = select(vec![HttpProtocol::Http1, HttpProtocol::Http2, HttpProtocol::Auto, HttpProtocol::Downstream]);
    let transport = (text(), btree_map(text(), text(), 0..2), option::of(upstream()))
        .prop_map(|(name, labels, tls)| TransportMatch { name, labels, tls });
    let chosen = (policy(), localities, option::of(subsets()));
    let first = (text(), discovery(), millis(1..10_000), chosen, 0..=100_u32, any::<bool>());
    let second = (option::of(outlier()), circuit(), vec(health_check(), 0..2), protocol, any::<u32>());
    let third = (option::of(upstream()), vec(transport, 0..3), any::<bool>());
    (first, second, third).prop_map(|(first, second, (tls, transport_matches, tunnels))| {
        let (name, discovery, connect_timeout, (policy, localities, subsets), panic_threshold, ignore_unchecked) =
            first;
        let localities = match localities {
            // Those that hash know weights only, the others that choose in their own way nothing of localities.
            Localities::ZoneAware(_) if !has_localities(&policy) => Localities::default(),
            Localities::Weighted if !has_localities(&policy) && !policy.hashes() => Localities::default(),
            localities => localities,
        };
        let (outlier, circuit, health_checks, protocol, max_requests) = second;
        Cluster {
            name,
            discovery,
            connect_timeout,
            policy,
            localities,
            subsets,
            panic_threshold,
            ignore_unchecked,
            outlier,
            circuit,
            health_checks,
            protocol,
            max_requests_per_connection: NonZeroU32::new(max_requests),
            tls,
            transport_matches,
            tunnels,
        }
    })
}

/// As Istio sends it: without `load_balancing_policy`.
fn message() -> WireCluster {
    let eds = Discovery::Eds { service_name: None };
    let mut message = wire_cluster(&Cluster::new("c", eds));
    message.load_balancing_policy = None;
    message.common_lb_config = None;
    message.circuit_breakers = None;
    message.typed_extension_protocol_options.clear();
    message
}

fn decoded(message: &WireCluster) -> Result<Decoded<Cluster>, Error> {
    decode_cluster(&message.encode_to_vec())
}

fn list(configs: impl IntoIterator<Item = Any>) -> LoadBalancingPolicy {
    let entry = |config| {
        let config = TypedExtensionConfig { name: "p".into(), typed_config: Some(config) };
        Entry { typed_extension_config: Some(config) }
    };
    LoadBalancingPolicy { policies: configs.into_iter().map(entry).collect() }
}

fn unknown() -> Any {
    Any { type_url: "type.googleapis.com/example.Unknown".into(), value: vec![] }
}

#[test]
fn what_is_refused() {
    type Change = fn(&mut WireCluster);
    fn outlier(message: &mut WireCluster, change: fn(&mut OutlierDetection)) {
        message.outlier_detection = Some(changed(OutlierDetection::default(), change));
    }
    fn subset(message: &mut WireCluster, change: fn(&mut LbSubsetConfig)) {
        let selector = LbSubsetSelector { keys: vec!["k".into()], ..LbSubsetSelector::default() };
        let config = LbSubsetConfig { subset_selectors: vec![selector], ..LbSubsetConfig::default() };
        message.lb_subset_config = Some(changed(config, change));
    }
    let table: [(Change, &str); 29] = [
        (|message| message.name.clear(), "name"),
        (|message| message.lb_policy = 99, "lb_policy"),
        (|message| message.lb_policy = LbPolicy::LoadBalancingPolicyConfig.into(), "load_balancing_policy"),
        (|message| message.load_balancing_policy = Some(list([unknown()])), "load_balancing_policy.policies"),
        (|message| message.load_balancing_policy = Some(list([])), "load_balancing_policy.policies"),
        (
            |message| subset(message, |subset| subset.subset_selectors[0].keys.clear()),
            "lb_subset_config.subset_selectors",
        ),
        (|message| subset(message, |subset| subset.fallback_policy = 9), "lb_subset_config.fallback_policy"),
        (
            |message| subset(message, |subset| subset.subset_selectors[0].fallback_policy = 4),
            "lb_subset_config.subset_selectors",
        ),
        (
            |message| subset(message, |subset| subset.subset_selectors[0].fallback_policy = 9),
            "lb_subset_config.subset_selectors[0].fallback_policy",
        ),
        (
            |message| subset(message, |subset| subset.metadata_fallback_policy = 1),
            "lb_subset_config.metadata_fallback_policy",
        ),
        (
            |message| {
                subset(message, |subset| {
                    subset.default_subset = Some(Struct { fields: [("k".into(), Value { kind: None })].into() });
                });
            },
            "lb_subset_config.default_subset.k",
        ),
        (
            |message| {
                let config =
                    ZoneAwareLbConfig { routing_enabled: Some(Percent { value: 101.0 }), ..Default::default() };
                message.common_lb_config = Some(CommonLbConfig {
                    locality_config_specifier: Some(LocalityConfigSpecifier::ZoneAwareLbConfig(config)),
                    ..CommonLbConfig::default()
                });
            },
            "common_lb_config.zone_aware_lb_config.routing_enabled",
        ),
        (
            |message| {
                let check =
                    HealthCheck::new(Probe::Http(HttpProbe::new("/")), Duration::from_secs(1), Duration::from_secs(1));
                let mut check = health_check::wire_health_check(&check);
                if let Some(HealthChecker::HttpHealthCheck(http)) = &mut check.health_checker {
                    http.send = Some(Payload { payload: Some(PayloadKind::Text("6f6b".into())) });
                }
                message.health_checks = vec![check];
            },
            "health_checks[0].http_health_check.send",
        ),
        (|message| message.upstream_bind_config = Some(BindConfig::default()), "upstream_bind_config"),
        (|message| message.filters.push(Filter::default()), "filters"),
        (
            |message| message.connection_pool_per_downstream_connection = true,
            "connection_pool_per_downstream_connection",
        ),
        (
            |message| message.upstream_http_protocol_options = Some(UpstreamHttpProtocolOptions::default()),
            "upstream_http_protocol_options",
        ),
        (|message| message.eds_cluster_config = None, "eds_cluster_config"),
        (|message| message.eds_cluster_config.as_mut().unwrap().eds_config = None, "eds_cluster_config.eds_config"),
        (|message| message.load_assignment = Some(Default::default()), "load_assignment"),
        (|message| message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(0)), "load_assignment"),
        (|message| message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(9)), "type"),
        (
            |message| {
                let custom = CustomClusterType { name: "x".into(), typed_config: Some(unknown()) };
                message.cluster_discovery_type = Some(ClusterDiscoveryType::ClusterType(custom));
            },
            "cluster_type.typed_config",
        ),
        (
            |message| outlier(message, |outlier| outlier.max_ejection_time = Some(span(Duration::from_secs(1)))),
            "outlier_detection.max_ejection_time",
        ),
        (
            |message| outlier(message, |outlier| outlier.max_ejection_percent = Some(uint32(101))),
            "outlier_detection.max_ejection_percent",
        ),
        (
            |message| {
                message.lb_policy = LbPolicy::Maglev.into();
                let table_size = Some(UInt64Value { value: 65_536 });
                message.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }));
            },
            "maglev_lb_config.table_size",
        ),
        (
            |message| {
                message.lb_policy = LbPolicy::RingHash.into();
                let maximum_ring_size = Some(UInt64Value { value: 9_000_000 });
                let config = RingHashLbConfig { maximum_ring_size, ..RingHashLbConfig::default() };
                message.lb_config = Some(LbConfig::RingHashLbConfig(config));
            },
            "ring_hash_lb_config.maximum_ring_size",
        ),
        (
            |message| {
                message.lb_policy = LbPolicy::LeastRequest.into();
                let config = LeastRequestLbConfig { choice_count: Some(uint32(1)), ..LeastRequestLbConfig::default() };
                message.lb_config = Some(LbConfig::LeastRequestLbConfig(config));
            },
            "least_request_lb_config.choice_count",
        ),
        (|message| message.transport_socket = Some(TransportSocket::default()), "transport_socket.typed_config"),
    ];
    assert!(decoded(&message()).is_ok());
    for (change, expected) in table {
        assert_eq!(field(decoded(&changed(message(), change))), expected);
    }
}

#[test]
fn without_anything_it_is_as_envoy_has_it() {
    let decoded = decoded(&message()).unwrap();
    let expected = Cluster {
        policy: Policy::RoundRobin { slow_start: None },
        ..Cluster::new("c", Discovery::Eds { service_name: None })
    };
    assert_eq!(decoded, whole(expected));
}

#[test]
fn deprecated_ways_to_say_it() {
    let decoded = |change: fn(&mut WireCluster)| decoded(&changed(message(), change)).unwrap();
    let http2 = decoded(|message| message.http2_protocol_options = Some(Http2ProtocolOptions::default()));
    assert_eq!((http2.value.protocol, http2.warnings), (HttpProtocol::Http2, vec![]));
    let downstream = decoded(|message| message.protocol_selection = 1);
    assert_eq!(downstream.value.protocol, HttpProtocol::Downstream);
    let limited = decoded(|message| message.max_requests_per_connection = Some(uint32(7)));
    assert_eq!(limited.value.max_requests_per_connection, NonZeroU32::new(7));
    let divided = decoded(|message| {
        let selector = LbSubsetSelector { keys: vec!["b".into(), "a".into()], ..LbSubsetSelector::default() };
        message.lb_subset_config = Some(LbSubsetConfig {
            fallback_policy: 1,
            subset_selectors: vec![selector],
            scale_locality_weight: true,
            ..LbSubsetConfig::default()
        });
    });
    let settings =
        SubsetSettings { fallback: SubsetFallback::Any, ..SubsetSettings::new(vec![SubsetSelector::new(["a", "b"])]) };
    assert_eq!(divided.value.subsets, Some(settings));
    assert_eq!(warned(&divided), ["lb_subset_config.scale_locality_weight"]);
    // Nobody could ask for one.
    let whole = decoded(|message| message.lb_subset_config = Some(LbSubsetConfig::default()));
    assert_eq!((whole.value.subsets, whole.warnings), (None, vec![]));
    let other = decoded(|message| message.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig::default())));
    assert_eq!(warned(&other), ["lb_config"]);
}

#[test]
fn the_first_policy_that_is_supported() {
    let decoded = |policies| decoded(&WireCluster { load_balancing_policy: Some(policies), ..message() });
    let random = || pack(&Random::default());
    assert_eq!(decoded(list([unknown(), random()])).unwrap().value.policy, Policy::Random);
    let nest = |policies| pack(&WrrLocality { endpoint_picking_policy: Some(policies) });
    let nested = decoded(list([nest(list([random()]))])).unwrap().value;
    assert_eq!((nested.policy, nested.localities), (Policy::Random, Localities::Weighted));
    let divide = |settings: &SubsetSettings, policies| pack(&subset::wire_subsets(settings, policies));
    let settings = SubsetSettings::new(vec![SubsetSelector::new(["v"])]);
    let divided = decoded(list([divide(&settings, list([nest(list([random()]))]))])).unwrap().value;
    assert_eq!((divided.policy, divided.localities), (Policy::Random, Localities::Weighted));
    assert_eq!(divided.subsets.as_ref(), Some(&settings));
    let twice = list([divide(&settings, list([divide(&settings, list([random()]))]))]);
    assert_eq!(
        field(decoded(twice)),
        "load_balancing_policy.policies[0].typed_extension_config.typed_config.subset_lb_policy"
    );
    // Down to sixteen.
    for (depth, accepted) in [(15, true), (16, false)] {
        let deep = (0..depth).fold(list([random()]), |inner, _| list([nest(inner)]));
        assert_eq!(decoded(deep).is_ok(), accepted, "{depth}");
    }
}

#[test]
fn a_match_of_transports_must_be_of_texts() {
    let mut cluster = Cluster::new("c", Discovery::OriginalDst);
    cluster.transport_matches =
        vec![TransportMatch { name: "m".into(), labels: BTreeMap::from([("a".into(), "b".into())]), tls: None }];
    let mut message = wire_cluster(&cluster);
    for value in message.transport_socket_matches[0].r#match.as_mut().unwrap().fields.values_mut() {
        value.kind = Some(Kind::BoolValue(true));
    }
    assert_eq!(field(decoded(&message)), "transport_socket_matches[0].match[a]");
}

proptest! {
    #[test]
    fn decoding_is_the_inverse_of_encoding(cluster in any_cluster()) {
        let wire = WireCluster::decode(encode_cluster(&cluster).as_slice()).unwrap();
        // What Envoy refuses beside a policy.
        prop_assert!(wire.common_lb_config.unwrap().locality_config_specifier.is_none());
        prop_assert!(wire.lb_subset_config.is_none());
        prop_assert_eq!(decode_cluster(&encode_cluster(&cluster)), Ok(whole(cluster)));
    }

    #[test]
    fn no_bytes_are_too_bad(bytes: Vec<u8>, cluster in any_cluster(), changes in changes()) {
        let _ = decode_cluster(&bytes);
        let _ = decode_cluster(&damaged(encode_cluster(&cluster), &changes));
    }
}
