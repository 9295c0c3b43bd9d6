use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Rule;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action as RuleAction;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier as DataSpecifier;
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::rbac::v3::{permission, principal};
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action as WireAction;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    self, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy, UpgradeConfig, hash_policy,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{retry_policy, route_match};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::LocalRateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::buffer_per_route::Override as BufferOverride;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::{Buffer, BufferPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{HeaderMutationPerRoute, Mutations};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::stateful_session_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute,
};
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::r#type::matcher::v3::filter_state_matcher::Matcher as StateMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::{FilterStateMatcher, RegexMatchAndSubstitute, RegexMatcher};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, HttpStatus, TokenBucket};
use envoy_types::pb::google::protobuf::{Any, Duration as Span, UInt64Value};
use mesh_core::request::Condition;
use mesh_core::route::{
    Action, AppendAction, FilterOverride, Forward, HashKey, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig,
    RouteMatch, RouteTable, VirtualHost,
};
use mesh_core::string_match::Pattern;
use proptest::prelude::*;
use prost::{Message, Name};

use super::{decode_route_table, encode_route_table};
use crate::envoy::error::{Decoded, Error};
use crate::envoy::testing::field;
use crate::envoy::wire::{any as pack, boolean, uint32};

/// Values of the core, of any shape that can be written.
pub(in crate::envoy) mod values {
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
        let cookie = (text(), pattern(), any::<bool>()).prop_map(|(name, pattern, invert)| CookieMatch {
            name,
            pattern,
            invert,
        });
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
        let addition = (name(), template(), action, any::<bool>())
            .prop_map(|(name, value, action, keep_empty)| Addition { name, value, action, keep_empty });
        (vec(name(), 0..2), vec(addition, 0..2)).prop_map(|(remove, add)| Mutation { remove, add })
    }

    fn headers() -> impl Strategy<Value = HeaderEdits> {
        (mutation(), mutation()).prop_map(|(request, response)| HeaderEdits { request, response })
    }

    fn filters() -> impl Strategy<Value = FilterOverrides> {
        // Boxed, as unnamed values of all these types together do not fit the stack of a test.
        let rbac =
            rbac::filter(true).prop_map(|filter| FilterOverride::Rbac(Box::new(FilterRules::new(filter)))).boxed();
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
        (vec(step(), 0..3), vec(step(), 0..3), any::<bool>()).prop_map(|(request, response, most_specific_wins)| {
            HeaderMutation { request, response, most_specific_wins }
        })
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
        let abort = (status, fraction(), maybe_empty()).prop_map(|(status, fraction, body)| FaultAbort {
            status,
            fraction,
            body,
        });
        let headers = vec(header_match(), 0..2);
        (option::of(delay), option::of(abort), maybe_empty(), headers, any::<Option<u32>>()).prop_map(
            |(delay, abort, cluster, headers, max_active)| Fault { delay, abort, cluster, headers, max_active },
        )
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
        let choice = prop_oneof![
            Just(WeightedChoice::Random),
            Just(WeightedChoice::Hash),
            name().prop_map(WeightedChoice::Header)
        ];
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
        let limited =
            (vec(reset, 1..3), some_duration()).prop_map(|(headers, max)| RateLimitedBackOff { headers, max });
        let avoid = vec(select(vec![AvoidHost::Previous, AvoidHost::Canary]), 0..3);
        let outcomes =
            (on, any::<u32>(), vec(any::<u16>(), 0..3), vec(header_match(), 0..2), vec(header_match(), 0..2));
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
        let missing = select(vec![
            MissingCluster::ServiceUnavailable,
            MissingCluster::NotFound,
            MissingCluster::InternalServerError,
        ]);
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
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(table in values::table()) {
        let decoded = decode_route_table(&encode_route_table(&table)).unwrap();
        prop_assert_eq!(&decoded.value, &table);
        prop_assert_eq!(decoded.warnings, vec![]);
    }

    #[test]
    fn bytes_of_any_kind_are_survived(
        table in values::table(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8),
        random in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode_route_table(&random);
        let mut bytes = encode_route_table(&table);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = decode_route_table(&bytes);
    }
}

/// A small table; everything else is a change of it.
fn plain() -> wire::RouteConfiguration {
    let action = wire::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster("c".into())),
        ..wire::RouteAction::default()
    };
    let matcher =
        wire::RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".into())), ..wire::RouteMatch::default() };
    let route =
        wire::Route { r#match: Some(matcher), action: Some(WireAction::Route(action)), ..wire::Route::default() };
    let host = wire::VirtualHost {
        name: "h".into(),
        domains: vec!["*".into()],
        routes: vec![route],
        ..wire::VirtualHost::default()
    };
    wire::RouteConfiguration { name: "r".into(), virtual_hosts: vec![host], ..wire::RouteConfiguration::default() }
}

