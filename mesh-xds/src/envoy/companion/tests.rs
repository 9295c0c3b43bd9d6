use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, GoogleGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::config::route::v3::rate_limit::Action;
use envoy_types::pb::envoy::config::route::v3::rate_limit::action::{self, ActionSpecifier};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3 as authz;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz::Services;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3 as limit;
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, MetadataMatcher};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{Duration as Span, Struct, UInt32Value, UInt64Value};
use mesh_core::companion::ext_authz::{HeaderChoice, Service};
use mesh_core::route::{CheckOverride, DescriptorAction, FilterOverride, Hits};
use mesh_core::string_match::Pattern;
use proptest::prelude::*;
use prost::Message;
use std::time::Duration;

use super::*;
use crate::envoy::error::{Decoded, Error};
use crate::envoy::route::{Place, rate_limit as policy, wire_rate_limit};
use crate::envoy::testing::{changes, damaged, field, read, warned, whole};
use crate::envoy::wire::boolean;

/// Values of the core, of any shape that can be written.
pub(in crate::envoy) mod values {
    use std::time::Duration;

    use http::{HeaderValue, StatusCode};
    use ipnet::IpNet;
    use mesh_core::companion::ext_authz::*;
    use mesh_core::companion::rate_limit::*;
    use mesh_core::companion::{EditRules, GrpcService};
    use mesh_core::request::{MetadataMatch, NumberMatch, ValueMatch};
    use mesh_core::route::*;
    use mesh_core::string_match::Regex;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use crate::envoy::testing::{header, pattern, text};

    fn timeout() -> impl Strategy<Value = Option<Duration>> {
        option::of((1..1_000_000u64).prop_map(Duration::from_micros))
    }

    fn fraction() -> impl Strategy<Value = Option<Fraction>> {
        let denominator = select(vec![Denominator::Hundred, Denominator::TenThousand, Denominator::Million]);
        option::of((any::<u32>(), denominator).prop_map(|(numerator, denominator)| Fraction { numerator, denominator }))
    }

    fn grpc() -> impl Strategy<Value = GrpcService> {
        let metadata = ("x-[a-z]{1,3}", "[a-z]{1,3}")
            .prop_map(|(name, value)| (name.parse().unwrap(), HeaderValue::try_from(value).unwrap()));
        (text(), "[a-z]{0,2}", timeout(), vec(metadata, 0..2)).prop_map(|(cluster, authority, timeout, metadata)| {
            GrpcService { cluster, authority: authority.into(), timeout, metadata }
        })
    }

    fn template() -> impl Strategy<Value = Template> {
        select(vec!["a", "%REQ(x-a)%", "a%%b"]).prop_map(|source| Template::new(source).unwrap())
    }

    fn http() -> impl Strategy<Value = HttpService> {
        let path = prop_oneof![
            "(/[a-z]{0,3})?".prop_map(|prefix| CheckPath::Prefix(prefix.into())),
            "/[a-z]{0,3}".prop_map(|path| CheckPath::Whole(path.into())),
        ];
        let add = ("x-[a-z]{1,3}", template()).prop_map(|(name, value)| (name.parse().unwrap(), value));
        let list = || vec(pattern(), 0..2);
        let lists = (list(), list(), list(), list(), list());
        (text(), "[a-z]{0,3}", timeout(), path, vec(add, 0..2), lists).prop_map(
            |(cluster, uri, timeout, path, add, lists)| {
                let (upstream, upstream_append, client, client_on_success, metadata) = lists;
                HttpService {
                    cluster,
                    uri: uri.into(),
                    timeout,
                    path,
                    add,
                    upstream,
                    upstream_append,
                    client,
                    client_on_success,
                    metadata,
                }
            },
        )
    }

    fn body() -> impl Strategy<Value = CheckBody> {
        (1..u32::MAX, any::<bool>(), any::<bool>()).prop_map(|(max_bytes, allow_partial, as_bytes)| CheckBody {
            max_bytes,
            allow_partial,
            as_bytes,
        })
    }

