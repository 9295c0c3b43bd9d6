use super::*;

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
