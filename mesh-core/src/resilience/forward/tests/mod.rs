#![allow(clippy::unwrap_used, reason = "tests")]

mod bad;
mod model;
mod scripted;

use http::{Method, Request};
use http_body_util::Empty;

use super::*;
use crate::balance::{Cluster, Discovery, EndpointValue};
use crate::resilience::{Expired, ForwardSettings, ResponseError};
use crate::route::MetadataValue;
use crate::route::{
    Action, Addition, AppendAction, AvoidHost, BackOff, DirectResponse, Forward, HeaderEdits, Hedge, HostRewrite,
    Mirror, MissingCluster, PathMatch, PathRewrite, Redirect, RetryOn, RetryPolicy, Route, RouteMatch, Template,
    VirtualHost,
};
use scripted::{Act, IntoBalancer as _, NEVER, Piece, Scene, ask, fails, millis, pieces, routed, status};

fn host(action: Action) -> VirtualHost {
    let route = Route::new(RouteMatch::new(PathMatch::prefix("/")), action);
    VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() }
}

fn to(edit: impl FnOnce(&mut Forward)) -> VirtualHost {
    let mut forward = Forward::to("shop");
    edit(&mut forward);
    host(Action::Forward(Box::new(forward)))
}

fn get(host: VirtualHost) -> Request<Empty<bytes::Bytes>> {
    routed(host, Request::builder().uri("http://shop.example/cart?x=1").body(Empty::new()).unwrap())
}

fn post(host: VirtualHost, list: &[Piece]) -> Request<scripted::Pieces> {
    let request = Request::builder().method(Method::POST).uri("http://shop.example/cart");
    routed(host, request.body(pieces(list)).unwrap())
}

fn retrying(on: RetryOn, retries: u32) -> RetryPolicy {
    let back_off = BackOff { base: millis(10), max: None };
    RetryPolicy { on, retries, back_off, ..RetryPolicy::default() }
}

fn settings() -> ForwardSettings {
    ForwardSettings::default()
}