    fn metadata_match() -> impl Strategy<Value = MetadataMatch> {
        let number = prop_oneof![
            any::<i32>().prop_map(|number| NumberMatch::Exact(number.into())),
            any::<(i32, i32)>().prop_map(|(start, end)| NumberMatch::Range { start: start.into(), end: end.into() }),
        ];
        let leaf = prop_oneof![
            Just(ValueMatch::Null),
            any::<bool>().prop_map(ValueMatch::Bool),
            any::<bool>().prop_map(ValueMatch::Present),
            number.prop_map(ValueMatch::Number),
            pattern().prop_map(ValueMatch::Text),
        ];
        let value = leaf.prop_recursive(2, 6, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| ValueMatch::Contains(Box::new(inner))),
                vec(inner, 2..4).prop_map(ValueMatch::Or),
            ]
        });
        (text(), vec(text(), 1..3), value, any::<bool>()).prop_map(|(filter, path, value, invert)| MetadataMatch {
            filter,
            path,
            value,
            invert,
        })
    }

    fn edit_rules() -> impl Strategy<Value = EditRules> {
        let regex = || option::of("[a-z]{1,2}[*+?]".prop_map(|source| Regex::new(&source).unwrap()));
        (any::<(bool, bool, bool)>(), regex(), regex()).prop_map(
            |((allow_envoy, disallow_all, disallow_is_error), allow, disallow)| EditRules {
                allow_envoy,
                disallow_all,
                allow,
                disallow,
                disallow_is_error,
            },
        )
    }

    pub(in crate::envoy) fn ext_authz() -> impl Strategy<Value = ExternalAuthz> {
        let service = prop_oneof![
            grpc().prop_map(Service::Grpc),
            http().boxed().prop_map(|service| Service::Http(Box::new(service))),
        ];
        let failure = (any::<(bool, bool)>(), 200..600u16).prop_map(|((allow, mark), status)| Failure {
            allow,
            mark,
            status: StatusCode::from_u16(status).unwrap(),
        });
        let headers = (option::of(vec(pattern(), 0..2)), vec(pattern(), 0..2))
            .prop_map(|(allowed, disallowed)| HeaderChoice { allowed, disallowed });
        let changes = (option::of(edit_rules().boxed()), option::of(1..u32::MAX), vec(text(), 0..2));
        let enabled = (fraction(), option::of(metadata_match().boxed()));
        let flags = (any::<[bool; 7]>(), any::<bool>());
        (service, failure, option::of(body()), headers, changes, enabled, flags).prop_map(
            |(service, failure, body, headers, changes, enabled, (flags, deny_at_disable))| {
                let (edit_rules, max_denied_body, metadata) = changes;
                let (enabled, enabled_metadata) = enabled;
                ExternalAuthz {
                    service,
                    failure,
                    body,
                    headers,
                    raw_headers: flags[0],
                    include_peer_certificate: flags[1],
                    include_tls_session: flags[2],
                    metadata,
                    clear_route_cache: flags[3],
                    validate_mutations: flags[4],
                    edit_rules,
                    take_metadata: flags[5],
                    max_denied_body,
                    enabled,
                    enabled_metadata,
                    deny_at_disable,
                }
            },
        )
    }

    pub(in crate::envoy) fn check_override() -> impl Strategy<Value = CheckOverride> {
        let body =
            prop_oneof![Just(BodyOverride::Inherit), Just(BodyOverride::Hidden), body().prop_map(BodyOverride::Shown)];
        (btree_map(text(), text(), 0..3), body).prop_map(|(context, body)| CheckOverride { context, body })
    }

    fn path() -> impl Strategy<Value = MetadataPath> {
        (text(), vec(text(), 1..3)).prop_map(|(filter, keys)| MetadataPath { filter, keys })
    }

    fn descriptor_action() -> impl Strategy<Value = DescriptorAction> {
        use DescriptorAction as Of;
        let plain = select(vec![Of::SourceCluster, Of::DestinationCluster, Of::RemoteAddress]);
        let name = select(vec!["x-a", ":path", ":authority"]).prop_map(|name| name.parse().unwrap());
        let skip = || any::<bool>();
        let condition =
            prop_oneof![any::<bool>().prop_map(QueryCondition::Present), pattern().prop_map(QueryCondition::Text)];
        let query = (text(), condition).prop_map(|(name, condition)| QueryMatch { name, condition });
        let range = prop_oneof![
            (any::<std::net::Ipv4Addr>(), 0..=32u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len).unwrap().trunc()),
            (any::<std::net::Ipv6Addr>(), 0..=128u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len).unwrap().trunc()),
        ];
        prop_oneof![
            plain,
            (name, text(), skip()).prop_map(|(name, key, skip_if_absent)| Of::RequestHeader {
                name,
                key,
                skip_if_absent
            }),
            (text(), text(), skip()).prop_map(|(name, key, skip_if_absent)| Of::QueryParameter {
                name,
                key,
                skip_if_absent
            }),
            (0..=32u8, 0..=128u8).prop_map(|(v4, v6)| Of::MaskedRemoteAddress { v4, v6 }),
            (text(), text()).prop_map(|(key, value)| Of::GenericKey { key, value }),
            (text(), text(), skip(), vec(header(), 1..3)).prop_map(|(key, value, expect, headers)| Of::HeaderMatch {
                key,
                value,
                expect,
                headers
            }),
            (text(), text(), skip(), vec(query, 1..3)).prop_map(|(key, value, expect, query)| Of::QueryMatch {
                key,
                value,
                expect,
                query
            }),
            (text(), template(), option::of(text()), vec(range, 0..3), skip()).prop_map(
                |(key, value, default, ranges, invert)| Of::RemoteAddressMatch { key, value, default, ranges, invert }
            ),
            (text(), path(), option::of(text()), skip()).prop_map(|(key, at, default, skip_if_absent)| Of::Metadata {
                key,
                at,
                default,
                skip_if_absent
            }),
        ]
    }

    /// Of routes; in filters the stage is 0.
    pub(in crate::envoy) fn rate_limit(stage: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = RateLimit> {
        let unit = select(vec![
            RateUnit::Second,
            RateUnit::Minute,
            RateUnit::Hour,
            RateUnit::Day,
            RateUnit::Week,
            RateUnit::Month,
            RateUnit::Year,
        ]);
        let limit = prop_oneof![
            (any::<u32>(), unit).prop_map(|(requests, unit)| LimitOverride::Fixed(Quota { requests, unit })),
            path().prop_map(LimitOverride::Metadata),
        ];
        let hits = prop_oneof![
            (0..=Hits::MOST, any::<bool>()).prop_map(|(number, negative)| Hits::Number { number, negative }),
            (template(), any::<bool>()).prop_map(|(text, negative)| Hits::Text { text, negative }),
        ];
        (stage, vec(descriptor_action().boxed(), 1..4), option::of(limit), option::of(hits), any::<Option<bool>>())
            .prop_map(|(stage, actions, limit, hits, headers)| RateLimit { stage, actions, limit, hits, headers })
    }

    pub(in crate::envoy) fn global_rate_limit() -> impl Strategy<Value = GlobalRateLimit> {
        let requests = select(vec![RequestKind::Internal, RequestKind::External, RequestKind::Both]);
        let limits = vec(rate_limit(0..=0).boxed(), 0..2);
        let status = |from| (from..600u16).prop_map(|status| StatusCode::from_u16(status).unwrap());
        let addition = ("x-[a-z]{1,3}", template(), any::<bool>()).prop_map(|(name, value, keep_empty)| Addition {
            name: name.parse().unwrap(),
            value,
            action: AppendAction::OverwriteIfExists,
            keep_empty,
        });
        let response = vec(addition, 0..2).prop_map(|add| Mutation { remove: Vec::new(), add });
        let fractions = (fraction(), fraction(), fraction());
        let what = (text(), 0..=10u32, requests, grpc(), limits);
        (what, status(200), status(400), response, fractions, any::<[bool; 5]>(), text()).prop_map(
            |(what, status_on_error, limited_status, response, fractions, flags, metadata)| {
                let (domain, stage, requests, service, limits) = what;
                let (failure_deny_fraction, enabled, enforced) = fractions;
                GlobalRateLimit {
                    domain,
                    stage,
                    requests,
                    service,
                    limits,
                    failure_deny: flags[0],
                    failure_deny_fraction,
                    status_on_error,
                    limited_status,
                    resource_exhausted: flags[1],
                    mark: flags[2],
                    headers: flags[3],
                    retry_after: flags[4],
                    response,
                    enabled,
                    enforced,
                    metadata,
                }
            },
        )
    }

    pub(in crate::envoy) fn rate_limit_override() -> impl Strategy<Value = RateLimitOverride> {
        let host = select(vec![HostLimits::Override, HostLimits::Include, HostLimits::Ignore]);
        (host, vec(rate_limit(0..=0).boxed(), 0..2), option::of(text()))
            .prop_map(|(host, limits, domain)| RateLimitOverride { host, limits, domain })
    }

    /// Settings of a level of a route table.
    pub(in crate::envoy) fn overrides() -> impl Strategy<Value = FilterOverride> {
        prop_oneof![
            check_override().prop_map(FilterOverride::ExternalAuthz),
            rate_limit_override().boxed().prop_map(FilterOverride::RateLimit),
        ]
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        authz in values::ext_authz(),
        check in values::check_override(),
        limit in values::global_rate_limit(),
        level in values::rate_limit_override(),
        of_route in values::rate_limit(0..=10),
    ) {
        prop_assert_eq!(read(|report| ext_authz(report, &wire_ext_authz(&authz))), Ok(whole(authz)));
        let decoded = read(|report| ext_authz_per_route(report, &wire_ext_authz_per_route(&check)));
        prop_assert_eq!(decoded, Ok(whole(FilterOverride::ExternalAuthz(check))));
        prop_assert_eq!(read(|report| global_rate_limit(report, &wire_global_rate_limit(&limit))), Ok(whole(limit)));
        let decoded = read(|report| rate_limit_per_route(report, &wire_rate_limit_per_route(&level)));
        prop_assert_eq!(decoded, Ok(whole(level)));
        let decoded = read(|report| policy(report, &wire_rate_limit(&of_route), Place::Route));
        prop_assert_eq!(decoded, Ok(whole(of_route)));
    }

    #[test]
    fn bytes_of_any_kind_are_survived(
        authz in values::ext_authz(),
        limit in values::global_rate_limit(),
        changes in changes(),
    ) {
        let bytes = damaged(wire_ext_authz(&authz).encode_to_vec(), &changes);
        if let Ok(wire) = authz::ExtAuthz::decode(&*bytes) {
            let _ = read(|report| ext_authz(report, &wire));
        }
        let bytes = damaged(wire_global_rate_limit(&limit).encode_to_vec(), &changes);
        if let Ok(wire) = limit::RateLimit::decode(&*bytes) {
            let _ = read(|report| global_rate_limit(report, &wire));
        }
    }
}

