use super::*;

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
