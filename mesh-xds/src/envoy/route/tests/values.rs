//! Values of the core, of any shape that can be written.

use std::time::Duration;

use http::HeaderName;
use mesh_core::authz::rbac::FilterRules;
use mesh_core::limit::TokenBucket;
use mesh_core::name::Text;
use mesh_core::request::{Condition, Field, HeaderMatch};
use mesh_core::route::*;
use mesh_core::string_match::{Regex, Substitution};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::envoy::companion::tests::values as companion;
use crate::envoy::rbac::tests::values as rbac;
use crate::envoy::testing::{pattern, text};

fn maybe_empty() -> impl Strategy<Value = Text> {
    "[a-z]{0,3}".prop_map(Text::from)
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..1_000_000_u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn some_duration() -> impl Strategy<Value = Duration> {
    duration().prop_map(|duration| duration + Duration::from_nanos(1))
}

fn name() -> impl Strategy<Value = HeaderName> {
    "x-[a-z]{1,4}".prop_map(|name| HeaderName::try_from(name).unwrap())
}

fn field() -> impl Strategy<Value = Field> {
    let pseudo = select(vec![Field::Method, Field::Scheme, Field::Authority, Field::Path]);
    prop_oneof![3 => name().prop_map(Field::Header), 1 => pseudo]
}

fn substitution() -> impl Strategy<Value = Substitution> {
    ("\\^\\([a-z]{1,2}\\)[*+]?", "[a-z]{0,2}(\\\\[01])?")
        .prop_map(|(pattern, with)| Substitution::new(&pattern, &with).unwrap())
}

fn template() -> impl Strategy<Value = Template> {
    let operator = "%REQ\\([a-z]{1,3}\\)%|%%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|[a-z]{1,3}";
    vec(operator, 1..4).prop_map(|parts| Template::new(&parts.concat()).unwrap())
}

pub(in crate::envoy) fn header_match() -> impl Strategy<Value = HeaderMatch> {
    let condition = prop_oneof![
        any::<bool>().prop_map(Condition::Present),
        pattern().prop_map(Condition::Text),
        any::<(i64, i64)>().prop_map(|(start, end)| Condition::Range { start, end }),
    ];
    (field(), condition, any::<bool>(), any::<bool>()).prop_map(|(name, condition, invert, missing_as_empty)| {
        HeaderMatch { name, condition, invert, missing_as_empty }
    })
}

fn fraction() -> impl Strategy<Value = Fraction> {
    let denominator = select(vec![Denominator::Hundred, Denominator::TenThousand, Denominator::Million]);
    (any::<u32>(), denominator).prop_map(|(numerator, denominator)| Fraction { numerator, denominator })
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        ("/[a-z]{0,3}", any::<bool>())
            .prop_map(|(path, ignore_case)| PathMatch::Exact { path: path.into(), ignore_case }),
        ("/?[a-z]{0,3}", any::<bool>())
            .prop_map(|(prefix, ignore_case)| PathMatch::Prefix { prefix: prefix.into(), ignore_case }),
        ("/[a-z]{1,3}", any::<bool>())
            .prop_map(|(prefix, ignore_case)| PathMatch::Separated { prefix: prefix.into(), ignore_case }),
        "/[a-z]{1,3}[*+?]".prop_map(|source| PathMatch::Regex(Regex::new(&source).unwrap())),
        Just(PathMatch::Connect),
    ]
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let condition =
        prop_oneof![any::<bool>().prop_map(QueryCondition::Present), pattern().prop_map(QueryCondition::Text)];
    let query = (text(), condition).prop_map(|(name, condition)| QueryMatch { name, condition });
    let cookie =
        (text(), pattern(), any::<bool>()).prop_map(|(name, pattern, invert)| CookieMatch { name, pattern, invert });
    let parts = (path(), vec(header_match(), 0..3), vec(query, 0..3), vec(cookie, 0..2), vec(pattern(), 0..2));
    (parts, any::<bool>(), option::of(fraction())).prop_map(
        |((path, headers, query, cookies, peer), grpc, fraction)| RouteMatch {
            path,
            headers,
            query,
            cookies,
            peer,
            grpc,
            fraction,
        },
    )
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let action = select(vec![
        AppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent,
        AppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists,
    ]);
    let addition = (name(), template(), action, any::<bool>()).prop_map(|(name, value, action, keep_empty)| Addition {
        name,
        value,
        action,
        keep_empty,
    });
    (vec(name(), 0..2), vec(addition, 0..2)).prop_map(|(remove, add)| Mutation { remove, add })
}