fn grpc_service() -> core::GrpcService {
    let target = EnvoyGrpc { cluster_name: "authz".into(), ..EnvoyGrpc::default() };
    core::GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)), ..core::GrpcService::default() }
}

fn list(names: &[&str]) -> Option<ListStringMatcher> {
    let exact = |name: &&str| crate::envoy::string_matcher::wire_pattern(&Pattern::exact(name));
    Some(ListStringMatcher { patterns: names.iter().map(exact).collect() })
}

type Authz = Result<Decoded<mesh_core::companion::ext_authz::ExternalAuthz>, Error>;

fn by_grpc(change: impl FnOnce(&mut authz::ExtAuthz)) -> Authz {
    let mut wire =
        authz::ExtAuthz { services: Some(Services::GrpcService(grpc_service())), ..authz::ExtAuthz::default() };
    change(&mut wire);
    read(|report| ext_authz(report, &wire))
}

fn at_grpc(change: impl FnOnce(&mut core::GrpcService)) -> Authz {
    by_grpc(|wire| {
        let mut service = grpc_service();
        change(&mut service);
        wire.services = Some(Services::GrpcService(service));
    })
}

fn at_envoy_grpc(change: impl FnOnce(&mut EnvoyGrpc)) -> Authz {
    at_grpc(|service| {
        let Some(TargetSpecifier::EnvoyGrpc(target)) = &mut service.target_specifier else { panic!("it is Envoy's") };
        change(target);
    })
}