fn decode(change: impl FnOnce(&mut wire::RouteConfiguration)) -> Result<Decoded<RouteTable>, Error> {
    let mut wire = plain();
    change(&mut wire);
    decode_route_table(&wire.encode_to_vec())
}

fn with_host(change: impl FnOnce(&mut wire::VirtualHost)) -> Result<Decoded<RouteTable>, Error> {
    decode(|wire| change(&mut wire.virtual_hosts[0]))
}

fn with_route(change: impl FnOnce(&mut wire::Route)) -> Result<Decoded<RouteTable>, Error> {
    with_host(|host| change(&mut host.routes[0]))
}

fn with_match(change: impl FnOnce(&mut wire::RouteMatch)) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| change(route.r#match.as_mut().unwrap()))
}

fn with_action(change: impl FnOnce(&mut wire::RouteAction)) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| match route.action.as_mut().unwrap() {
        WireAction::Route(action) => change(action),
        _ => unreachable!("the plain table forwards"),
    })
}

fn with_retry(change: impl FnOnce(&mut wire::RetryPolicy)) -> Result<Decoded<RouteTable>, Error> {
    with_action(|action| change(action.retry_policy.get_or_insert_default()))
}

fn with_weights(weights: &[u32], total: Option<u32>) -> Result<Decoded<RouteTable>, Error> {
    let cluster =
        |weight: &u32| ClusterWeight { name: "c".into(), weight: Some(uint32(*weight)), ..ClusterWeight::default() };
    let clusters = weights.iter().map(cluster).collect();
    let weighted =
        wire::WeightedCluster { clusters, total_weight: total.map(uint32), ..wire::WeightedCluster::default() };
    with_action(|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(weighted)))
}

fn with_addition(change: impl FnOnce(&mut core::HeaderValueOption)) -> Result<Decoded<RouteTable>, Error> {
    let header = core::HeaderValue { key: "x-a".into(), value: "b".into(), raw_value: vec![] };
    let mut addition = core::HeaderValueOption { header: Some(header), ..core::HeaderValueOption::default() };
    change(&mut addition);
    with_route(|route| route.request_headers_to_add = vec![addition])
}

fn with_header(key: &str, value: &str) -> Result<Decoded<RouteTable>, Error> {
    with_addition(|addition| {
        addition.header = Some(core::HeaderValue { key: key.into(), value: value.into(), raw_value: vec![] });
    })
}

fn with_filter(config: Any) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| route.typed_per_filter_config = [("f".to_owned(), config)].into())
}

fn respond(status: u32, specifier: Option<DataSpecifier>) -> Result<Decoded<RouteTable>, Error> {
    let body = Some(core::DataSource { specifier, watched_directory: None });
    let response = wire::DirectResponseAction { status, body, body_format: None };
    with_route(|route| route.action = Some(WireAction::DirectResponse(response)))
}

const HOST: &str = "virtual_hosts[0]";
const ROUTE: &str = "virtual_hosts[0].routes[0]";

/// What an error says, with the usual places abbreviated.
fn refusal(decoded: Result<Decoded<RouteTable>, Error>) -> String {
    decoded.unwrap_err().to_string().replace(ROUTE, "R").replace(HOST, "H")
}

/// Where an error is, with the usual places abbreviated.
fn place(decoded: Result<Decoded<RouteTable>, Error>) -> String {
    refusal(decoded).split('`').nth(1).unwrap_or_default().to_owned()
}

fn warned(decoded: Result<Decoded<RouteTable>, Error>) -> Vec<String> {
    let warnings = decoded.unwrap().warnings;
    warnings.iter().map(|warning| warning.field.replace(ROUTE, "R").replace(HOST, "H")).collect()
}

#[test]
fn a_plain_table_is_read() {
    let host = VirtualHost {
        name: "h".into(),
        domains: vec!["*".into()],
        routes: vec![Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(Forward::to("c"))))],
        ..VirtualHost::default()
    };
    let config = RouteConfig { name: "r".into(), hosts: vec![host], ..RouteConfig::default() };
    assert_eq!(decode(|_| ()).unwrap(), Decoded { value: RouteTable::new(config).unwrap(), warnings: vec![] });
}