fn headers() -> impl Strategy<Value = HeaderEdits> {
    (mutation(), mutation()).prop_map(|(request, response)| HeaderEdits { request, response })
}

fn filters() -> impl Strategy<Value = FilterOverrides> {
    // Boxed, as unnamed values of all these types together do not fit the stack of a test.
    let rbac = rbac::filter(true).prop_map(|filter| FilterOverride::Rbac(Box::new(FilterRules::new(filter)))).boxed();
    let cors = cors().prop_map(FilterOverride::Cors).boxed();
    let fault = fault().prop_map(FilterOverride::Fault).boxed();
    let session = session().prop_map(FilterOverride::Session).boxed();
    let authn = option::of(text()).prop_map(FilterOverride::Authn).boxed();
    let companion = companion::overrides().boxed();
    let limit = local_rate_limit(bucket().prop_map(Some));
    let limit = limit.prop_map(|limit| FilterOverride::LocalRateLimit(OwnRateLimit::new(limit))).boxed();
    let edits = header_mutation().prop_map(|edits| HeaderMutation { most_specific_wins: false, ..edits });
    let edits = edits.prop_map(FilterOverride::HeaderMutation).boxed();
    let body = (1..=u32::MAX).prop_map(FilterOverride::BodyLimit).boxed();
    let ours = prop_oneof![limit, edits, body].boxed();
    let overrides = prop_oneof![Just(FilterOverride::Disabled), rbac, cors, fault, session, authn, companion, ours];
    btree_map(text(), overrides, 0..2)
}

fn bucket() -> impl Strategy<Value = TokenBucket> {
    let interval = duration().prop_map(|duration| duration + Duration::from_millis(50));
    (any::<u32>(), 1..=u32::MAX, interval).prop_map(|(max_tokens, tokens_per_fill, fill_interval)| TokenBucket {
        max_tokens,
        tokens_per_fill,
        fill_interval,
    })
}

/// One removal or one addition, as Envoy's filter has them.
fn step() -> impl Strategy<Value = Mutation> {
    (mutation(), any::<bool>()).prop_map(|(Mutation { mut remove, mut add }, removes)| {
        let first = remove.pop().unwrap_or(http::header::COOKIE);
        match add.pop().filter(|_| !removes) {
            Some(addition) => Mutation { remove: Vec::new(), add: vec![addition] },
            None => Mutation { remove: vec![first], add: Vec::new() },
        }
    })
}

pub(in crate::envoy) fn header_mutation() -> impl Strategy<Value = HeaderMutation> {
    (vec(step(), 0..3), vec(step(), 0..3), any::<bool>())
        .prop_map(|(request, response, most_specific_wins)| HeaderMutation { request, response, most_specific_wins })
}

/// What a filter has for itself.
pub(in crate::envoy) fn own_local_rate_limit() -> impl Strategy<Value = LocalRateLimit> {
    local_rate_limit(option::of(bucket()))
}

fn local_rate_limit(bucket: impl Strategy<Value = Option<TokenBucket>>) -> impl Strategy<Value = LocalRateLimit> {
    let additions = || mutation().prop_map(|Mutation { add, .. }| Mutation { remove: Vec::new(), add });
    let descriptor = (vec((text(), text()), 1..3), self::bucket(), any::<bool>())
        .prop_map(|(entries, bucket, shadow)| LocalDescriptor { entries, bucket, shadow });
    let action = (text(), text()).prop_map(|(key, value)| DescriptorAction::GenericKey { key, value });
    let limits = vec(action, 1..3).prop_map(|actions| RateLimit { actions, ..RateLimit::default() });
    let host = select(vec![HostLimits::Override, HostLimits::Include, HostLimits::Ignore]);
    let status = (400..600_u16).prop_map(|status| http::StatusCode::from_u16(status).unwrap());
    let lists = (additions(), additions(), vec(descriptor, 0..2), vec(limits, 0..2));
    let flags = any::<(bool, bool, bool, bool, bool)>();
    (bucket, fraction(), fraction(), status, lists, 0..=10_u32, host, flags).prop_map(
        |(bucket, enabled, enforced, status, (response, unenforced, descriptors, limits), stage, host, flags)| {
            let (per_connection, headers, retry_after, always_takes, resource_exhausted) = flags;
            LocalRateLimit {
                bucket,
                enabled,
                enforced,
                status,
                response,
                unenforced,
                descriptors,
                stage,
                per_connection,
                headers,
                retry_after,
                host,
                always_takes,
                resource_exhausted,
                limits,
            }
        },
    )
}