fn by_http(change: impl FnOnce(&mut authz::HttpService)) -> Authz {
    by_grpc(|wire| {
        let uri = core::HttpUri {
            uri: "http://authz".into(),
            timeout: Some(Span { seconds: 1, nanos: 0 }),
            http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster("authz".into())),
        };
        let mut service = authz::HttpService { server_uri: Some(uri), ..authz::HttpService::default() };
        change(&mut service);
        wire.services = Some(Services::HttpService(service));
    })
}

fn at_uri(change: impl FnOnce(&mut core::HttpUri)) -> Authz {
    by_http(|service| change(service.server_uri.as_mut().unwrap()))
}

fn check(change: impl FnOnce(&mut authz::CheckSettings)) -> Result<Decoded<FilterOverride>, Error> {
    let mut settings = authz::CheckSettings::default();
    change(&mut settings);
    let wire = authz::ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) };
    read(|report| ext_authz_per_route(report, &wire))
}

#[test]
fn what_an_authorizer_would_miss_is_refused_by_name() {
    let status = |code| Some(HttpStatus { code });
    let header =
        |key: &str, value: &str| core::HeaderValue { key: key.into(), value: value.into(), ..Default::default() };
    let body = || authz::BufferSettings { max_request_bytes: 1, ..Default::default() };
    let regex = || Some(crate::envoy::string_matcher::wire_regex("("));
    let request = |headers| Some(authz::AuthorizationRequest { headers_to_add: headers, allowed_headers: None });
    for (decoded, expected) in [
        (by_grpc(|wire| wire.services = None), "services"),
        (by_grpc(|wire| wire.transport_api_version = 1), "transport_api_version"),
        (by_grpc(|wire| wire.with_request_body = Some(Default::default())), "with_request_body.max_request_bytes"),
        (by_grpc(|wire| wire.status_on_error = status(199)), "status_on_error"),
        (by_grpc(|wire| wire.status_on_error = status(600)), "status_on_error"),
        (by_grpc(|wire| wire.status_on_error = status(-1)), "status_on_error"),
        (by_grpc(|wire| wire.shadow_mode = true), "shadow_mode"),
        (
            by_grpc(|wire| wire.typed_metadata_context_namespaces = vec!["a".into()]),
            "typed_metadata_context_namespaces",
        ),
        (
            by_grpc(|wire| wire.route_metadata_context_namespaces = vec!["a".into()]),
            "route_metadata_context_namespaces",
        ),
        (
            by_grpc(|wire| wire.route_typed_metadata_context_namespaces = vec!["a".into()]),
            "route_typed_metadata_context_namespaces",
        ),
        (by_grpc(|wire| wire.filter_enabled = Some(Default::default())), "filter_enabled.default_value"),
        (by_grpc(|wire| wire.deny_at_disable = Some(Default::default())), "deny_at_disable.default_value"),
        (
            by_grpc(|wire| wire.filter_enabled_metadata = Some(MetadataMatcher::default())),
            "filter_enabled_metadata.path",
        ),
        (
            by_grpc(|wire| {
                wire.decoder_header_mutation_rules = Some(Default::default());
                wire.decoder_header_mutation_rules.as_mut().unwrap().disallow_expression = regex();
            }),
            "decoder_header_mutation_rules.disallow_expression.regex",
        ),
        (
            by_grpc(|wire| wire.allowed_headers = Some(ListStringMatcher { patterns: vec![Default::default()] })),
            "allowed_headers.patterns[0].match_pattern",
        ),
        (at_grpc(|service| service.target_specifier = None), "grpc_service.target_specifier"),
        (
            at_grpc(|service| service.target_specifier = Some(TargetSpecifier::GoogleGrpc(GoogleGrpc::default()))),
            "grpc_service.google_grpc",
        ),
        (at_grpc(|service| service.timeout = Some(Span { seconds: -1, nanos: 0 })), "grpc_service.timeout"),
        (
            at_grpc(|service| service.initial_metadata = vec![header("a", "%REQ(b)%")]),
            "grpc_service.initial_metadata[0].value",
        ),
        (at_grpc(|service| service.initial_metadata = vec![header(":a", "b")]), "grpc_service.initial_metadata[0].key"),
        (at_envoy_grpc(|target| target.cluster_name.clear()), "grpc_service.envoy_grpc.cluster_name"),
        (by_http(|service| service.server_uri = None), "http_service.server_uri"),
        (at_uri(|uri| uri.timeout = None), "http_service.server_uri.timeout"),
        (at_uri(|uri| uri.http_upstream_type = None), "http_service.server_uri.cluster"),
        (by_http(|service| service.path_prefix = "check".into()), "http_service.path_prefix"),
        (by_http(|service| service.path_override = "check".into()), "http_service.path_override"),
        (
            by_http(|service| (service.path_prefix, service.path_override) = ("/a".into(), "/b".into())),
            "http_service.path_override",
        ),
        (
            by_http(|service| service.authorization_request = request(vec![header("host", "b")])),
            "http_service.authorization_request.headers_to_add[0].key",
        ),
        (
            by_http(|service| service.authorization_request = request(vec![header("a", "%NOPE%")])),
            "http_service.authorization_request.headers_to_add[0].value",
        ),
    ] {
        assert_eq!(field(decoded), expected);
    }
    let per_route = |r#override| read(|report| ext_authz_per_route(report, &authz::ExtAuthzPerRoute { r#override }));
    for (decoded, expected) in [
        (per_route(None), "override"),
        (
            check(|settings| settings.service_override = Some(ServiceOverride::GrpcService(grpc_service()))),
            "check_settings.grpc_service",
        ),
        (
            check(|settings| settings.service_override = Some(ServiceOverride::HttpService(Default::default()))),
            "check_settings.http_service",
        ),
        (
            check(|settings| {
                settings.disable_request_body_buffering = true;
                settings.with_request_body = Some(body());
            }),
            "check_settings.with_request_body",
        ),
    ] {
        assert_eq!(field(decoded), expected);
    }
    let disabled = |disabled| per_route(Some(Override::Disabled(disabled))).unwrap().value;
    assert_eq!(disabled(true), FilterOverride::Disabled);
    assert_eq!(disabled(false), FilterOverride::ExternalAuthz(CheckOverride::default()));
}

