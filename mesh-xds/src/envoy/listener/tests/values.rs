//! Listeners of any shape that can be written.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use mesh_core::authz::rbac::FilterRules;
use mesh_core::listener::{
    ClientCertDetails, ClientCertHeader, Codec, Direction, Drain, EscapedSlashes, FilterChain, FilterChainMatch,
    ForwardedFor, HttpFilter, HttpFilterKind, HttpLimits, HttpManager, HttpTimeouts, Listener, ListenerFilter,
    ListenerKind, PathNormalization, RouteSource, ServerHeader, SocketListener, SourceType, StripPort, TcpProxy,
    TcpTarget, Terminal, TransportProtocol, Underscores, UpgradeSupport, WeightedTarget,
};
use mesh_core::route::{FilterOverride, RouteConfig, RouteTable, VirtualHost};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::envoy::authn::tests::values as authn;
use crate::envoy::companion::tests::values as companion;
use crate::envoy::rbac::tests::values as rbac;
use crate::envoy::route::tests::values as route;
use crate::envoy::testing::text;
use crate::envoy::tls::tests::values as tls;

pub(super) fn listener() -> impl Strategy<Value = Listener> {
    let kind = prop_oneof![
        3 => socket().boxed().prop_map(|socket| ListenerKind::Socket(Box::new(socket))),
        1 => socket().boxed().prop_map(|socket| ListenerKind::Internal(Box::new(SocketListener {
            addresses: Vec::new(),
            bind_to_port: false,
            use_original_dst: false,
            transparent: None,
            freebind: None,
            ..socket
        }))),
        1 => manager().boxed().prop_map(|manager| ListenerKind::Api(Box::new(manager))),
    ];
    (text(), kind).prop_map(|(name, kind)| Listener { name, kind })
}