fn cors() -> impl Strategy<Value = CorsPolicy> {
    let lists = (maybe_empty(), maybe_empty(), maybe_empty());
    let flags = any::<(bool, bool, bool)>();
    let max_age = option::of((0..100_000_u64).prop_map(Duration::from_secs));
    (vec(pattern(), 0..3), lists, flags, max_age, option::of(fraction()), option::of(fraction())).prop_map(
        |(origins, (methods, headers, expose), (one, two, three), max_age, enabled, shadow)| CorsPolicy {
            origins,
            methods,
            headers,
            expose,
            max_age,
            credentials: one,
            private_network: two,
            forward_unmatched_preflights: three,
            enabled,
            shadow,
        },
    )
}

pub(in crate::envoy) fn fault() -> impl Strategy<Value = Fault> {
    let length = prop_oneof![duration().prop_map(FaultLength::Fixed), Just(FaultLength::Header)];
    let status = prop_oneof![
        (200..600_u16).prop_map(FaultStatus::Http),
        any::<u32>().prop_map(FaultStatus::Grpc),
        Just(FaultStatus::Header)
    ];
    let delay = (length, fraction()).prop_map(|(length, fraction)| FaultDelay { length, fraction });
    let abort =
        (status, fraction(), maybe_empty()).prop_map(|(status, fraction, body)| FaultAbort { status, fraction, body });
    let headers = vec(header_match(), 0..2);
    (option::of(delay), option::of(abort), maybe_empty(), headers, any::<Option<u32>>())
        .prop_map(|(delay, abort, cluster, headers, max_active)| Fault { delay, abort, cluster, headers, max_active })
}

pub(in crate::envoy) fn session() -> impl Strategy<Value = StatefulSession> {
    let state = prop_oneof![cookie_key().prop_map(SessionState::Cookie), name().prop_map(SessionState::Header)];
    (state, any::<bool>()).prop_map(|(state, strict)| StatefulSession { state, strict })
}

fn subset() -> impl Strategy<Value = Subset> {
    let value = prop_oneof![
        any::<bool>().prop_map(MetadataValue::Bool),
        any::<i32>().prop_map(|number| MetadataValue::Number(f64::from(number) / 8.0)),
        maybe_empty().prop_map(MetadataValue::Text),
    ];
    btree_map(maybe_empty(), value, 0..3)
}

fn cluster_name() -> impl Strategy<Value = ClusterName> {
    prop_oneof![text().prop_map(ClusterName::Named), field().prop_map(ClusterName::Header)]
}

fn weighted() -> impl Strategy<Value = WeightedClusters> {
    let host = option::of(text());
    let cluster = (cluster_name(), 1..1000_u32, subset(), headers(), host, filters()).prop_map(
        |(cluster, weight, subset, headers, host, filters)| WeightedCluster {
            cluster,
            weight,
            subset,
            headers,
            host,
            filters,
        },
    );
    let choice =
        prop_oneof![Just(WeightedChoice::Random), Just(WeightedChoice::Hash), name().prop_map(WeightedChoice::Header)];
    (vec(cluster, 1..3), choice).prop_map(|(clusters, choice)| WeightedClusters { clusters, choice })
}

fn path_rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        text().prop_map(PathRewrite::Prefix),
        substitution().prop_map(PathRewrite::Substitute),
        template().prop_map(PathRewrite::Whole)
    ]
}