#[test]
fn what_only_shows_elsewhere_is_warned_of() {
    let runtime =
        || core::RuntimeFractionalPercent { default_value: Some(Default::default()), runtime_key: "k".into() };
    let flag = || core::RuntimeFeatureFlag { default_value: Some(boolean(false)), runtime_key: "k".into() };
    for (decoded, expected) in [
        (by_grpc(|wire| wire.stat_prefix = "a".into()), "stat_prefix"),
        (by_grpc(|wire| wire.bootstrap_metadata_labels_key = "a".into()), "bootstrap_metadata_labels_key"),
        (by_grpc(|wire| wire.charge_cluster_response_stats = Some(boolean(true))), "charge_cluster_response_stats"),
        (by_grpc(|wire| wire.filter_metadata = Some(Struct::default())), "filter_metadata"),
        (by_grpc(|wire| wire.emit_filter_state_stats = true), "emit_filter_state_stats"),
        (by_grpc(|wire| wire.emit_client_span = Some(boolean(true))), "emit_client_span"),
        (by_grpc(|wire| wire.filter_enabled = Some(runtime())), "filter_enabled.runtime_key"),
        (by_grpc(|wire| wire.deny_at_disable = Some(flag())), "deny_at_disable.runtime_key"),
        (
            by_grpc(|wire| {
                wire.decoder_header_mutation_rules = Some(Default::default());
                wire.decoder_header_mutation_rules.as_mut().unwrap().allow_all_routing = Some(boolean(true));
            }),
            "decoder_header_mutation_rules.allow_all_routing",
        ),
        (at_grpc(|service| service.retry_policy = Some(Default::default())), "grpc_service.retry_policy"),
        (
            at_envoy_grpc(|target| target.retry_policy = Some(Default::default())),
            "grpc_service.envoy_grpc.retry_policy",
        ),
        (at_envoy_grpc(|target| target.skip_envoy_headers = true), "grpc_service.envoy_grpc.skip_envoy_headers"),
        (
            at_envoy_grpc(|target| target.max_receive_message_length = Some(UInt32Value { value: 1 })),
            "grpc_service.envoy_grpc.max_receive_message_length",
        ),
        (by_http(|service| service.retry_policy = Some(Default::default())), "http_service.retry_policy"),
    ] {
        assert_eq!(warned(&decoded.unwrap()), [expected]);
    }
    let spans = check(|settings| settings.emit_client_span = Some(boolean(true))).unwrap();
    assert_eq!(warned(&spans), ["check_settings.emit_client_span"]);
    assert_eq!(by_grpc(|wire| wire.enforce_response_header_limits = true).unwrap().warnings, []);
}