#[test]
fn what_would_hold_back_or_send_elsewhere_is_refused_by_name() {
    let extension = core::TypedExtensionConfig::default;
    let limit = || vec![wire::RateLimit::default()];
    let of_peer = |matcher| FilterStateMatcher { key: "io.istio.peer_principal".into(), matcher };
    let address = StateMatcher::AddressMatch(Default::default());
    let plugin = |is_optional| wire::ClusterSpecifierPlugin { extension: Some(extension()), is_optional };
    let cases = [
        (decode(|wire| wire.vhds = Some(wire::Vhds::default())), "vhds"),
        (decode(|wire| wire.internal_only_headers = vec!["a".into()]), "internal_only_headers"),
        (decode(|wire| wire.route_specifiers = vec![extension()]), "route_specifiers"),
        (decode(|wire| wire.cluster_specifier_plugins = vec![plugin(false)]), "cluster_specifier_plugins[0].extension"),
        (decode(|wire| wire.vhost_header = "a b".into()), "vhost_header"),
        (with_host(|host| host.name.clear()), "H.name"),
        (with_host(|host| host.domains.clear()), "H.domains"),
        (with_host(|host| host.domains.push(String::new())), "virtual_hosts"),
        (with_host(|host| host.domains.push("*".into())), "virtual_hosts"),
        (with_host(|host| host.matcher = Some(Default::default())), "H.matcher"),
        (with_host(|host| host.require_tls = 1), "H.require_tls"),
        (with_host(|host| host.require_tls = 9), "H.require_tls"),
        (with_host(|host| host.rate_limits = limit()), "H.rate_limits[0].actions"),
        (with_host(|host| host.cors = Some(Default::default())), "H.cors"),
        (with_host(|host| host.retry_policy_typed_config = Some(Any::default())), "H.retry_policy_typed_config"),
        (with_host(|host| host.route_specifiers = vec![extension()]), "H.route_specifiers"),
        (with_route(|route| route.r#match = None), "R.match"),
        (with_route(|route| route.action = None), "R.action"),
        (with_route(|route| route.action = Some(WireAction::FilterAction(Default::default()))), "R.filter_action"),
        (with_route(|route| route.route_specifiers = vec![extension()]), "R.route_specifiers"),
        (with_match(|m| m.path_specifier = None), "R.match.path_specifier"),
        (with_match(|m| m.tls_context = Some(Default::default())), "R.match.tls_context"),
        (with_match(|m| m.dynamic_metadata = vec![Default::default()]), "R.match.dynamic_metadata"),
        (with_match(|m| m.filter_state = vec![Default::default()]), "R.match.filter_state[0].key"),
        (with_match(|m| m.filter_state = vec![of_peer(None)]), "R.match.filter_state[0].matcher"),
        (with_match(|m| m.filter_state = vec![of_peer(Some(address))]), "R.match.filter_state[0].address_match"),
        (
            with_match(|m| m.path_specifier = Some(PathSpecifier::PathMatchPolicy(extension()))),
            "R.match.path_match_policy",
        ),
        (
            with_match(|m| m.path_specifier = Some(PathSpecifier::PathSeparatedPrefix("/a/".into()))),
            "R.match.path_separated_prefix",
        ),
        (
            with_match(|m| {
                m.path_specifier = Some(PathSpecifier::SafeRegex(RegexMatcher { regex: "(".into(), engine_type: None }))
            }),
            "R.match.safe_regex.regex",
        ),
        (
            with_match(|m| m.headers = vec![wire::HeaderMatcher { name: ":status".into(), ..Default::default() }]),
            "R.match.headers[0].name",
        ),
        (with_match(|m| m.query_parameters = vec![Default::default()]), "R.match.query_parameters[0].name"),
        (with_match(|m| m.cookies = vec![Default::default()]), "R.match.cookies[0].string_match"),
        (with_match(|m| m.runtime_fraction = Some(Default::default())), "R.match.runtime_fraction.default_value"),
        (with_action(|a| a.cluster_specifier = None), "R.route.cluster_specifier"),
        (with_action(|a| a.cluster_specifier = Some(ClusterSpecifier::Cluster(String::new()))), "R.route.cluster"),
        (
            with_action(|a| a.cluster_specifier = Some(ClusterSpecifier::ClusterSpecifierPlugin("p".into()))),
            "R.route.cluster_specifier_plugin",
        ),
        (
            with_action(|a| a.cluster_specifier = Some(ClusterSpecifier::InlineClusterSpecifierPlugin(plugin(true)))),
            "R.route.inline_cluster_specifier_plugin",
        ),
        (with_action(|a| a.cluster_not_found_response_code = 9), "R.route.cluster_not_found_response_code"),
        (with_action(|a| a.priority = 9), "R.route.priority"),
        (with_action(|a| a.path_rewrite_policy = Some(extension())), "R.route.path_rewrite_policy"),
        (with_action(|a| a.rate_limits = limit()), "R.route.rate_limits[0].actions"),
        (with_action(|a| a.cors = Some(Default::default())), "R.route.cors"),
        (with_action(|a| a.internal_redirect_action = 1), "R.route.internal_redirect_action"),
        (with_action(|a| a.max_internal_redirects = Some(uint32(1))), "R.route.max_internal_redirects"),
        (with_action(|a| a.retry_policy_typed_config = Some(Any::default())), "R.route.retry_policy_typed_config"),
        (with_action(|a| (a.prefix_rewrite, a.path_rewrite) = ("/a".into(), "/b".into())), "R.route.path_rewrite"),
        (with_action(|a| a.path_rewrite = "%NOPE%".into()), "R.route.path_rewrite"),
        (with_action(|a| a.regex_rewrite = Some(RegexMatchAndSubstitute::default())), "R.route.regex_rewrite.pattern"),
        (
            with_action(|a| a.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewrite("x".into()))),
            "R.route.host_rewrite",
        ),
        (with_action(|a| a.timeout = Some(Span { seconds: -1, nanos: 0 })), "R.route.timeout"),
        (
            with_action(|a| {
                a.upgrade_configs = vec![UpgradeConfig {
                    upgrade_type: "CONNECT".into(),
                    connect_config: Some(Default::default()),
                    enabled: None,
                }]
            }),
            "R.route.upgrade_configs[0].connect_config",
        ),
        (
            with_action(|a| {
                a.upgrade_configs =
                    ["a", "A"].map(|t| UpgradeConfig { upgrade_type: t.into(), ..Default::default() }).to_vec()
            }),
            "R.route.upgrade_configs[1].upgrade_type",
        ),
        (with_action(|a| a.hash_policy = vec![Default::default()]), "R.route.hash_policy[0].policy_specifier"),
        (
            with_action(|a| a.request_mirror_policies = vec![Default::default()]),
            "R.route.request_mirror_policies[0].cluster",
        ),
        (
            with_action(|a| {
                a.request_mirror_policies = vec![RequestMirrorPolicy {
                    cluster: "c".into(),
                    request_headers_mutations: vec![Default::default()],
                    ..Default::default()
                }]
            }),
            "R.route.request_mirror_policies[0].request_headers_mutations",
        ),
        (with_weights(&[], None), "R.route.weighted_clusters.clusters"),
        (with_weights(&[0, 0], None), "R.route.weighted_clusters.clusters"),
        (with_weights(&[u32::MAX, 1], None), "R.route.weighted_clusters.clusters"),
        (with_weights(&[1, 2], Some(100)), "R.route.weighted_clusters.total_weight"),
        (
            with_retry(|r| r.retry_back_off = Some(Default::default())),
            "R.route.retry_policy.retry_back_off.base_interval",
        ),
        (
            with_retry(|r| {
                r.retry_back_off = Some(retry_policy::RetryBackOff {
                    base_interval: Some(Span { seconds: 2, nanos: 0 }),
                    max_interval: Some(Span { seconds: 1, nanos: 0 }),
                })
            }),
            "R.route.retry_policy.retry_back_off.max_interval",
        ),
        (
            with_retry(|r| r.rate_limited_retry_back_off = Some(Default::default())),
            "R.route.retry_policy.rate_limited_retry_back_off.reset_headers",
        ),
        (
            with_retry(|r| r.retriable_status_codes = vec![1 << 20]),
            "R.route.retry_policy.retriable_status_codes[0].code",
        ),
        (
            with_retry(|r| r.host_selection_retry_max_attempts = -1),
            "R.route.retry_policy.host_selection_retry_max_attempts",
        ),
        (respond(99, None), "R.direct_response.status"),
        (respond(200, Some(DataSpecifier::Filename("/etc/passwd".into()))), "R.direct_response.body.filename"),
        (respond(200, Some(DataSpecifier::InlineString("x".repeat(4097)))), "R.direct_response.body"),
        (
            with_route(|route| {
                route.action =
                    Some(WireAction::Redirect(wire::RedirectAction { port_redirect: 70_000, ..Default::default() }))
            }),
            "R.redirect.port_redirect",
        ),
        (
            with_route(|route| route.request_headers_to_remove = vec![":path".into()]),
            "R.request_headers_to_remove[0].name",
        ),
        (
            with_route(|route| route.response_headers_to_remove = vec!["Host".into()]),
            "R.response_headers_to_remove[0].name",
        ),
        (with_header(":path", "x"), "R.request_headers_to_add[0].header.key"),
        (with_header("host", "x"), "R.request_headers_to_add[0].header.key"),
        (with_header("x-a", "a\r\nb: c"), "R.request_headers_to_add[0].header.value"),
        (with_header("x-a", "%START_TIME%"), "R.request_headers_to_add[0].header.value"),
        (with_addition(|a| a.header = None), "R.request_headers_to_add[0].header"),
        (with_addition(|a| a.append_action = 9), "R.request_headers_to_add[0].append_action"),
        (
            with_addition(|a| (a.append, a.append_action) = (Some(boolean(true)), 2)),
            "R.request_headers_to_add[0].append",
        ),
    ];
    for (decoded, expected) in cases {
        assert_eq!(place(decoded), expected);
    }
    assert!(matches!(decode_route_table(&[0xFF]), Err(Error::Malformed(_))));
}

#[test]
fn what_only_shows_elsewhere_is_warned_of() {
    let runtime = core::RuntimeFractionalPercent { default_value: Some(Default::default()), runtime_key: "k".into() };
    let plugin = wire::ClusterSpecifierPlugin { extension: Some(Default::default()), is_optional: true };
    let state = hash_policy::FilterState { key: "s".into() };
    let state = route_action::HashPolicy {
        terminal: false,
        policy_specifier: Some(hash_policy::PolicySpecifier::FilterState(state)),
    };
    let cases = [
        (decode(|wire| wire.validate_clusters = Some(boolean(true))), "validate_clusters"),
        (decode(|wire| wire.metadata = Some(Default::default())), "metadata"),
        (decode(|wire| wire.cluster_specifier_plugins = vec![plugin]), "cluster_specifier_plugins[0].extension"),
        (with_host(|host| host.virtual_clusters = vec![Default::default()]), "H.virtual_clusters"),
        (with_host(|host| host.include_is_timeout_retry_header = true), "H.include_is_timeout_retry_header"),
        (with_host(|host| host.metadata = Some(Default::default())), "H.metadata"),
        (with_route(|route| route.metadata = Some(Default::default())), "R.metadata"),
        (with_route(|route| route.decorator = Some(Default::default())), "R.decorator"),
        (with_route(|route| route.tracing = Some(Default::default())), "R.tracing"),
        (with_route(|route| route.stat_prefix = "s".into()), "R.stat_prefix"),
        (with_match(|m| m.runtime_fraction = Some(runtime)), "R.match.runtime_fraction.runtime_key"),
        (with_action(|a| a.flush_timeout = Some(Span::default())), "R.route.flush_timeout"),
        (with_action(|a| a.early_data_policy = Some(Default::default())), "R.route.early_data_policy"),
        (with_action(|a| a.internal_redirect_policy = Some(Default::default())), "R.route.internal_redirect_policy"),
        (with_action(|a| a.grpc_timeout_offset = Some(Span { seconds: 1, nanos: 0 })), "R.route.grpc_timeout_offset"),
        (with_action(|a| a.hash_policy = vec![state]), "R.route.hash_policy[0].filter_state.key"),
        (with_retry(|r| r.retry_on = "5xx,odd".into()), "R.route.retry_policy.retry_on[odd]"),
        (
            with_retry(|r| r.retry_options_predicates = vec![Default::default()]),
            "R.route.retry_policy.retry_options_predicates",
        ),
        (with_retry(|r| r.refresh_cluster_on_retry = true), "R.route.retry_policy.refresh_cluster_on_retry"),
    ];
    for (decoded, expected) in cases {
        assert_eq!(warned(decoded), [expected]);
    }
    assert_eq!(warned(decode(|wire| wire.validate_clusters = Some(boolean(false)))), [""; 0]);
}

#[test]
fn an_override_that_is_not_known_is_refused_unless_it_is_optional() {
    let unknown = || Any { type_url: "type.googleapis.com/a.B".into(), value: vec![] };
    let wrapped = |is_optional, disabled, config| pack(&wire::FilterConfig { config, is_optional, disabled });
    let expected = "`R.typed_per_filter_config[f]`: type `type.googleapis.com/a.B` is not supported";
    assert_eq!(refusal(with_filter(unknown())), expected);
    assert_eq!(refusal(with_filter(wrapped(false, false, Some(unknown())))), expected);
    assert_eq!(refusal(with_filter(wrapped(true, false, None))), "`R.typed_per_filter_config[f].config` is missing");
    assert_eq!(warned(with_filter(wrapped(true, false, Some(unknown())))), ["R.typed_per_filter_config[f]"]);
    // Optional is the kind of filter, never what a filter of a known kind holds.
    let matcher = RbacPerRoute { rbac: Some(Rbac { matcher: Some(Default::default()), ..Rbac::default() }) };
    let odd = wrapped(true, false, Some(pack(&matcher)));
    assert_eq!(refusal(with_filter(odd)), "`R.typed_per_filter_config[f].rbac.matcher` is not supported");
    let condition =
        permission::Rule::Matcher(core::TypedExtensionConfig { name: "m".into(), typed_config: Some(unknown()) });
    let policy = rbac::Policy {
        permissions: vec![rbac::Permission { rule: Some(condition) }],
        principals: vec![rbac::Principal { identifier: Some(principal::Identifier::Any(true)) }],
        ..rbac::Policy::default()
    };
    let rules = rbac::Rbac { policies: [("p".to_owned(), policy)].into(), ..rbac::Rbac::default() };
    let inner = RbacPerRoute { rbac: Some(Rbac { rules: Some(rules), ..Rbac::default() }) };
    assert!(with_filter(wrapped(true, false, Some(pack(&inner)))).is_err());
    let disabled = with_filter(wrapped(false, true, Some(unknown()))).unwrap().value;
    let filters = &disabled.config().hosts[0].routes[0].filters;
    assert_eq!(filters.get("f"), Some(&FilterOverride::Disabled));
}

/// The error of a setting of a filter, of which a field has been changed.
fn refused<T: Message + Name>(config: T) -> String {
    field(with_route(|route| drop(route.typed_per_filter_config.insert("f".into(), pack(&config)))))
}

#[test]
fn settings_of_filters_that_cannot_be_kept_are_refused_by_name() {
    let at = |rest: &str| format!("virtual_hosts[0].routes[0].typed_per_filter_config[f].{rest}");
    let cors = CorsPolicy { max_age: "soon".into(), ..CorsPolicy::default() };
    assert_eq!(refused(cors), at("max_age"));

    let delay = |secifier| FaultDelay { percentage: None, fault_delay_secifier: secifier };
    let abort = |error_type| FaultAbort { error_type, ..FaultAbort::default() };
    let unknown = FractionalPercent { numerator: 1, denominator: 9 };
    for (fault, rest) in [
        (HttpFault { downstream_nodes: vec!["a".into()], ..HttpFault::default() }, "downstream_nodes"),
        (HttpFault { response_rate_limit: Some(Default::default()), ..HttpFault::default() }, "response_rate_limit"),
        (HttpFault { delay: Some(delay(None)), ..HttpFault::default() }, "delay.fault_delay_secifier"),
        (HttpFault { abort: Some(abort(None)), ..HttpFault::default() }, "abort.error_type"),
        (
            HttpFault { abort: Some(abort(Some(ErrorType::HttpStatus(199)))), ..HttpFault::default() },
            "abort.http_status",
        ),
        (
            HttpFault {
                abort: Some(FaultAbort { percentage: Some(unknown), ..abort(Some(ErrorType::GrpcStatus(1))) }),
                ..HttpFault::default()
            },
            "abort.percentage.denominator",
        ),
    ] {
        assert_eq!(refused(fault), at(rest));
    }

    let state = |typed_config| Some(core::TypedExtensionConfig { name: "s".into(), typed_config });
    let session = |session_state| StatefulSession { session_state, ..StatefulSession::default() };
    let cookie = CookieBasedSessionState { cookie: None };
    let header = HeaderBasedSessionState { name: "a b".into() };
    let status = StatefulSession { status_on_strict_destination_not_found: 500, ..StatefulSession::default() };
    for (session, rest) in [
        (None, "override"),
        (Some(Override::Disabled(false)), "disabled"),
        (Some(Override::StatefulSession(status)), "stateful_session.status_on_strict_destination_not_found"),
        (Some(Override::StatefulSession(session(None))), "stateful_session.session_state"),
        (Some(Override::StatefulSession(session(state(None)))), "stateful_session.session_state.typed_config"),
        (
            Some(Override::StatefulSession(session(state(Some(pack(&HttpFault::default())))))),
            "stateful_session.session_state.typed_config",
        ),
        (Some(Override::StatefulSession(session(state(Some(pack(&cookie)))))), "stateful_session.session_state.cookie"),
        (Some(Override::StatefulSession(session(state(Some(pack(&header)))))), "stateful_session.session_state.name"),
    ] {
        assert_eq!(refused(StatefulSessionPerRoute { r#override: session }), at(rest));
    }
}

#[test]
fn a_fault_without_a_share_of_requests_strikes_none() {
    let delay = FaultDelay {
        percentage: None,
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(Span { seconds: 1, nanos: 0 })),
    };
    let fault = HttpFault { delay: Some(delay), ..HttpFault::default() };
    let route = only_route(with_route(|route| drop(route.typed_per_filter_config.insert("f".into(), pack(&fault)))));
    let Some(FilterOverride::Fault(fault)) = route.filters.get("f") else { panic!("{route:?}") };
    assert_eq!(fault.delay.unwrap().fraction.numerator, 0);
}

fn only_route(decoded: Result<Decoded<RouteTable>, Error>) -> Route {
    let Decoded { value, warnings } = decoded.unwrap();
    assert_eq!(warnings, []);
    value.config().hosts[0].routes[0].clone()
}

fn only_forward(decoded: Result<Decoded<RouteTable>, Error>) -> Forward {
    match only_route(decoded).action {
        Action::Forward(forward) => *forward,
        other => panic!("{other:?}"),
    }
}

#[test]
fn deprecated_fields_count_as_envoy_counts_them() {
    let specifiers = [
        (HeaderMatchSpecifier::ExactMatch("a".into()), Pattern::exact("a")),
        (HeaderMatchSpecifier::PrefixMatch("a".into()), Pattern::prefix("a")),
        (HeaderMatchSpecifier::SuffixMatch("a".into()), Pattern::Suffix { text: "a".into(), ignore_case: false }),
        (HeaderMatchSpecifier::ContainsMatch("a".into()), Pattern::Contains { text: "a".into(), ignore_case: false }),
    ];
    for (specifier, pattern) in specifiers {
        let header =
            wire::HeaderMatcher { name: "h".into(), header_match_specifier: Some(specifier), ..Default::default() };
        let route = only_route(with_match(|m| m.headers = vec![header]));
        assert_eq!(route.matcher.headers[0].condition, Condition::Text(pattern));
    }
    let bare = wire::HeaderMatcher { name: "h".into(), ..Default::default() };
    assert_eq!(
        only_route(with_match(|m| m.headers = vec![bare])).matcher.headers[0].condition,
        Condition::Present(true)
    );

    for (append, action) in [(true, AppendAction::AppendIfExistsOrAdd), (false, AppendAction::OverwriteIfExistsOrAdd)] {
        let route = only_route(with_addition(|a| a.append = Some(boolean(append))));
        assert_eq!(route.headers.request.add[0].action, action);
    }
    let old = |route: &mut wire::Route| route.per_request_buffer_limit_bytes = Some(uint32(7));
    assert_eq!(only_route(with_route(old)).body_buffer, Some(7));
    let both = |route: &mut wire::Route| {
        old(route);
        route.request_body_buffer_limit = Some(UInt64Value { value: 8 });
    };
    assert_eq!(only_route(with_route(both)).body_buffer, Some(8));
    assert!(with_weights(&[1, 2], Some(3)).is_ok());
}

#[test]
fn absent_fields_have_envoys_defaults() {
    let retry = only_forward(with_retry(|r| r.retry_on = " 5xx, reset ".into())).retry.unwrap();
    assert_eq!(retry, RetryPolicy { on: RetryOn::SERVER_ERROR.and(RetryOn::RESET), ..RetryPolicy::default() });
    let upgrade = UpgradeConfig { upgrade_type: "websocket".into(), enabled: None, connect_config: None };
    assert!(only_forward(with_action(|a| a.upgrade_configs = vec![upgrade])).upgrades[0].enabled);
    let channel = hash_policy::FilterState { key: "io.grpc.channel_id".into() };
    let channel = hash_policy::PolicySpecifier::FilterState(channel);
    let policy = route_action::HashPolicy { terminal: true, policy_specifier: Some(channel) };
    assert_eq!(only_forward(with_action(|a| a.hash_policy = vec![policy])).hash[0].key, HashKey::Channel);
    assert!(respond(200, Some(DataSpecifier::InlineString("x".repeat(4096)))).is_ok());
    let insensitive = only_route(with_match(|m| {
        m.case_sensitive = Some(boolean(false));
        m.path_specifier = Some(PathSpecifier::ConnectMatcher(route_match::ConnectMatcher {}));
    }));
    assert_eq!(insensitive.matcher.path, PathMatch::Connect);
}

#[test]
fn local_rate_limits_that_cannot_be_are_refused() {
    let bucket = |max_tokens, millis: i32| TokenBucket {
        max_tokens,
        tokens_per_fill: None,
        fill_interval: Some(Span { seconds: 0, nanos: millis * 1_000_000 }),
    };
    let plain = || LocalRateLimit { token_bucket: Some(bucket(1, 50)), ..LocalRateLimit::default() };
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let descriptor = |entries, token_bucket| LocalRateLimitDescriptor { entries, token_bucket, shadow_mode: false };
    let of = |descriptor| LocalRateLimit { descriptors: vec![descriptor], ..plain() };
    let table = [
        (LocalRateLimit::default(), "token_bucket"),
        (LocalRateLimit { token_bucket: Some(bucket(1, 49)), ..plain() }, "token_bucket.fill_interval"),
        (LocalRateLimit { token_bucket: Some(TokenBucket::default()), ..plain() }, "token_bucket.fill_interval"),
        (LocalRateLimit { local_cluster_rate_limit: Some(Default::default()), ..plain() }, "local_cluster_rate_limit"),
        (LocalRateLimit { stage: 11, ..plain() }, "stage"),
        (LocalRateLimit { vh_rate_limits: 3, ..plain() }, "vh_rate_limits"),
        (LocalRateLimit { enable_x_ratelimit_headers: 2, ..plain() }, "enable_x_ratelimit_headers"),
        (LocalRateLimit { status: Some(HttpStatus { code: 600 }), ..plain() }, "status"),
        (of(descriptor(vec![], Some(bucket(1, 50)))), "descriptors[0].entries"),
        (of(descriptor(vec![entry("a", "")], Some(bucket(1, 50)))), "descriptors[0].entries[0].value"),
        (of(descriptor(vec![entry("a", "b")], None)), "descriptors[0].token_bucket"),
    ];
    for (limit, at) in table {
        assert_eq!(place(with_filter(pack(&limit))), format!("R.typed_per_filter_config[f].{at}"));
    }
    // Both parts are zero unless they are said: nothing is refused by accident.
    let limit = LocalRateLimit { status: Some(HttpStatus { code: 200 }), ..plain() };
    let decoded = with_filter(pack(&limit)).unwrap().value;
    let Some(FilterOverride::LocalRateLimit(own)) = decoded.config().hosts[0].routes[0].filters.get("f") else {
        panic!("a local rate limit")
    };
    let settings = own.settings();
    assert_eq!(
        (settings.enabled, settings.enforced),
        (mesh_core::route::Fraction::percent(0), mesh_core::route::Fraction::percent(0))
    );
    assert_eq!((settings.status.as_u16(), settings.always_takes), (429, true));
}

#[test]
fn edits_and_buffers_that_cannot_be_are_refused() {
    let edit = |mutations| HeaderMutationPerRoute { mutations: Some(mutations) };
    let rule = |action| Mutations { request_mutations: vec![Rule { action }], ..Mutations::default() };
    let table = [
        (edit(rule(None)), "mutations.request_mutations[0].action"),
        (edit(rule(Some(RuleAction::Remove("host".into())))), "mutations.request_mutations[0].remove"),
        (edit(rule(Some(RuleAction::Remove(":path".into())))), "mutations.request_mutations[0].remove"),
        (
            edit(rule(Some(RuleAction::RemoveOnMatch(Default::default())))),
            "mutations.request_mutations[0].remove_on_match",
        ),
        (
            edit(Mutations { query_parameter_mutations: vec![Default::default()], ..Mutations::default() }),
            "mutations.query_parameter_mutations",
        ),
        (
            edit(Mutations { response_trailers_mutations: vec![Default::default()], ..Mutations::default() }),
            "mutations.response_trailers_mutations",
        ),
        (
            edit(Mutations { request_trailers_mutations: vec![Default::default()], ..Mutations::default() }),
            "mutations.request_trailers_mutations",
        ),
    ];
    for (edits, at) in table {
        assert_eq!(place(with_filter(pack(&edits))), format!("R.typed_per_filter_config[f].{at}"));
    }
    let buffer = |setting| BufferPerRoute { r#override: setting };
    let zero = Buffer { max_request_bytes: Some(uint32(0)) };
    let table = [
        (None, "override"),
        (Some(BufferOverride::Disabled(false)), "disabled"),
        (Some(BufferOverride::Buffer(Buffer::default())), "buffer.max_request_bytes"),
        (Some(BufferOverride::Buffer(zero)), "buffer.max_request_bytes"),
    ];
    for (setting, at) in table {
        assert_eq!(place(with_filter(pack(&buffer(setting)))), format!("R.typed_per_filter_config[f].{at}"));
    }
}