#[tokio::test(start_paused = true)]
async fn a_request_reaches_its_cluster_and_says_so() {
    let scene = Scene::new(&[("shop", 1)]);
    let got = ask(&scene.forwarder(settings()), get(to(|_| {}))).await;
    assert_eq!((got.status, got.body.as_deref().unwrap(), got.flags().as_str()), (200, "said", "-"));
    assert_eq!(got.exchange.details.as_str(), "via_upstream");
    let reached = got.exchange.upstream.clone().unwrap();
    assert_eq!((reached.cluster.as_str(), reached.endpoint.unwrap().port(), reached.attempts), ("shop", 1000, 1));
    assert_eq!(scene.seen()[0].target, "shop.example/cart?x=1");
    assert_eq!(scene.seen()[0].headers["x-envoy-expected-rq-timeout-ms"], "15000");
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_server_is_answered() {
    let scene = Scene::new(&[("shop", 0)]);
    let forwarder = scene.forwarder(settings());
    let redirect = Redirect { host: Some("other.example".into()), ..Redirect::default() };
    let mut tls = to(|_| {});
    tls.require_tls = true;
    let mut elsewhere = to(|_| {});
    elsewhere.domains = vec!["elsewhere".into()];
    let missing = |missing| {
        let mut forward = Forward::to("nowhere");
        forward.missing = missing;
        host(Action::Forward(Box::new(forward)))
    };
    let respond = Action::Respond(DirectResponse { status: 418, body: b"tea".to_vec() });
    let table = [
        (elsewhere, 404, "NR", "route_not_found"),
        (host(Action::NonForwarding), 404, "NR", "route_not_found"),
        (host(respond), 418, "-", "direct_response"),
        (host(Action::Redirect(redirect)), 301, "-", "direct_response"),
        (tls, 301, "-", "direct_response"),
        (missing(MissingCluster::ServiceUnavailable), 503, "NC", "cluster_not_found"),
        (missing(MissingCluster::NotFound), 404, "NC", "cluster_not_found"),
        (to(|_| {}), 503, "UH", "no_healthy_upstream"),
    ];
    for (host, status, flags, details) in table {
        let got = ask(&forwarder, get(host)).await;
        assert_eq!((got.status, got.flags().as_str(), got.exchange.details.as_str()), (status, flags, details));
    }
    let mut tls = to(|_| {});
    tls.require_tls = true;
    let got = ask(&forwarder, get(tls)).await;
    assert_eq!(got.header("location"), Some("https://shop.example/cart?x=1"));
    let mut request = get(host(Action::NonForwarding));
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let got = ask(&forwarder, request).await;
    assert_eq!((got.status, got.header("grpc-status")), (200, Some("12")));
}

#[tokio::test(start_paused = true)]
async fn calls_of_grpc_are_answered_in_their_own_words_and_routes_edit_every_answer() {
    let scene = Scene::new(&[("shop", 0)]);
    let forwarder = scene.forwarder(settings());
    let missing = |missing| {
        let mut forward = Forward::to("nowhere");
        forward.missing = missing;
        host(Action::Forward(Box::new(forward)))
    };
    let respond = |status, body: &str| host(Action::Respond(DirectResponse { status, body: body.into() }));
    let redirect = Redirect { host: Some("other.example".into()), ..Redirect::default() };
    // Host → what others get, and the status and the message of a call of gRPC.
    let table = [
        (respond(200, "fine"), 200, "2", Some("fine")),
        (respond(401, "who?%"), 401, "16", Some("who?%25")),
        (respond(429, ""), 429, "14", None),
        (respond(418, "tea"), 418, "2", Some("tea")),
        (host(Action::Redirect(redirect)), 301, "2", None),
        (missing(MissingCluster::NotFound), 404, "12", None),
        (missing(MissingCluster::ServiceUnavailable), 503, "14", None),
        (to(|_| {}), 503, "14", Some("no healthy upstream")),
    ];
    for (mut host, status, grpc_status, message) in table {
        let add = ["x-route", "grpc-status", "content-type"].map(|name| Addition {
            name: name.parse().unwrap(),
            value: Template::literal("0"),
            action: AppendAction::OverwriteIfExistsOrAdd,
            keep_empty: false,
        });
        host.headers.response.add = add.into();
        let got = ask(&forwarder, get(host.clone())).await;
        assert_eq!((got.status, got.header("x-route")), (status, Some("0")));
        let mut call = get(host);
        call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        let location = got.header("location").map(str::to_owned);
        let got = ask(&forwarder, call).await;
        assert_eq!((got.status, got.header("content-type")), (200, Some("application/grpc")), "{status}");
        assert_eq!((got.header("grpc-status"), got.header("grpc-message")), (Some(grpc_status), message), "{status}");
        assert_eq!((got.body.as_deref().unwrap(), got.header("x-route")), ("", Some("0")));
        assert_eq!(got.header("location"), location.as_deref());
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_counts_from_the_end_of_the_request() {
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [status(NEVER, 200)]);
    let host = to(|forward| forward.timeout = Some(millis(100)));
    let got = ask(&scene.forwarder(settings()), post(host, &[Piece::Data(0, "a"), Piece::Data(500, "b")])).await;
    assert_eq!((got.status, got.flags().as_str(), got.times.0), (504, "UT", 600));
    assert_eq!(got.body.as_deref().unwrap(), "upstream request timeout");
    assert_eq!(got.exchange.details.as_str(), "response_timeout");
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn the_timeout_ends_a_response_that_has_begun() {
    let slow = vec![Piece::Data(0, "a"), Piece::Data(80, "b"), Piece::Data(80, "c")];
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [Act { after: 0, reads: true, answer: Ok((200, &[], slow)) }]);
    let host = to(|forward| forward.timeout = Some(millis(100)));
    let got = ask(&scene.forwarder(settings()), get(host)).await;
    let error = got.body.as_ref().unwrap_err();
    assert!(matches!(error, ResponseError::Expired(Expired::Response)), "{error}");
    assert_eq!((error.flag(), got.times), (crate::filter::Flag::UpstreamRequestTimeout, (0, 100)));
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn silence_and_long_lives_end() {
    let host = |idle, stream| {
        to(move |forward| {
            forward.timeout = Some(millis(0));
            forward.idle_timeout = Some(millis(idle));
            forward.stream_duration =
                Some(crate::route::StreamDuration { max: Some(millis(stream)), ..Default::default() });
        })
    };
    let ask_for = async |host, body: &[Piece], act| {
        let scene = Scene::new(&[("shop", 1)]).acts("shop", [act]);
        let got = ask(&scene.forwarder(settings()), post(host, body)).await;
        assert!(scene.is_quiet());
        (got.status, got.flags(), got.times.1)
    };
    // The server is silent; the client is; the client is not, but never comes to an end.
    let body = [Piece::Data(0, "a")];
    assert_eq!(ask_for(host(50, 0), &body, status(NEVER, 200)).await, (504, "SI".to_owned(), 50));
    let body = [Piece::Data(30, "a"), Piece::Data(30, "b"), Piece::Hang];
    assert_eq!(ask_for(host(50, 0), &body, status(0, 200)).await, (408, "SI".to_owned(), 110));
    let body = [Piece::Data(30, "a"), Piece::Data(30, "b"), Piece::Data(30, "c"), Piece::Hang];
    assert_eq!(ask_for(host(50, 85), &body, status(0, 200)).await, (408, "DT".to_owned(), 85));
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_as_envoy_tells_them() {
    let table = [
        (SendFailure::Connect, 503, "UF", "upstream_reset_before_response_started{remote_connection_failure}"),
        (SendFailure::ConnectTimeout, 503, "UF", "upstream_reset_before_response_started{connection_timeout}"),
        (SendFailure::Overflow, 503, "UO", "upstream_reset_before_response_started{overflow}"),
        (SendFailure::Reset { sent: true }, 503, "UR", "upstream_reset_before_response_started{remote_reset}"),
        (
            SendFailure::Closed { sent: true },
            503,
            "UC",
            "upstream_reset_before_response_started{connection_termination}",
        ),
        (SendFailure::Protocol, 502, "UPE", "upstream_reset_before_response_started{protocol_error}"),
    ];
    for (failure, status, flags, details) in table {
        let scene = Scene::new(&[("shop", 1)]).acts("shop", [fails(0, failure)]);
        let got = ask(&scene.forwarder(settings()), get(to(|_| {}))).await;
        assert_eq!((got.status, got.flags().as_str(), got.exchange.details.as_str()), (status, flags, details));
        assert_eq!(got.header("x-envoy-overloaded").is_some(), failure == SendFailure::Overflow);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_tried_again_with_its_whole_body() {
    let scene = Scene::new(&[("shop", 3)]);
    let scene = scene.acts("shop", [status(0, 503), fails(0, SendFailure::Reset { sent: true }), status(0, 201)]);
    let mut host = to(|forward| forward.retry = Some(retrying(RetryOn::SERVER_ERROR, 3)));
    host.attempt_count_in_request = true;
    host.attempt_count_in_response = true;
    let body = [Piece::Data(0, "one"), Piece::Data(10, "two")];
    let got = ask(&scene.forwarder(settings()), post(host, &body)).await;
    assert_eq!((got.status, got.flags().as_str(), got.header("x-envoy-attempt-count")), (201, "-", Some("3")));
    let seen = scene.seen();
    let counts: Vec<_> = seen.iter().map(|seen| seen.headers["x-envoy-attempt-count"].clone()).collect();
    assert_eq!(counts, ["1", "2", "3"]);
    assert!(seen.iter().all(|seen| seen.body == Some(Ok("onetwo".to_owned()))), "{seen:?}");
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_try_again_gets_the_last_answer() {
    let policy = || retrying(RetryOn::SERVER_ERROR, 1);
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [status(0, 503), status(0, 500), status(0, 200)]);
    let got = ask(&scene.forwarder(settings()), get(to(|forward| forward.retry = Some(policy())))).await;
    assert_eq!((got.status, got.flags().as_str(), scene.seen().len()), (500, "URX", 2));

    // A body that is too long to be kept.
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [status(0, 503)]);
    let mut host = to(|forward| forward.retry = Some(policy()));
    host.body_buffer = Some(5);
    let got = ask(&scene.forwarder(settings()), post(host, &[Piece::Data(0, "four"), Piece::Data(0, "more")])).await;
    assert_eq!((got.status, scene.seen().len()), (503, 1));
    assert_eq!(scene.seen()[0].body, Some(Ok("fourmore".to_owned())));
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_its_own_time() {
    let policy = RetryPolicy { per_try_timeout: Some(millis(50)), ..retrying(RetryOn::SERVER_ERROR, 1) };
    let scene = Scene::new(&[("shop", 2)]).acts("shop", [status(NEVER, 200), status(20, 200)]);
    let retried = to(|forward| forward.retry = Some(policy.clone()));
    let got = ask(&scene.forwarder(settings()), get(retried)).await;
    assert_eq!((got.status, scene.seen().len()), (200, 2));
    assert_eq!(scene.seen()[0].headers["x-envoy-expected-rq-timeout-ms"], "50");
    assert!((70..90).contains(&got.times.0), "{:?}", got.times);

    let scene = Scene::new(&[("shop", 2)]).acts("shop", [status(NEVER, 200), status(NEVER, 200)]);
    let got = ask(&scene.forwarder(settings()), get(to(|forward| forward.retry = Some(policy)))).await;
    assert_eq!((got.status, got.flags().as_str()), (504, "UT,URX"));
    assert_eq!(got.exchange.details.as_str(), "upstream_per_try_timeout");
    assert!(scene.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn a_hedge_runs_beside_the_first_attempt() {
    let host = || {
        to(|forward| {
            let policy = RetryPolicy { per_try_timeout: Some(millis(50)), ..retrying(RetryOn::RESET, 2) };
            forward.retry = Some(policy);
            forward.hedge = Some(Hedge { on_per_try_timeout: true });
        })
    };
    // The first is late but wins; then the second wins.
    for (first, second, seen) in [(70, NEVER, 2), (NEVER, 20, 2)] {
        let scene = Scene::new(&[("shop", 2)]).acts("shop", [status(first, 200), status(second, 201)]);
        let got = ask(&scene.forwarder(settings()), post(host(), &[Piece::Data(0, "body")])).await;
        assert_eq!(got.status, if first < second { 200 } else { 201 });
        assert_eq!((scene.seen().len(), got.times.0 < 100), (seen, true), "{:?}", got.times);
        assert!(scene.seen().iter().all(|seen| seen.body == Some(Ok("body".to_owned()))));
        assert!(scene.is_quiet());
    }
    // A bad answer waits for what the other says.
    let scene = Scene::new(&[("shop", 2)]).acts("shop", [status(80, 200), fails(1, SendFailure::Overflow)]);
    let got = ask(&scene.forwarder(settings()), get(host())).await;
    assert_eq!((got.status, got.times.0), (200, 80));
    // One that cannot even begin takes nothing from the one that is under way.
    let mut full = Cluster::new("shop", Discovery::Eds { service_name: None });
    full.circuit.default.max_requests = 1;
    let scene = Scene::of(vec![full.into_balancer(2)]).acts("shop", [status(80, 200)]);
    let got = ask(&scene.forwarder(settings()), get(host())).await;
    assert_eq!((got.status, got.times.0, scene.seen().len()), (200, 80, 1));
}

#[tokio::test(start_paused = true)]
async fn copies_never_disturb() {
    let mirrored = |fraction| {
        to(move |forward| {
            forward.mirrors = vec![Mirror {
                cluster: crate::route::ClusterName::Named("copy".into()),
                fraction,
                keep_host: false,
                host: None,
            }];
        })
    };
    let scene = Scene::new(&[("shop", 1), ("copy", 1)]).acts("copy", [status(NEVER, 500)]);
    let body = [Piece::Data(0, "one"), Piece::Data(10, "two")];
    let got = ask(&scene.forwarder(settings()), post(mirrored(None), &body)).await;
    assert_eq!((got.status, got.times.1), (200, 10));
    tokio::time::sleep(millis(1)).await;
    let copy = scene.seen().into_iter().find(|seen| seen.cluster == "copy").unwrap();
    assert_eq!((copy.target.as_str(), copy.body), ("shop.example-shadow/cart", Some(Ok("onetwo".to_owned()))));
    assert!(!scene.is_quiet());
    tokio::time::sleep(millis(15_000)).await;
    assert!(scene.is_quiet(), "a copy has the time of the request");

    // Nobody is chosen; and a copy that does not read is given up.
    let scene = Scene::new(&[("shop", 1), ("copy", 1)]);
    ask(&scene.forwarder(settings()), post(mirrored(Some(crate::route::Fraction::percent(0))), &body)).await;
    assert_eq!(scene.seen().len(), 1);
    let lags = Act { after: 5, reads: false, answer: Ok((200, &[], Vec::new())) };
    let scene = Scene::new(&[("shop", 1), ("copy", 1)]).acts("copy", [lags]);
    let small = ForwardSettings { mirror_buffer: 4, ..settings() };
    let got = ask(&scene.forwarder(small), post(mirrored(None), &body)).await;
    assert_eq!(got.status, 200);
}

#[tokio::test(start_paused = true)]
async fn heads_are_rewritten_once_and_tell_what_was() {
    let scene = Scene::new(&[("shop", 1)]);
    let mut rewritten = to(|forward| {
        forward.path = Some(PathRewrite::Prefix("/new/".into()));
        forward.host = Some(HostRewrite::Literal("inner.example".into()));
        forward.append_forwarded_host = true;
    });
    rewritten.headers = HeaderEdits::default();
    ask(&scene.forwarder(settings()), get(rewritten)).await;
    let by_endpoint = to(|forward| forward.host = Some(HostRewrite::Upstream));
    ask(&scene.forwarder(settings()), get(by_endpoint)).await;
    let seen = scene.seen();
    assert_eq!(seen[0].target, "inner.example/new/cart?x=1");
    assert_eq!(seen[0].headers["x-envoy-original-path"], "/cart?x=1");
    assert_eq!(seen[0].headers["x-forwarded-host"], "shop.example");
    assert_eq!(seen[1].target, "e0.shop/cart?x=1");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_passes_over_endpoints_that_were_tried() {
    let policy =
        RetryPolicy { avoid: vec![AvoidHost::Previous], host_attempts: 100, ..retrying(RetryOn::SERVER_ERROR, 2) };
    for _ in 0..20 {
        let scene = Scene::new(&[("shop", 3)]).acts("shop", [status(0, 503), status(0, 503), status(0, 503)]);
        ask(&scene.forwarder(settings()), get(to(|forward| forward.retry = Some(policy.clone())))).await;
        let mut endpoints: Vec<_> = scene.seen().iter().map(|seen| seen.endpoint).collect();
        endpoints.sort_unstable();
        assert_eq!(endpoints, [0, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_the_first_passes_over_canaries() {
    let retry = |avoid| RetryPolicy { avoid, host_attempts: 100, ..retrying(RetryOn::SERVER_ERROR, 1) };
    let asked = async |avoid: Vec<AvoidHost>| {
        let mut endpoints = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
        for _ in 0..40 {
            let cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
            let scene = Scene::of(vec![cluster.into_balancer_of(|at, endpoint| {
                let canary = EndpointValue::One(MetadataValue::Bool(at == 0));
                endpoint.metadata.insert("canary".into(), canary);
                0
            })]);
            let scene = scene.acts("shop", [status(0, 503)]);
            let avoid = avoid.clone();
            ask(&scene.forwarder(settings()), get(to(|forward| forward.retry = Some(retry(avoid))))).await;
            for (seen, endpoints) in scene.seen().iter().zip(&mut endpoints) {
                endpoints.insert(seen.endpoint);
            }
        }
        endpoints.map(Vec::from_iter)
    };
    assert_eq!(asked(vec![]).await, [[0, 1, 2], [0, 1, 2]]);
    assert_eq!(asked(vec![AvoidHost::Canary]).await, [vec![0, 1, 2], vec![1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn attempts_leave_out_priorities_that_were_tried() {
    // How often priorities are looked at → the priority of each attempt. Each has one endpoint.
    for (every, expected) in [
        (None, [0, 0, 0, 0, 0, 0]),
        (Some(1), [0, 1, 2, 0, 1, 2]),
        (Some(2), [0, 0, 1, 1, 2, 2]),
        // As Envoy, which takes nothing for once.
        (Some(0), [0, 1, 2, 0, 1, 2]),
        (Some(4), [0, 0, 0, 0, 1, 1]),
    ] {
        let cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
        let scene = Scene::of(vec![cluster.into_balancer_of(|at, _| u32::from(at))]);
        let scene = scene.acts("shop", vec![status(0, 503); 6]);
        let policy = RetryPolicy { avoid_priorities: every, ..retrying(RetryOn::SERVER_ERROR, 5) };
        ask(&scene.forwarder(settings()), get(to(|forward| forward.retry = Some(policy)))).await;
        let tried: Vec<_> = scene.seen().iter().map(|seen| seen.endpoint).collect();
        assert_eq!(tried, expected, "{every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_override_the_route_of_those_who_may() {
    let overridden = |mut request: Request<Empty<bytes::Bytes>>| {
        let headers = request.headers_mut();
        headers.insert("x-envoy-retry-on", "nonsense, 5xx".parse().unwrap());
        headers.insert("x-envoy-max-retries", "2".parse().unwrap());
        headers.insert("x-envoy-upstream-rq-timeout-ms", "700".parse().unwrap());
        request
    };
    for (overrides, attempts, expected) in
        [(Overrides::Always, 3, "700"), (Overrides::Never, 1, "15000"), (Overrides::Identified, 1, "15000")]
    {
        let scene = Scene::new(&[("shop", 1)]).acts("shop", [status(0, 500), status(0, 500), status(0, 500)]);
        let settings = ForwardSettings { overrides, ..settings() };
        ask(&scene.forwarder(settings), overridden(get(to(|_| {})))).await;
        let seen = scene.seen();
        assert_eq!(
            (seen.len(), seen[0].headers["x-envoy-expected-rq-timeout-ms"].to_str().unwrap()),
            (attempts, expected)
        );
        assert!(
            seen.iter().all(|seen| !seen.headers.contains_key("x-envoy-retry-on")
                && !seen.headers.contains_key("x-envoy-max-retries"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_passed_on_as_what_is_left_of_it() {
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [fails(300, SendFailure::Refused), status(0, 200)]);
    let host = to(|forward| {
        forward.timeout = Some(millis(60_000));
        forward.retry = Some(RetryPolicy {
            back_off: BackOff { base: millis(0), max: None },
            ..retrying(RetryOn::REFUSED_STREAM, 1)
        });
    });
    let mut request = get(host);
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("grpc-timeout", "2S".parse().unwrap());
    ask(&scene.forwarder(settings()), request).await;
    let seen = scene.seen();
    let timeouts: Vec<_> = seen.iter().map(|seen| seen.headers["grpc-timeout"].to_str().unwrap()).collect();
    assert_eq!(timeouts[0], "2000000u");
    let second: u64 = timeouts[1].strip_suffix('u').unwrap().parse().unwrap();
    assert!((1_690_000..=1_700_000).contains(&second), "{second}");
    assert!(seen[1].at >= millis(300));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_request_ends_its_attempts_at_once() {
    let scene = Scene::new(&[("shop", 1)]).acts("shop", [status(NEVER, 200)]);
    let mut forwarder = scene.forwarder(settings());
    let mut asked = Box::pin(tower::Service::call(&mut forwarder, get(to(|_| {}))));
    assert!(tokio::time::timeout(millis(5), &mut asked).await.is_err());
    assert_eq!(scene.balancer("shop").circuit().requests(), 1);
    drop(asked);
    assert!(scene.is_quiet());
}