#[test]
fn absent_fields_have_envoys_defaults() {
    let timeout = |decoded: Authz| match decoded.unwrap().value.service {
        Service::Grpc(service) => service.timeout,
        Service::Http(service) => service.timeout,
    };
    assert_eq!(timeout(by_grpc(|_| ())), Some(Duration::from_millis(200)));
    assert_eq!(timeout(at_grpc(|service| service.timeout = Some(Span::default()))), None);
    assert_eq!(timeout(at_uri(|uri| uri.timeout = Some(Span::default()))), None);
    let settings = by_grpc(|_| ()).unwrap().value;
    assert_eq!((settings.failure.status.as_u16(), settings.failure.allow, settings.take_metadata), (403, false, true));
    assert_eq!(settings.headers, HeaderChoice::default());

    let settings = limits(|_| ()).unwrap().value;
    assert_eq!((settings.service.timeout, settings.failure_deny), (Some(Duration::from_millis(20)), false));
    assert_eq!((settings.limited_status.as_u16(), settings.status_on_error.as_u16(), settings.mark), (429, 500, true));
    assert_eq!((settings.enabled, settings.enforced), (None, None));
    assert_eq!(settings.metadata.as_str(), "envoy.filters.http.ratelimit");
    let status =
        |code| limits(|wire| wire.rate_limited_status = Some(HttpStatus { code })).unwrap().value.limited_status;
    assert_eq!([0, 200, 399, 400, 503].map(|code| status(code).as_u16()), [429, 429, 429, 400, 503]);
}

#[test]
fn headers_that_are_allowed_at_the_old_place_count() {
    let old = |names: &[&str]| {
        let request = authz::AuthorizationRequest { allowed_headers: list(names), headers_to_add: Vec::new() };
        move |service: &mut authz::HttpService| service.authorization_request = Some(request)
    };
    let settings = by_http(old(&["a"])).unwrap().value;
    assert_eq!(settings.headers.allowed, Some(vec![Pattern::exact("a")]));
    let mut wire = wire_ext_authz(&settings);
    assert_eq!(wire.allowed_headers, list(&["a"]));
    let Some(Services::HttpService(service)) = &mut wire.services else { panic!("it is asked by HTTP") };
    old(&["b"])(service);
    assert_eq!(field(read(|report| ext_authz(report, &wire))), "allowed_headers");
}

fn limits(
    change: impl FnOnce(&mut limit::RateLimit),
) -> Result<Decoded<mesh_core::companion::rate_limit::GlobalRateLimit>, Error> {
    let service = envoy_types::pb::envoy::config::ratelimit::v3::RateLimitServiceConfig {
        grpc_service: Some(grpc_service()),
        transport_api_version: 2,
    };
    let mut wire =
        limit::RateLimit { domain: "shop".into(), rate_limit_service: Some(service), ..limit::RateLimit::default() };
    change(&mut wire);
    read(|report| global_rate_limit(report, &wire))
}

