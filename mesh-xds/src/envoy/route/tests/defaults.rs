use super::*;

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
