use super::*;

/// An outcome, then the tokens after which it is tried again.
#[test]
fn tokens_mean_what_envoy_means() {
    let plain = HeaderMap::new();
    let response = |status| Outcome::Response { status, headers: &plain };
    let (limited, overloaded) =
        (headers(&[("x-envoy-ratelimited", "true")]), headers(&[("x-envoy-overloaded", "true")]));
    let grpc = ["1", "4", "8", "13", "14", "2"].map(|code| headers(&[("grpc-status", code)]));
    let marked = headers(&[("x-again", "1")]);
    let of = |status, headers| Outcome::Response { status, headers };
    let cases = [
        (response(200), ""),
        (response(500), "5xx"),
        (response(503), "5xx gateway-error"),
        (response(504), "5xx gateway-error"),
        (response(505), "5xx"),
        (response(409), "retriable-4xx"),
        (response(404), ""),
        (response(418), "retriable-status-codes"),
        (of(200, &marked), "retriable-headers"),
        (of(429, &limited), "envoy-ratelimited"),
        (of(503, &limited), "envoy-ratelimited"),
        (of(503, &overloaded), ""),
        (of(200, &grpc[0]), "cancelled"),
        (of(200, &grpc[1]), "deadline-exceeded"),
        (of(200, &grpc[2]), "resource-exhausted"),
        (of(200, &grpc[3]), "internal"),
        (of(200, &grpc[4]), "unavailable"),
        (of(200, &grpc[5]), ""),
        (Outcome::ConnectFailure, "5xx gateway-error reset reset-before-request connect-failure"),
        (Outcome::Refused, "5xx gateway-error reset refused-stream"),
        (Outcome::Reset { sent: false }, "5xx gateway-error reset reset-before-request"),
        (Outcome::Reset { sent: true }, "5xx gateway-error reset"),
        (Outcome::PerTryTimeout, "5xx gateway-error reset"),
        (Outcome::Overflow, ""),
        (Outcome::Timeout, ""),
    ];
    let tokens = "5xx gateway-error reset reset-before-request connect-failure refused-stream envoy-ratelimited \
                  retriable-4xx retriable-status-codes retriable-headers http3-post-connect-failure cancelled \
                  deadline-exceeded internal resource-exhausted unavailable";
    for (outcome, expected) in cases {
        let retried = tokens.split(' ').filter(|token| {
            let policy = RetryPolicy {
                on: RetryOn::from_token(token).unwrap(),
                status_codes: vec![418],
                response_headers: vec![HeaderMatch::new("x-again".parse().unwrap(), Condition::Present(true))],
                ..RetryPolicy::default()
            };
            assert!(!policy.should_retry(outcome, 2), "one retry is the default");
            policy.should_retry(outcome, 1)
        });
        assert_eq!(retried.collect::<Vec<_>>().join(" "), expected, "{outcome:?}");
    }
    assert_eq!(RetryOn::from_token("5XX"), None);
    let set = RetryOn::RESET.and(RetryOn::GRPC_UNAVAILABLE);
    assert_eq!(set.to_string(), "reset,unavailable");
}

#[test]
fn only_requests_with_one_of_the_headers_are_tried_again() {
    let mut policy = RetryPolicy::default();
    let list = headers(&[("b", "1")]);
    let request = get("a", "/", &list);
    let present = |name: &str| HeaderMatch::new(name.parse().unwrap(), Condition::Present(true));
    for (names, allowed) in [(&[][..], true), (&["a"], false), (&["a", "b"], true)] {
        policy.request_headers = names.iter().map(|name| present(name)).collect();
        assert_eq!(policy.is_for(&request), allowed, "{names:?}");
    }
}

#[test]
fn back_off_grows_to_its_bound() {
    let back_off = BackOff::default();
    let bounds = [1, 2, 3, 4, 40].map(|retry| back_off.bound(retry).as_millis());
    assert_eq!(bounds, [25, 75, 175, 250, 250]);
    let policy = RetryPolicy::default();
    let waits = [0, u64::MAX / 2, u64::MAX].map(|random| policy.delay(2, None, Duration::ZERO, random).as_micros());
    assert_eq!(waits, [0, 37_499, 74_999]);
}

#[test]
fn the_server_may_say_when_to_come_again() {
    let header = |name: &'static str, format| ResetHeader { name: http::HeaderName::from_static(name), format };
    let headers_of_policy =
        vec![header("retry-after", ResetFormat::Seconds), header("reset", ResetFormat::UnixTimestamp)];
    let rate_limited = Some(RateLimitedBackOff { headers: headers_of_policy, max: Duration::from_secs(300) });
    let policy = RetryPolicy { rate_limited, ..RetryPolicy::default() };
    let now = Duration::from_secs(1000);
    for (list, least, most) in [
        (&[("retry-after", "10")][..], 10_000, 15_000),
        (&[("retry-after", "soon"), ("reset", "1004")], 4_000, 6_000),
        (&[("retry-after", "301"), ("reset", "1002")], 2_000, 3_000),
        (&[("reset", "999")], 0, 25),
        (&[("retry-after", "301")], 0, 25),
        (&[], 0, 25),
    ] {
        let list = headers(list);
        let wait = |random| policy.delay(1, Some(&list), now, random).as_millis();
        assert_eq!(wait(0), least, "{list:?}");
        assert!((most - 1..=most).contains(&wait(u64::MAX)), "{list:?}");
    }
}

#[test]
fn timeouts_follow_route_and_call() {
    let second = Duration::from_secs;
    let grpc = |timeout: &str| headers(&[("content-type", "application/grpc"), ("grpc-timeout", timeout)]);
    let of = |forward: &Forward, list: &HeaderMap| forward.timeouts(&get("a", "/", list));
    let plain = Forward::to("c");
    assert_eq!(of(&plain, &grpc("1S")), Timeouts { response: Some(second(15)), stream: None });
    let off = Forward { timeout: Some(Duration::ZERO), ..plain.clone() };
    assert_eq!(of(&off, &HeaderMap::new()).response, None);

    let grpc_timeout = Some(GrpcTimeout { max: second(10), offset: Some(second(2)) });
    let capped = Forward { grpc_timeout, ..plain.clone() };
    for (given, expected) in
        [("5S", 3), ("60S", 10), ("2S", 2), ("1M", 10), ("5000m", 3), ("x", 10), ("123456789n", 10)]
    {
        assert_eq!(of(&capped, &grpc(given)).response, Some(second(expected)), "{given}");
    }
    assert_eq!(of(&capped, &HeaderMap::new()).response, Some(second(15)), "not gRPC");

    let durations =
        StreamDuration { max: Some(second(50)), grpc_max: Some(Duration::ZERO), grpc_offset: Some(second(1)) };
    let streams = Forward { stream_duration: Some(durations), ..plain };
    assert_eq!(of(&streams, &grpc("99S")).stream, Some(second(98)));
    assert_eq!(of(&streams, &HeaderMap::new()).stream, Some(second(50)));
}
