use envoy_types::pb::envoy::config::core::v3::{Address, CidrRange, TransportSocket};
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::{filter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as parts;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::google::protobuf::{BoolValue, Duration as Span};
use mesh_core::listener::{HttpTimeouts, Listener, ListenerKind, RouteSource, SocketListener, TcpProxy, Terminal};
use proptest::prelude::*;
use prost::Message;

use super::{decode_listener, encode_listener, http_manager};
use crate::envoy::config_source::wire_same_server;
use crate::envoy::error::{Decoded, Error};
use crate::envoy::testing::{changed, changes, damaged, field, read, warned, whole};
use crate::envoy::wire::{any as pack, boolean, uint32, wire_address};
use crate::pb::Any;

mod values;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_back(listener in values::listener().boxed()) {
        prop_assert_eq!(decode_listener(&encode_listener(&listener)), Ok(whole(listener)));
    }

    #[test]
    fn no_bytes_make_it_panic(
        listener in values::listener().boxed(),
        changes in changes(),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = decode_listener(&damaged(encode_listener(&listener), &changes));
        let _ = decode_listener(&noise);
    }
}

fn good_tcp() -> tcp::TcpProxy {
    let cluster_specifier = Some(tcp::tcp_proxy::ClusterSpecifier::Cluster("db".into()));
    tcp::TcpProxy { stat_prefix: "s".into(), cluster_specifier, ..Default::default() }
}