fn with_policy(
    place: Place,
    change: impl FnOnce(&mut route::RateLimit),
) -> Result<Decoded<mesh_core::route::RateLimit>, Error> {
    let mut wire = route::RateLimit { actions: vec![of(generic(|_| ()))], ..route::RateLimit::default() };
    change(&mut wire);
    read(|report| policy(report, &wire, place))
}

fn of(specifier: ActionSpecifier) -> Action {
    Action { action_specifier: Some(specifier) }
}

fn generic(change: impl FnOnce(&mut action::GenericKey)) -> ActionSpecifier {
    let mut key = action::GenericKey { descriptor_value: "v".into(), ..action::GenericKey::default() };
    change(&mut key);
    ActionSpecifier::GenericKey(key)
}

fn metadata(change: impl FnOnce(&mut action::MetaData)) -> ActionSpecifier {
    let mut wire = action::MetaData { descriptor_key: "k".into(), metadata_key: key(&["a"]), ..Default::default() };
    change(&mut wire);
    ActionSpecifier::Metadata(wire)
}

fn key(path: &[&str]) -> Option<envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey> {
    use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::{PathSegment, path_segment::Segment};
    let segment = |key: &&str| PathSegment { segment: Some(Segment::Key((*key).into())) };
    let path = path.iter().map(segment).collect();
    Some(envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey { key: "f".into(), path })
}

#[test]
fn what_would_count_otherwise_is_refused_by_name() {
    let bad_service = |change: fn(&mut envoy_types::pb::envoy::config::ratelimit::v3::RateLimitServiceConfig)| {
        limits(|wire| change(wire.rate_limit_service.as_mut().unwrap()))
    };
    for (decoded, expected) in [
        (limits(|wire| wire.domain.clear()), "domain"),
        (limits(|wire| wire.stage = 11), "stage"),
        (limits(|wire| wire.request_type = "odd".into()), "request_type"),
        (limits(|wire| wire.timeout = Some(Span { seconds: 0, nanos: -1 })), "timeout"),
        (limits(|wire| wire.rate_limit_service = None), "rate_limit_service"),
        (bad_service(|service| service.grpc_service = None), "rate_limit_service.grpc_service"),
        (bad_service(|service| service.transport_api_version = 1), "rate_limit_service.transport_api_version"),
        (limits(|wire| wire.enable_x_ratelimit_headers = 9), "enable_x_ratelimit_headers"),
        (limits(|wire| wire.rate_limited_status = Some(HttpStatus { code: 600 })), "rate_limited_status"),
        (limits(|wire| wire.status_on_error = Some(HttpStatus { code: 100 })), "status_on_error"),
        (limits(|wire| wire.filter_enabled = Some(Default::default())), "filter_enabled.default_value"),
        (limits(|wire| wire.filter_enforced = Some(Default::default())), "filter_enforced.default_value"),
        (
            limits(|wire| wire.failure_mode_deny_percent = Some(Default::default())),
            "failure_mode_deny_percent.default_value",
        ),
        (limits(|wire| wire.response_headers_to_add = vec![Default::default()]), "response_headers_to_add[0].header"),
        (limits(|wire| wire.rate_limits = vec![Default::default()]), "rate_limits[0].actions"),
    ] {
        assert_eq!(field(decoded), expected);
    }
    let stat = limits(|wire| wire.stat_prefix = "a".into()).unwrap();
    assert_eq!(warned(&stat), ["stat_prefix"]);
    let timeout = limits(|wire| {
        let service = wire.rate_limit_service.as_mut().and_then(|service| service.grpc_service.as_mut());
        service.unwrap().timeout = Some(Span { seconds: 1, nanos: 0 });
    });
    assert_eq!(warned(&timeout.unwrap()), ["rate_limit_service.grpc_service.timeout"]);
    let level = |change: fn(&mut limit::RateLimitPerRoute)| {
        let mut wire = limit::RateLimitPerRoute::default();
        change(&mut wire);
        read(|report| rate_limit_per_route(report, &wire))
    };
    assert_eq!(field(level(|wire| wire.vh_rate_limits = 9)), "vh_rate_limits");
    assert_eq!(field(level(|wire| wire.rate_limits = vec![Default::default()])), "rate_limits[0].actions");
    assert_eq!(warned(&level(|wire| wire.override_option = 1).unwrap()), ["override_option"]);
}