fn host_rewrite() -> impl Strategy<Value = HostRewrite> {
    prop_oneof![
        text().prop_map(HostRewrite::Literal),
        Just(HostRewrite::Upstream),
        field().prop_map(HostRewrite::Header),
        substitution().prop_map(HostRewrite::Path),
    ]
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let tokens = "5xx gateway-error reset reset-before-request connect-failure refused-stream envoy-ratelimited \
                  retriable-4xx retriable-status-codes retriable-headers http3-post-connect-failure cancelled \
                  deadline-exceeded internal resource-exhausted unavailable";
    let on = vec(select(tokens.split(' ').collect::<Vec<_>>()), 0..5).prop_map(|tokens| {
        tokens.iter().fold(RetryOn::default(), |on, token| on.and(RetryOn::from_token(token).unwrap()))
    });
    let back_off = (some_duration(), option::of(duration()))
        .prop_map(|(base, more)| BackOff { base, max: more.map(|more| base + more) });
    let reset = (name(), select(vec![ResetFormat::Seconds, ResetFormat::UnixTimestamp]))
        .prop_map(|(name, format)| ResetHeader { name, format });
    let limited = (vec(reset, 1..3), some_duration()).prop_map(|(headers, max)| RateLimitedBackOff { headers, max });
    let avoid = vec(select(vec![AvoidHost::Previous, AvoidHost::Canary]), 0..3);
    let outcomes = (on, any::<u32>(), vec(any::<u16>(), 0..3), vec(header_match(), 0..2), vec(header_match(), 0..2));
    let times = (option::of(duration()), option::of(duration()), back_off, option::of(limited));
    let hosts = (avoid, 1..1000_u32, option::of(1..1000_u32));
    (outcomes, times, hosts).prop_map(
        |(
            (on, retries, status_codes, response_headers, request_headers),
            (per_try_timeout, per_try_idle_timeout, back_off, rate_limited),
            (avoid, host_attempts, avoid_priorities),
        )| RetryPolicy {
            on,
            retries,
            per_try_timeout,
            per_try_idle_timeout,
            status_codes,
            response_headers,
            request_headers,
            back_off,
            rate_limited,
            avoid,
            host_attempts,
            avoid_priorities,
        },
    )
}

fn hedge() -> impl Strategy<Value = Hedge> {
    any::<bool>().prop_map(|on_per_try_timeout| Hedge { on_per_try_timeout })
}

fn mirror() -> impl Strategy<Value = Mirror> {
    (cluster_name(), option::of(fraction()), any::<bool>(), option::of(text()))
        .prop_map(|(cluster, fraction, keep_host, host)| Mirror { cluster, fraction, keep_host, host })
}

fn cookie_key() -> impl Strategy<Value = CookieKey> {
    (text(), option::of(duration()), maybe_empty(), vec((text(), maybe_empty()), 0..2))
        .prop_map(|(name, lifetime, path, attributes)| CookieKey { name, lifetime, path, attributes })
}

fn hash() -> impl Strategy<Value = HashPolicy> {
    let key = prop_oneof![
        (field(), option::of(substitution())).prop_map(|(name, rewrite)| HashKey::Header { name, rewrite }),
        cookie_key().prop_map(HashKey::Cookie),
        Just(HashKey::Source),
        text().prop_map(HashKey::Query),
        Just(HashKey::Channel),
    ];
    (key, any::<bool>()).prop_map(|(key, terminal)| HashPolicy { key, terminal })
}

fn forward() -> impl Strategy<Value = Forward> {
    let cluster = prop_oneof![
        text().prop_map(ClusterChoice::Named),
        field().prop_map(ClusterChoice::Header),
        weighted().prop_map(ClusterChoice::Weighted)
    ];
    let missing =
        select(vec![MissingCluster::ServiceUnavailable, MissingCluster::NotFound, MissingCluster::InternalServerError]);
    let to = (cluster, missing, subset(), option::of(path_rewrite()), option::of(host_rewrite()), any::<bool>());
    let grpc = (duration(), option::of(duration())).prop_map(|(max, offset)| GrpcTimeout { max, offset });
    let stream = (option::of(duration()), option::of(duration()), option::of(duration()))
        .prop_map(|(max, grpc_max, grpc_offset)| StreamDuration { max, grpc_max, grpc_offset });
    let times = (option::of(duration()), option::of(grpc), option::of(duration()), option::of(stream));
    let again = (option::of(retry()), option::of(hedge()), vec(hash(), 0..3), vec(mirror(), 0..2));
    let priority = select(vec![Priority::Default, Priority::High]);
    let upgrades = btree_map("[a-z]{1,3}", any::<bool>(), 0..2).prop_map(|upgrades| {
        let one = |(protocol, enabled): (String, _)| Upgrade { protocol: protocol.into(), enabled };
        upgrades.into_iter().map(one).collect()
    });
    let limits = (vec(companion::rate_limit(0..=10).boxed(), 0..2), any::<bool>());
    (to, times, again, priority, limits, upgrades).prop_map(
        |(
            (cluster, missing, subset, path, host, append_forwarded_host),
            (timeout, grpc_timeout, idle_timeout, stream_duration),
            (retry, hedge, hash, mirrors),
            priority,
            (rate_limits, include_host_rate_limits),
            upgrades,
        )| Forward {
            cluster,
            missing,
            subset,
            path,
            host,
            append_forwarded_host,
            timeout,
            grpc_timeout,
            idle_timeout,
            stream_duration,
            retry,
            hedge,
            hash,
            mirrors,
            priority,
            rate_limits,
            include_host_rate_limits,
            upgrades,
        },
    )
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let path = prop_oneof![text().prop_map(RedirectPath::Whole), path_rewrite().prop_map(RedirectPath::Rewrite)];
    let status = select(vec![
        RedirectStatus::MovedPermanently,
        RedirectStatus::Found,
        RedirectStatus::SeeOther,
        RedirectStatus::TemporaryRedirect,
        RedirectStatus::PermanentRedirect,
    ]);
    let place = (option::of(text()), option::of(text()), option::of(1..=u16::MAX), option::of(path));
    (place, status, any::<bool>()).prop_map(|((scheme, host, port, path), status, strip_query)| Redirect {
        scheme,
        host,
        port,
        path,
        status,
        strip_query,
    })
}