fn socket() -> impl Strategy<Value = SocketListener> {
    let address = || (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let addresses = btree_set(address(), 1..3).prop_map(|addresses| addresses.into_iter().collect::<Vec<_>>());
    let flags = any::<(bool, bool, Option<bool>, Option<bool>, bool)>();
    let chains = (vec(chain().boxed(), 1..3), option::of(chain().boxed()));
    let direction = select(vec![Direction::Unspecified, Direction::Inbound, Direction::Outbound]);
    let drain = select(vec![Drain::Default, Drain::ModifyOnly]);
    (addresses, flags, chains, direction, drain, vec(inspector(), 0..3), limit(), any::<u32>()).prop_map(
        |(addresses, flags, (candidates, default_chain), direction, drain, inspectors, inspection_timeout, bytes)| {
            let mut chains: Vec<FilterChain> = Vec::new();
            for candidate in candidates {
                if !chains.iter().any(|chain| chain.matcher.clashes_with(&candidate.matcher)) {
                    chains.push(candidate);
                }
            }
            let default_chain =
                default_chain.map(|chain| FilterChain { matcher: FilterChainMatch::default(), ..chain });
            let (bind_to_port, use_original_dst, transparent, freebind, continue_after_timeout) = flags;
            SocketListener {
                addresses,
                bind_to_port,
                use_original_dst,
                transparent,
                freebind,
                direction,
                inspectors,
                inspection_timeout,
                continue_after_timeout,
                chains,
                default_chain,
                buffer_bytes: bytes,
                drain,
            }
        },
    )
}

fn limit() -> impl Strategy<Value = Option<Duration>> {
    option::of((1..10_000u64).prop_map(Duration::from_millis))
}

fn inspector() -> impl Strategy<Value = ListenerFilter> {
    let versions = select(vec![(true, true), (true, false), (false, true)]);
    prop_oneof![
        any::<(bool, Option<u32>)>().prop_map(|(close_on_error, max_hello_bytes)| ListenerFilter::TlsInspector {
            close_on_error,
            max_hello_bytes
        }),
        Just(ListenerFilter::HttpInspector),
        Just(ListenerFilter::OriginalDst),
        (any::<bool>(), versions).prop_map(|(optional, (v1, v2))| ListenerFilter::ProxyProtocol { optional, v1, v2 }),
    ]
}

fn matcher() -> impl Strategy<Value = FilterChainMatch> {
    let ranges = || {
        let range = (any::<IpAddr>(), 0..=32u8).prop_map(|(ip, length)| IpNet::new(ip, length).unwrap().trunc());
        btree_set(range, 0..2)
    };
    let names = select(vec!["a.b", "*.b", "c"]).prop_map(|name| name.parse().unwrap());
    let transport = option::of(select(vec![TransportProtocol::RawBuffer, TransportProtocol::Tls]));
    let kind = select(vec![SourceType::Any, SourceType::SameIpOrLoopback, SourceType::External]);
    let protocols = btree_set(text(), 0..2);
    let ports = btree_set(any::<u16>(), 0..2);
    (any::<Option<u16>>(), ranges(), btree_set(names, 0..2), transport, protocols, ranges(), kind, ranges(), ports)
        .prop_map(
            |(
                destination_port,
                destination_ranges,
                server_names,
                transport_protocol,
                application_protocols,
                direct_source_ranges,
                source_type,
                source_ranges,
                source_ports,
            )| FilterChainMatch {
                destination_port,
                destination_ranges,
                server_names,
                transport_protocol,
                application_protocols,
                direct_source_ranges,
                source_type,
                source_ranges,
                source_ports,
            },
        )
}

fn chain() -> impl Strategy<Value = FilterChain> {
    let ended = prop_oneof![
        tcp_proxy().boxed().prop_map(Terminal::Tcp),
        manager().boxed().prop_map(|manager| Terminal::Http(Box::new(manager))),
    ];
    let filters = prop_oneof![
        4 => (vec(rbac::network().boxed(), 0..2), ended),
        1 => Just((Vec::new(), Terminal::Close)),
    ];
    ("[a-z]{0,2}", matcher().boxed(), option::of(tls::downstream().boxed()), limit(), filters).prop_map(
        |(name, matcher, tls, handshake_timeout, (rbac, terminal))| FilterChain {
            name: name.into(),
            matcher,
            tls,
            handshake_timeout,
            rbac,
            terminal,
        },
    )
}

fn tcp_proxy() -> impl Strategy<Value = TcpProxy> {
    let weighted = (text(), 1..1000u32).prop_map(|(cluster, weight)| WeightedTarget { cluster, weight });
    let target = prop_oneof![text().prop_map(TcpTarget::Cluster), vec(weighted, 1..3).prop_map(TcpTarget::Weighted)];
    (target, limit(), limit(), 1..9u32, any::<bool>()).prop_map(
        |(target, idle_timeout, max_duration, max_connect_attempts, hash_source_ip)| TcpProxy {
            target,
            idle_timeout,
            max_duration,
            max_connect_attempts,
            hash_source_ip,
        },
    )
}

fn kind() -> impl Strategy<Value = HttpFilterKind> {
    let traffic = prop_oneof![
        Just(HttpFilterKind::Cors),
        route::fault().boxed().prop_map(|fault| HttpFilterKind::Fault(Box::new(fault))),
        option::of(route::session()).boxed().prop_map(HttpFilterKind::Session),
        route::own_local_rate_limit().boxed().prop_map(|limit| HttpFilterKind::LocalRateLimit(Box::new(limit))),
        route::header_mutation().boxed().prop_map(HttpFilterKind::HeaderMutation),
        (1..=u32::MAX).prop_map(HttpFilterKind::BodyLimit),
    ];
    prop_oneof![
        rbac::filter(true).boxed().prop_map(HttpFilterKind::Rbac),
        authn::filter().boxed().prop_map(|authn| HttpFilterKind::Authn(Box::new(authn))),
        companion::ext_authz().boxed().prop_map(|filter| HttpFilterKind::ExternalAuthz(Box::new(filter))),
        companion::global_rate_limit().boxed().prop_map(|filter| HttpFilterKind::RateLimit(Box::new(filter))),
        traffic.boxed(),
    ]
}

fn routes() -> impl Strategy<Value = RouteSource> {
    let overrides = || {
        let setting = prop_oneof![
            Just(FilterOverride::Disabled),
            rbac::filter(true).boxed().prop_map(|filter| FilterOverride::Rbac(Box::new(FilterRules::new(filter))))
        ];
        btree_map(text(), setting, 0..2)
    };
    let inline = (text(), overrides(), overrides()).prop_map(|(name, filters, of_host)| {
        let host =
            VirtualHost { name: "h".into(), domains: vec!["*".into()], filters: of_host, ..VirtualHost::default() };
        let config = RouteConfig { name, hosts: vec![host], filters, ..RouteConfig::default() };
        RouteSource::Inline(Box::new(RouteTable::new(config).unwrap()))
    });
    prop_oneof![text().prop_map(RouteSource::Rds), inline]
}

fn timeouts() -> impl Strategy<Value = HttpTimeouts> {
    let time = || (0..10_000u64).prop_map(Duration::from_millis);
    (limit(), limit(), limit(), limit(), limit(), limit(), time(), time()).prop_map(
        |(idle, connection, stream_idle, stream, request, request_headers, drain, delayed_close)| HttpTimeouts {
            idle,
            connection,
            stream_idle,
            stream,
            request,
            request_headers,
            drain,
            delayed_close,
        },
    )
}

fn limits() -> impl Strategy<Value = HttpLimits> {
    let window = || option::of(65_535..=0x7fff_ffffu32);
    (1..8193u32, 1..999u32, option::of(1..99u32), 1..999u32, window(), window(), any::<bool>()).prop_map(
        |(kib, headers, requests, concurrent_streams, stream_window_bytes, connection_window_bytes, connect)| {
            HttpLimits {
                request_headers_kib: kib,
                headers,
                requests_per_connection: requests,
                concurrent_streams,
                stream_window_bytes,
                connection_window_bytes,
                connect,
            }
        },
    )
}

fn client_cert() -> impl Strategy<Value = ClientCertHeader> {
    let details = || {
        any::<(bool, bool, bool, bool, bool)>().prop_map(|(subject, certificate, chain, dns_names, uri)| {
            ClientCertDetails { subject, certificate, chain, dns_names, uri }
        })
    };
    prop_oneof![
        Just(ClientCertHeader::Sanitize),
        Just(ClientCertHeader::ForwardOnly),
        details().prop_map(ClientCertHeader::AppendForward),
        details().prop_map(ClientCertHeader::SanitizeSet),
        Just(ClientCertHeader::AlwaysForwardOnly),
    ]
}

pub(super) fn manager() -> impl Strategy<Value = HttpManager> {
    let codec = select(vec![Codec::Auto, Codec::Http1, Codec::Http2]);
    let filters = btree_map("[a-z]{1,3}", (kind().boxed(), any::<bool>()), 0..3).prop_map(|filters| {
        let one = |(name, (kind, disabled)): (String, _)| HttpFilter { name: name.into(), kind, disabled };
        filters.into_iter().map(one).collect::<Vec<_>>()
    });
    let forwarded_for = any::<(bool, u32, bool)>().prop_map(|(use_remote_address, trusted_hops, skip_append)| {
        ForwardedFor { use_remote_address, trusted_hops, skip_append }
    });
    let slashes =
        select(vec![EscapedSlashes::Keep, EscapedSlashes::Reject, EscapedSlashes::Redirect, EscapedSlashes::Unescape]);
    let path = (any::<(bool, bool)>(), slashes).prop_map(|((normalize, merge_slashes), escaped_slashes)| {
        PathNormalization { normalize, merge_slashes, escaped_slashes }
    });
    let strip = select(vec![StripPort::Never, StripPort::Matching, StripPort::Any]);
    let server = prop_oneof![
        text().prop_map(ServerHeader::Overwrite),
        text().prop_map(ServerHeader::AppendIfAbsent),
        Just(ServerHeader::PassThrough),
    ];
    let underscores = select(vec![Underscores::Allow, Underscores::RejectRequest, Underscores::DropHeader]);
    let upgrade = (text(), any::<bool>()).prop_map(|(protocol, enabled)| UpgradeSupport { protocol, enabled });
    let first =
        (codec, routes().boxed(), filters.boxed(), "[A-Z]{1,3}", timeouts(), limits(), forwarded_for, path).boxed();
    let second = (strip, client_cert(), server, underscores, vec(upgrade, 0..2), any::<(bool, bool)>()).boxed();
    (first, second).prop_map(|(first, second)| {
        let (codec, routes, filters, router, timeouts, limits, forwarded_for, path) = first;
        let (strip_port, client_cert, server_header, underscores, upgrades, flags) = second;
        HttpManager {
            codec,
            routes,
            filters,
            router: router.into(),
            timeouts,
            limits,
            forwarded_for,
            path,
            strip_port,
            strip_trailing_host_dot: flags.0,
            client_cert,
            server_header,
            underscores,
            generate_request_id: flags.1,
            upgrades,
        }
    })
}