#[test]
fn policies_of_routes_and_filters() {
    let stage = |value| Some(UInt32Value { value });
    let hits = |number: Option<u64>, format: &str| {
        let number = number.map(|value| UInt64Value { value });
        Some(route::rate_limit::HitsAddend { number, format: format.into(), is_negative_hits: false })
    };
    let unit = |unit| {
        use route::rate_limit::r#override::{OverrideSpecifier, RateLimitOverride};
        let limit = OverrideSpecifier::RateLimit(RateLimitOverride { requests_per_unit: 1, unit });
        Some(route::rate_limit::Override { override_specifier: Some(limit) })
    };
    let deprecated = || {
        let wire =
            action::DynamicMetaData { descriptor_key: "k".into(), metadata_key: key(&["a"]), ..Default::default() };
        ActionSpecifier::DynamicMetadata(wire)
    };
    let masked = |v4, v6| {
        let mask = action::MaskedRemoteAddress { v4_prefix_mask_len: stage(v4), v6_prefix_mask_len: stage(v6) };
        ActionSpecifier::MaskedRemoteAddress(mask)
    };
    let on_route = |change: &dyn Fn(&mut route::RateLimit)| with_policy(Place::Route, change);
    let in_filter = |change: &dyn Fn(&mut route::RateLimit)| with_policy(Place::Filter, change);
    let with = |specifier: ActionSpecifier| with_policy(Place::Route, |wire| wire.actions = vec![of(specifier)]);
    for (decoded, expected) in [
        (on_route(&|wire| wire.stage = stage(11)), "stage"),
        (in_filter(&|wire| wire.stage = stage(0)), "stage"),
        (in_filter(&|wire| wire.disable_key = "k".into()), "disable_key"),
        (in_filter(&|wire| wire.actions = vec![of(deprecated())]), "actions[0].dynamic_metadata"),
        (on_route(&|wire| wire.apply_on_stream_done = true), "apply_on_stream_done"),
        (on_route(&|wire| wire.x_ratelimit_option = 9), "x_ratelimit_option"),
        (on_route(&|wire| wire.actions.clear()), "actions"),
        (on_route(&|wire| wire.hits_addend = hits(Some(1_000_000_001), "")), "hits_addend.number"),
        (on_route(&|wire| wire.hits_addend = hits(Some(1), "%REQ(a)%")), "hits_addend.format"),
        (on_route(&|wire| wire.hits_addend = hits(None, "")), "hits_addend.number"),
        (on_route(&|wire| wire.hits_addend = hits(None, "%BYTES_RECEIVED%")), "hits_addend.format"),
        (on_route(&|wire| wire.limit = unit(0)), "limit.rate_limit.unit"),
        (on_route(&|wire| wire.limit = unit(8)), "limit.rate_limit.unit"),
        (on_route(&|wire| wire.limit = Some(Default::default())), "limit.override_specifier"),
        (on_route(&|wire| wire.actions = vec![Action::default()]), "actions[0].action_specifier"),
        (with(ActionSpecifier::Extension(Default::default())), "actions[0].extension"),
        (with(generic(|key| key.descriptor_value.clear())), "actions[0].generic_key.descriptor_value"),
        (with(masked(33, 1)), "actions[0].masked_remote_address.v4_prefix_mask_len"),
        (with(masked(1, 129)), "actions[0].masked_remote_address.v6_prefix_mask_len"),
        (with(metadata(|wire| wire.source = 1)), "actions[0].metadata.source"),
        (with(metadata(|wire| wire.metadata_key = key(&[]))), "actions[0].metadata.metadata_key.path"),
        (with(ActionSpecifier::RequestHeaders(Default::default())), "actions[0].request_headers.header_name"),
        (
            with(ActionSpecifier::QueryParameters(Default::default())),
            "actions[0].query_parameters.query_parameter_name",
        ),
        (with(ActionSpecifier::HeaderValueMatch(Default::default())), "actions[0].header_value_match.headers"),
        (
            with(ActionSpecifier::QueryParameterValueMatch(Default::default())),
            "actions[0].query_parameter_value_match.query_parameters",
        ),
        (
            with(ActionSpecifier::RemoteAddressMatch(Default::default())),
            "actions[0].remote_address_match.descriptor_value",
        ),
    ] {
        assert_eq!(field(decoded), expected);
    }
    let runtime = on_route(&|wire| wire.disable_key = "k".into()).unwrap();
    assert_eq!(warned(&runtime), ["disable_key"]);
    let default = with(generic(|key| key.default_value = "d".into())).unwrap();
    assert_eq!(warned(&default), ["actions[0].generic_key.default_value"]);
    // The value is a text, as in Envoy.
    let value = with(generic(|key| key.descriptor_value = "%NOPE%".into())).unwrap().value;
    assert_eq!(value.actions, [DescriptorAction::GenericKey { key: "generic_key".into(), value: "%NOPE%".into() }]);
    let old = with(deprecated()).unwrap().value;
    assert_eq!(old.actions, with(metadata(|_| ())).unwrap().value.actions);
    let counted = in_filter(&|wire| wire.hits_addend = hits(Some(0), "")).unwrap().value;
    assert_eq!(counted.hits, Some(Hits::Number { number: 0, negative: false }));
}