fn route() -> impl Strategy<Value = Route> {
    let response = (200..600_u16, vec(any::<u8>(), 0..5))
        .prop_map(|(status, body)| Action::Respond(DirectResponse { status, body }));
    let action = prop_oneof![
        4 => forward().prop_map(|forward| Action::Forward(Box::new(forward))),
        2 => redirect().prop_map(Action::Redirect),
        1 => response,
        1 => Just(Action::NonForwarding),
    ];
    (maybe_empty(), route_match(), action, headers(), option::of(any::<u64>()), filters()).prop_map(
        |(name, matcher, action, headers, body_buffer, filters)| Route {
            name,
            matcher,
            action,
            headers,
            body_buffer,
            filters,
        },
    )
}

fn host() -> impl Strategy<Value = VirtualHost> {
    let policies = (option::of(retry()), option::of(hedge()), vec(mirror(), 0..2));
    let flags = any::<(bool, bool, bool)>();
    let limits = vec(companion::rate_limit(0..=10).boxed(), 0..2);
    let more = (headers(), option::of(any::<u64>()), limits, filters());
    (text(), vec(route(), 0..3), flags, policies, more).prop_map(
        |(
            name,
            routes,
            (require_tls, request, response),
            (retry, hedge, mirrors),
            (headers, body_buffer, rate_limits, filters),
        )| {
            VirtualHost {
                name,
                domains: Vec::new(),
                routes,
                require_tls,
                headers,
                attempt_count_in_request: request,
                attempt_count_in_response: response,
                retry,
                hedge,
                mirrors,
                body_buffer,
                rate_limits,
                filters,
            }
        },
    )
}

pub(in crate::envoy) fn table() -> impl Strategy<Value = RouteTable> {
    let flags = any::<(bool, bool, bool)>();
    let domains = select(vec!["{}.example", "*.{}.example", "{}.*", "*-{}", "{}-*"]);
    let hosts = vec((host(), vec(domains, 1..3)), 0..3).prop_map(|hosts| {
        // Numbered, so that none stands there twice.
        let mut number = 0;
        let mut numbered = |domain: &str| {
            number += 1;
            Text::from(domain.replace("{}", &format!("a{number}b")))
        };
        let one = |(host, domains): (VirtualHost, Vec<&str>)| VirtualHost {
            domains: domains.iter().map(|domain| numbered(domain)).collect(),
            ..host
        };
        hosts.into_iter().map(one).collect::<Vec<_>>()
    });
    let more = (option::of(name()), option::of(5..10_000_u32), vec(mirror(), 0..2), filters());
    (maybe_empty(), hosts, headers(), flags, more).prop_map(
        |(name, hosts, headers, (most_specific_headers_win, ignore_port, ignore_path_parameters), more)| {
            let (host_header, largest_direct_body, mirrors, filters) = more;
            let config = RouteConfig {
                name,
                hosts,
                headers,
                most_specific_headers_win,
                ignore_port,
                ignore_path_parameters,
                host_header,
                largest_direct_body,
                mirrors,
                filters,
            };
            RouteTable::new(config).unwrap()
        },
    )
}
