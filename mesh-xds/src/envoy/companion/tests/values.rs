//! Values of the core, of any shape that can be written.

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
        (name, text(), skip()).prop_map(|(name, key, skip_if_absent)| Of::RequestHeader { name, key, skip_if_absent }),
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