fn network(config: Any) -> wire::Filter {
    wire::Filter { name: "any".into(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

fn chain_of(filters: Vec<wire::Filter>) -> wire::FilterChain {
    wire::FilterChain { filters, ..Default::default() }
}

fn good_listener() -> wire::Listener {
    wire::Listener {
        name: "l".into(),
        address: Some(wire_address("10.0.0.7:80".parse().unwrap())),
        filter_chains: vec![chain_of(vec![network(pack(&good_tcp()))])],
        ..Default::default()
    }
}

fn reading(listener: &wire::Listener) -> Result<Decoded<Listener>, Error> {
    decode_listener(&listener.encode_to_vec())
}

fn socket_of(listener: &wire::Listener) -> SocketListener {
    match reading(listener).unwrap().value.kind {
        ListenerKind::Socket(socket) => *socket,
        ListenerKind::Internal(_) => panic!("an internal listener"),
        ListenerKind::Api(_) => panic!("an API listener"),
    }
}

fn tcp_reading(proxy: &tcp::TcpProxy) -> Result<Decoded<TcpProxy>, Error> {
    read(|report| super::tcp_proxy::tcp_proxy(report, proxy))
}

fn good_router() -> hcm::HttpFilter {
    http_filter("router", pack(&Router::default()))
}

fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    let config_type = Some(hcm::http_filter::ConfigType::TypedConfig(config));
    hcm::HttpFilter { name: name.into(), config_type, ..Default::default() }
}

fn good_manager() -> HttpConnectionManager {
    let rds = hcm::Rds { config_source: Some(wire_same_server()), route_config_name: "r".into() };
    HttpConnectionManager {
        stat_prefix: "s".into(),
        http_filters: vec![good_router()],
        route_specifier: Some(parts::RouteSpecifier::Rds(rds)),
        ..Default::default()
    }
}

fn manager_reading(manager: &HttpConnectionManager) -> Result<Decoded<mesh_core::listener::HttpManager>, Error> {
    read(|report| http_manager(report, manager))
}

#[test]
fn defaults_are_envoys() {
    let socket = socket_of(&good_listener());
    let expected =
        SocketListener { chains: socket.chains.clone(), ..SocketListener::new("10.0.0.7:80".parse().unwrap()) };
    assert_eq!(socket, expected);
    assert_eq!(socket.chains[0].terminal, Terminal::Tcp(TcpProxy::to("db")));

    let manager = manager_reading(&good_manager()).unwrap();
    let mut expected = mesh_core::listener::HttpManager::new(RouteSource::Rds("r".into()));
    expected.router = "router".into();
    assert_eq!(manager, whole(expected));
    assert_eq!(manager.value.timeouts, HttpTimeouts::default());
}

#[test]
fn what_a_listener_must_not_say_is_refused_by_name() {
    type Change = fn(&mut wire::Listener);
    fn internal(listener: &mut wire::Listener) {
        let kind = wire::listener::ListenerSpecifier::InternalListener(Default::default());
        listener.listener_specifier = Some(kind);
    }
    let cases: [(&str, Change); 21] = [
        ("name", |l| l.name.clear()),
        ("address", |l| l.address = None),
        ("address.address", |l| l.address = Some(Address::default())),
        ("additional_addresses[0].address", |l| l.additional_addresses = vec![Default::default()]),
        ("additional_addresses", |l| {
            l.additional_addresses = vec![wire::AdditionalAddress { address: l.address.clone(), ..Default::default() }];
        }),
        ("filter_chains", |l| l.filter_chains.clear()),
        ("fcds_config", |l| l.fcds_config = Some(Default::default())),
        ("filter_chain_matcher", |l| l.filter_chain_matcher = Some(Default::default())),
        ("socket_options", |l| l.socket_options = vec![Default::default()]),
        ("udp_listener_config", |l| l.udp_listener_config = Some(Default::default())),
        ("address", internal),
        ("bind_to_port", |l| {
            internal(l);
            l.address = None;
            l.bind_to_port = Some(BoolValue { value: true });
        }),
        ("deprecated_v1", |l| l.deprecated_v1 = Some(Default::default())),
        ("per_connection_buffer_high_watermark_timeout", |l| {
            l.per_connection_buffer_high_watermark_timeout = Some(Span { seconds: 1, nanos: 0 });
        }),
        ("traffic_direction", |l| l.traffic_direction = 3),
        ("drain_type", |l| l.drain_type = 2),
        ("listener_filters_timeout", |l| l.listener_filters_timeout = Some(Span { seconds: -1, nanos: 0 })),
        ("listener_filters[0].typed_config", |l| l.listener_filters = vec![Default::default()]),
        ("listener_filters[0].typed_config", |l| {
            let config_type = Some(listener_filter::ConfigType::TypedConfig(pack(&good_tcp())));
            l.listener_filters = vec![wire::ListenerFilter { config_type, ..Default::default() }];
        }),
        ("listener_filters[0].filter_disabled", |l| {
            l.listener_filters =
                vec![wire::ListenerFilter { filter_disabled: Some(Default::default()), ..Default::default() }];
        }),
        ("listener_filters[0].typed_config.disallowed_versions", |l| {
            let proxy = ProxyProtocol { disallowed_versions: vec![0, 1], ..Default::default() };
            let config_type = Some(listener_filter::ConfigType::TypedConfig(pack(&proxy)));
            l.listener_filters = vec![wire::ListenerFilter { config_type, ..Default::default() }];
        }),
    ];
    for (name, change) in cases {
        assert_eq!(field(reading(&changed(good_listener(), change))), name);
    }
    let default_only = changed(good_listener(), |l| l.default_filter_chain = l.filter_chains.pop());
    assert!(socket_of(&default_only).chains.is_empty());
    let off = Some(Span::default());
    let unlimited = wire::Listener { listener_filters_timeout: off, ..good_listener() };
    assert_eq!(socket_of(&unlimited).inspection_timeout, None);
}

#[test]
fn what_has_no_effect_is_said() {
    let listener = wire::Listener {
        stat_prefix: "s".into(),
        tcp_backlog_size: Some(uint32(9)),
        access_log: vec![Default::default()],
        ignore_global_conn_limit: true,
        default_filter_chain: Some(wire::FilterChain {
            filter_chain_match: Some(wire::FilterChainMatch { source_type: 1, ..Default::default() }),
            ..chain_of(vec![network(pack(&good_tcp()))])
        }),
        ..good_listener()
    };
    let decoded = reading(&listener).unwrap();
    let expected = [
        "stat_prefix",
        "access_log",
        "tcp_backlog_size",
        "ignore_global_conn_limit",
        "default_filter_chain.filter_chain_match",
    ];
    assert_eq!(warned(&decoded), expected);
}

#[test]
fn a_chain_ends_once_and_at_its_end() {
    let rbac = || network(pack(&NetworkRbac { stat_prefix: "s".into(), ..Default::default() }));
    let end = || network(pack(&good_tcp()));
    let other = || network(Any { type_url: "type.googleapis.com/x.Y".into(), value: Vec::new() });
    let with = |filters| wire::Listener { filter_chains: vec![chain_of(filters)], ..good_listener() };
    assert_eq!(socket_of(&with(vec![])).chains[0].terminal, Terminal::Close);
    assert_eq!(socket_of(&with(vec![rbac(), rbac(), end()])).chains[0].rbac.len(), 2);
    for (filters, name) in [
        (vec![rbac()], "filters"),
        (vec![end(), end()], "filters[1]"),
        (vec![end(), rbac()], "filters[1]"),
        (vec![other(), end()], "filters[0].typed_config"),
        (vec![wire::Filter::default()], "filters[0].typed_config"),
        (
            vec![wire::Filter {
                config_type: Some(filter::ConfigType::ConfigDiscovery(Default::default())),
                ..Default::default()
            }],
            "filters[0].config_discovery",
        ),
    ] {
        assert_eq!(field(reading(&with(filters))), format!("filter_chains[0].{name}"));
    }
    type Change = fn(&mut wire::FilterChain);
    let cases: [(&str, Change); 3] = [
        ("use_proxy_proto", |chain| chain.use_proxy_proto = Some(boolean(true))),
        ("transport_socket.typed_config", |chain| chain.transport_socket = Some(TransportSocket::default())),
        ("transport_socket_connect_timeout", |chain| {
            chain.transport_socket_connect_timeout = Some(Span { seconds: 0, nanos: -1 });
        }),
    ];
    for (name, change) in cases {
        let filter_chains = vec![changed(chain_of(vec![end()]), change)];
        let listener = wire::Listener { filter_chains, ..good_listener() };
        assert_eq!(field(reading(&listener)), format!("filter_chains[0].{name}"));
    }
}

#[test]
fn chains_that_match_the_same_are_refused() {
    let chain =
        |matcher| wire::FilterChain { filter_chain_match: Some(matcher), ..chain_of(vec![network(pack(&good_tcp()))]) };
    let names = |names: &[&str]| wire::FilterChainMatch {
        server_names: names.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    let with = |filter_chains| wire::Listener { filter_chains, ..good_listener() };
    let distinct = with(vec![chain(names(&["a.b", "c.d"])), chain(names(&["*.b"])), chain(names(&[]))]);
    assert_eq!(socket_of(&distinct).chains.len(), 3);
    let clash = with(vec![chain(names(&["e.f"])), chain(names(&["a.b", "c.d"])), chain(names(&["x.y", "C.D"]))]);
    assert_eq!(field(reading(&clash)), "filter_chains[2].filter_chain_match");
    // The bits below a prefix do not count, and no length is the length 0.
    let range = |prefix: &str, len: Option<u32>| wire::FilterChainMatch {
        prefix_ranges: vec![CidrRange { address_prefix: prefix.into(), prefix_len: len.map(uint32) }],
        ..Default::default()
    };
    let clash = with(vec![chain(range("10.1.2.3", Some(8))), chain(range("10.9.9.9", Some(8)))]);
    assert_eq!(field(reading(&clash)), "filter_chains[1].filter_chain_match");
    let clash = with(vec![chain(range("10.1.2.3", None)), chain(range("0.0.0.0", Some(0)))]);
    assert_eq!(field(reading(&clash)), "filter_chains[1].filter_chain_match");
    assert_eq!(socket_of(&with(vec![chain(range("::", None)), chain(range("0.0.0.0", None))])).chains.len(), 2);

    type Change = fn(&mut wire::FilterChainMatch);
    let cases: [(&str, Change); 10] = [
        ("server_names", |matcher| matcher.server_names = vec!["*".into()]),
        ("server_names", |matcher| matcher.server_names = vec!["*w.example".into()]),
        ("transport_protocol", |matcher| matcher.transport_protocol = "quic".into()),
        ("address_suffix", |matcher| matcher.address_suffix = "x".into()),
        ("suffix_len", |matcher| matcher.suffix_len = Some(uint32(1))),
        ("source_type", |matcher| matcher.source_type = 3),
        ("source_ports", |matcher| matcher.source_ports = vec![65536]),
        ("destination_port", |matcher| matcher.destination_port = Some(uint32(65536))),
        ("prefix_ranges[0].prefix_len", |matcher| {
            matcher.prefix_ranges = vec![CidrRange { address_prefix: "1.2.3.4".into(), prefix_len: Some(uint32(33)) }];
        }),
        ("source_prefix_ranges[0].address_prefix", |matcher| matcher.source_prefix_ranges = vec![Default::default()]),
    ];
    for (name, change) in cases {
        let listener = with(vec![chain(changed(Default::default(), change))]);
        assert_eq!(field(reading(&listener)), format!("filter_chains[0].filter_chain_match.{name}"));
    }
}

#[test]
fn what_tcp_must_not_say_is_refused_by_name() {
    use tcp::tcp_proxy::ClusterSpecifier;
    type Change = fn(&mut tcp::TcpProxy);
    fn weighted(list: &[(&str, u32)]) -> Option<ClusterSpecifier> {
        let one = |(name, weight): &(&str, u32)| tcp::tcp_proxy::weighted_cluster::ClusterWeight {
            name: (*name).to_owned(),
            weight: *weight,
            metadata_match: None,
        };
        let clusters = list.iter().map(one).collect();
        Some(ClusterSpecifier::WeightedClusters(tcp::tcp_proxy::WeightedCluster { clusters }))
    }
    let cases: [(&str, Change); 14] = [
        ("cluster", |p| p.cluster_specifier = None),
        ("cluster", |p| p.cluster_specifier = Some(ClusterSpecifier::Cluster(String::new()))),
        ("weighted_clusters.clusters", |p| p.cluster_specifier = weighted(&[])),
        ("weighted_clusters.clusters", |p| p.cluster_specifier = weighted(&[("a", u32::MAX), ("b", 1)])),
        ("weighted_clusters.clusters[1].weight", |p| p.cluster_specifier = weighted(&[("a", 1), ("b", 0)])),
        ("weighted_clusters.clusters[0].name", |p| p.cluster_specifier = weighted(&[("", 1)])),
        ("tunneling_config", |p| p.tunneling_config = Some(Default::default())),
        ("on_demand", |p| p.on_demand = Some(Default::default())),
        ("metadata_match", |p| p.metadata_match = Some(Default::default())),
        ("proxy_protocol_tlvs", |p| p.proxy_protocol_tlvs = vec![Default::default()]),
        ("upstream_connect_mode", |p| p.upstream_connect_mode = 1),
        ("max_connect_attempts", |p| p.max_connect_attempts = Some(uint32(0))),
        ("max_downstream_connection_duration", |p| {
            p.max_downstream_connection_duration = Some(Span { seconds: 0, nanos: 999_999 });
        }),
        ("hash_policy", |p| p.hash_policy = vec![Default::default()]),
    ];
    for (name, change) in cases {
        assert_eq!(field(tcp_reading(&changed(good_tcp(), change))), name);
    }
    let endless =
        tcp::TcpProxy { idle_timeout: Some(Span::default()), check_drain_close: Some(boolean(true)), ..good_tcp() };
    let decoded = tcp_reading(&endless).unwrap();
    assert_eq!((decoded.value.idle_timeout, warned(&decoded)), (None, vec!["check_drain_close"]));
}

#[test]
fn what_http_must_not_say_is_refused_by_name() {
    type Change = fn(&mut HttpConnectionManager);
    let cases: [(&str, Change); 26] = [
        ("codec_type", |m| m.codec_type = 3),
        ("route_specifier", |m| m.route_specifier = None),
        ("scoped_routes", |m| {
            m.route_specifier = Some(parts::RouteSpecifier::ScopedRoutes(Default::default()));
        }),
        ("rds.config_source", |m| m.route_specifier = Some(parts::RouteSpecifier::Rds(Default::default()))),
        ("rds.route_config_name", |m| {
            let config_source = Some(wire_same_server());
            let rds = hcm::Rds { config_source, route_config_name: String::new() };
            m.route_specifier = Some(parts::RouteSpecifier::Rds(rds));
        }),
        ("http_filters", |m| m.http_filters.clear()),
        ("original_ip_detection_extensions", |m| m.original_ip_detection_extensions = vec![Default::default()]),
        ("early_header_mutation_extensions", |m| m.early_header_mutation_extensions = vec![Default::default()]),
        ("forward_client_cert_matcher", |m| m.forward_client_cert_matcher = Some(Default::default())),
        ("scheme_header_transformation", |m| m.scheme_header_transformation = Some(Default::default())),
        ("path_normalization_options", |m| m.path_normalization_options = Some(Default::default())),
        ("typed_header_validation_config", |m| m.typed_header_validation_config = Some(Default::default())),
        ("forward_proto_config", |m| m.forward_proto_config = Some(Default::default())),
        ("http3_protocol_options", |m| m.http3_protocol_options = Some(Default::default())),
        ("path_with_escaped_slashes_action", |m| m.path_with_escaped_slashes_action = 9),
        ("forward_client_cert_details", |m| m.forward_client_cert_details = 5),
        ("set_current_client_cert_details.issuer", |m| {
            let details = parts::SetCurrentClientCertDetails { issuer: true, ..Default::default() };
            m.set_current_client_cert_details = Some(details);
        }),
        ("server_header_transformation", |m| m.server_header_transformation = 3),
        ("max_request_headers_kb", |m| m.max_request_headers_kb = Some(uint32(8193))),
        ("max_request_headers_kb", |m| m.max_request_headers_kb = Some(uint32(0))),
        ("request_timeout", |m| m.request_timeout = Some(Span { seconds: -1, nanos: 0 })),
        ("common_http_protocol_options.headers_with_underscores_action", |m| {
            m.common_http_protocol_options.get_or_insert_default().headers_with_underscores_action = 3;
        }),
        ("http_protocol_options.allow_absolute_url", |m| {
            m.http_protocol_options.get_or_insert_default().allow_absolute_url = Some(boolean(false));
        }),
        ("http2_protocol_options.initial_stream_window_size", |m| {
            m.http2_protocol_options.get_or_insert_default().initial_stream_window_size = Some(uint32(65_534));
        }),
        ("strip_any_host_port", |m| {
            m.strip_matching_host_port = true;
            m.strip_port_mode = Some(parts::StripPortMode::StripAnyHostPort(true));
        }),
        ("upgrade_configs[0].filters", |m| {
            let upgrade = parts::UpgradeConfig { filters: vec![Default::default()], ..Default::default() };
            m.upgrade_configs = vec![upgrade];
        }),
    ];
    for (name, change) in cases {
        assert_eq!(field(manager_reading(&changed(good_manager(), change))), name);
    }
    let manager = HttpConnectionManager { via: "x".into(), tracing: Some(Default::default()), ..good_manager() };
    assert_eq!(warned(&manager_reading(&manager).unwrap()), ["tracing", "via"]);
}

#[test]
fn the_router_is_last_and_names_are_different() {
    let rbac = |name: &str| http_filter(name, pack(&HttpRbac::default()));
    let unknown = |is_optional| {
        let config = Any { type_url: "type.googleapis.com/x.Y".into(), value: Vec::new() };
        hcm::HttpFilter { is_optional, ..http_filter("unknown", config) }
    };
    let router = good_router;
    let with = |http_filters| HttpConnectionManager { http_filters, ..good_manager() };
    for (filters, name) in [
        (vec![rbac("a")], "http_filters"),
        (vec![rbac("a"), rbac("a"), router()], "http_filters"),
        (vec![rbac("router"), router()], "http_filters"),
        (vec![router(), rbac("a")], "http_filters[1]"),
        (vec![router(), http_filter("second", pack(&Router::default()))], "http_filters[1]"),
        (vec![router(), unknown(true)], "http_filters[1]"),
        (vec![unknown(false), router()], "http_filters[0].typed_config"),
        (vec![rbac(""), router()], "http_filters[0].name"),
        (vec![hcm::HttpFilter { disabled: true, ..router() }], "http_filters[0].disabled"),
        (vec![hcm::HttpFilter { config_type: None, ..router() }], "http_filters[0].typed_config"),
        (
            vec![hcm::HttpFilter {
                config_type: Some(hcm::http_filter::ConfigType::ConfigDiscovery(Default::default())),
                is_optional: true,
                ..router()
            }],
            "http_filters[0].config_discovery",
        ),
        (
            vec![http_filter("r", pack(&Router { strict_check_headers: vec!["x".into()], ..Default::default() }))],
            "http_filters[0].typed_config.strict_check_headers",
        ),
    ] {
        assert_eq!(field(manager_reading(&with(filters))), name);
    }
    let decoded = manager_reading(&with(vec![unknown(true), rbac("a"), rbac("b"), router()])).unwrap();
    let names: Vec<_> = decoded.value.filters.iter().map(|filter| filter.name.as_str()).collect();
    assert_eq!((names, decoded.value.router.as_str()), (vec!["a", "b"], "router"));
    assert_eq!(warned(&decoded), ["http_filters[0].typed_config"]);
}

#[test]
fn an_api_listener_has_a_manager_and_nothing_else() {
    let api = |config| wire::Listener {
        name: "shop.example".into(),
        api_listener: Some(wire::ApiListener { api_listener: config }),
        ..Default::default()
    };
    let good = api(Some(pack(&good_manager())));
    let decoded = reading(&good).unwrap();
    assert!(
        matches!(&decoded.value.kind, ListenerKind::Api(manager) if manager.routes == RouteSource::Rds("r".into()))
    );
    assert!(decoded.warnings.is_empty());
    let more = wire::Listener { traffic_direction: 2, ..good };
    assert_eq!(warned(&reading(&more).unwrap()), ["(fields beside api_listener)"]);
    assert_eq!(field(reading(&api(None))), "api_listener.api_listener");
    assert_eq!(field(reading(&api(Some(pack(&good_tcp()))))), "api_listener.api_listener");
    let bad = HttpConnectionManager { codec_type: 3, ..good_manager() };
    assert_eq!(field(reading(&api(Some(pack(&bad))))), "api_listener.api_listener.codec_type");
}

#[test]
fn deep_conditions_are_read_on_a_small_stack() {
    use mesh_core::authz::rbac::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
    let permission =
        (0..crate::limits::MAX_CONDITION_DEPTH).fold(Permission::Any, |inner, _| Permission::And(vec![inner]));
    let policy = Policy { permissions: vec![permission], principals: vec![Principal::Any] };
    let rules = Some(Rbac { action: Action::Deny, policies: [("p".into(), policy)].into() });
    let config = pack(&crate::envoy::rbac::wire_http_rbac(&RbacFilter { rules, ..RbacFilter::default() }));
    let manager =
        HttpConnectionManager { http_filters: vec![http_filter("a", config), good_router()], ..good_manager() };
    let bytes = wire::Listener { filter_chains: vec![chain_of(vec![network(pack(&manager))])], ..good_listener() }
        .encode_to_vec();
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(move || decode_listener(&bytes).is_ok());
    assert!(thread.unwrap().join().unwrap());
}
