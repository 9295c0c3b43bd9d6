use super::*;

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
