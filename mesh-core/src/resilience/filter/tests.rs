#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::filter::{Begun, Chain, Connection, Exchange, Filter, FilterLayer, Named, Reached};
use crate::limit::TokenBucket;
use crate::live::Live;
use crate::route::{
    Action, Addition, AppendAction, CookieKey, CorsPolicy, DescriptorAction, Fault, FaultAbort, FaultDelay,
    FaultLength, FaultStatus, FilterOverride, Forward, Fraction, HeaderMutation, LocalDescriptor, LocalRateLimit,
    Mutation, OwnRateLimit, PathMatch, RateLimit, Route, RouteConfig, RouteMatch, RouteTable, SessionState,
    StatefulSession, Template, VirtualHost,
};
use crate::string_match::Pattern;

/// A filter with routes: `/own` overrides it, everything goes to `shop`, counted by the header `user`.
fn service(filter: impl Filter + 'static, own: Option<FilterOverride>) -> Chained {
    let action =
        DescriptorAction::RequestHeader { name: "user".parse().unwrap(), key: "user".into(), skip_if_absent: false };
    let limit = RateLimit { actions: vec![action], ..RateLimit::default() };
    let route = |path| {
        let mut forward = Forward::to("shop");
        forward.rate_limits = vec![limit.clone()];
        Route::new(RouteMatch::new(PathMatch::prefix(path)), Action::Forward(Box::new(forward)))
    };
    let mut special = route("/own");
    special.filters.extend(own.map(|own| ("filter".into(), own)));
    let host = VirtualHost { domains: vec!["*".into()], routes: vec![special, route("/")], ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
    let chain = Chain { routes: Some(Arc::new(table)), filters: vec![Named::new("filter", filter)] };
    Chained(Live::constant(chain))
}

#[derive(Clone)]
struct Chained(Live<Chain>);

/// The endpoint that the service says it reached.
const ENDPOINT: &str = "10.0.0.1:80";

impl Chained {
    async fn ask(&self, request: http::request::Builder) -> Response<()> {
        self.ask_on(request, None).await
    }

    async fn ask_on(&self, request: http::request::Builder, connection: Option<&Arc<Connection>>) -> Response<()> {
        let echo = service_fn(async |request: Request<Begun<Empty<Bytes>>>| {
            let (mut head, _) = request.into_parts();
            let mut exchange = Exchange::take(&mut head);
            let preferred = exchange.preferred.map(|preferred| preferred.address);
            let endpoint =
                preferred.filter(|_| !head.headers.contains_key("gone")).unwrap_or_else(|| ENDPOINT.parse().unwrap());
            exchange.upstream = Some(Reached { cluster: "shop".into(), endpoint: Some(endpoint), attempts: 1 });
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.headers_mut() = head.headers;
            response.headers_mut().remove("cookie");
            response.headers_mut().insert("came", "1".parse().unwrap());
            response.extensions_mut().insert(exchange);
            Ok::<_, Infallible>(response)
        });
        let mut request = request.body(Empty::new()).unwrap();
        if let Some(connection) = connection {
            request.extensions_mut().insert(Arc::clone(connection));
        }
        FilterLayer::chain(self.0.clone()).layer(echo).oneshot(request).await.unwrap().map(|_| ())
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("http://shop.example{path}"))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn flags(response: &Response<()>) -> String {
    response.extensions().get::<Exchange>().unwrap().flags.to_string()
}

const ALL: Fraction = Fraction::percent(100);

fn abort(status: FaultStatus, fraction: Fraction) -> Fault {
    Fault { abort: Some(FaultAbort { status, fraction, body: "".into() }), ..Fault::default() }
}

#[tokio::test(start_paused = true)]
async fn faults_delay_first_and_then_abort() {
    let length = FaultLength::Fixed(Duration::from_secs(3));
    let both = Fault { delay: Some(FaultDelay { length, fraction: ALL }), ..abort(FaultStatus::Http(418), ALL) };
    let chained = service(Faults::new(both), Some(FilterOverride::Fault(abort(FaultStatus::Grpc(7), ALL))));
    let start = tokio::time::Instant::now();
    let answer = chained.ask(get("/")).await;
    assert_eq!((answer.status().as_u16(), flags(&answer).as_str()), (418, "DI,FI"));
    assert_eq!(start.elapsed().as_secs(), 3);
    let answer = chained.ask(get("/own").header("content-type", "application/grpc")).await;
    assert_eq!((text(answer.headers(), "grpc-status"), start.elapsed().as_secs()), (Some("7"), 3));
}

#[tokio::test(start_paused = true)]
async fn faults_are_for_whom_they_are_meant() {
    let here = |fault: Fault| service(Faults::new(fault), None);
    let asked = async |fault, request| here(fault).ask(request).await.status().as_u16();
    let fault = || abort(FaultStatus::Http(503), ALL);
    assert_eq!(asked(Fault { cluster: "shop".into(), ..fault() }, get("/")).await, 503);
    assert_eq!(asked(Fault { cluster: "other".into(), ..fault() }, get("/")).await, 200);
    assert_eq!(asked(abort(FaultStatus::Http(503), Fraction::percent(0)), get("/")).await, 200);
    let header = crate::request::HeaderMatch::new(
        "chaos".parse().unwrap(),
        crate::request::Condition::Text(Pattern::exact("yes")),
    );
    let wanted = Fault { headers: vec![header], ..fault() };
    assert_eq!(asked(wanted.clone(), get("/")).await, 200);
    assert_eq!(asked(wanted, get("/").header("chaos", "yes")).await, 503);
    // What a header asks for, and no more than is allowed.
    let by_header = |percent| abort(FaultStatus::Header, Fraction::percent(percent));
    let request = || get("/").header("x-envoy-fault-abort-request", "429");
    assert_eq!(asked(by_header(100), get("/")).await, 200);
    assert_eq!(asked(by_header(100), request()).await, 429);
    assert_eq!(asked(by_header(100), request().header("x-envoy-fault-abort-request-percentage", "0")).await, 200);
    assert_eq!(asked(by_header(0), request().header("x-envoy-fault-abort-request-percentage", "100")).await, 200);
    assert_eq!(asked(by_header(100), get("/").header("x-envoy-fault-abort-request", "99")).await, 200);
    // No more at once than there may be.
    assert_eq!(asked(Fault { max_active: Some(0), ..fault() }, get("/")).await, 200);
}

fn policy() -> CorsPolicy {
    CorsPolicy {
        origins: vec![Pattern::exact("https://a.example")],
        methods: "GET, PUT".into(),
        headers: "x-a".into(),
        expose: "x-b".into(),
        max_age: Some(Duration::from_secs(7)),
        ..CorsPolicy::default()
    }
}

fn preflight(origin: &str) -> http::request::Builder {
    get("/own")
        .method("OPTIONS")
        .header("origin", origin)
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "x-q")
}

#[tokio::test]
async fn preflights_are_answered_here() {
    let with = |policy| service(Cors::default(), Some(FilterOverride::Cors(policy)));
    let answer = with(policy()).ask(preflight("https://a.example")).await;
    let header = |answer: &Response<()>, name: &str| text(answer.headers(), name).map(str::to_owned);
    let all = |answer: &Response<()>| {
        ["origin", "methods", "headers", "credentials"]
            .map(|name| header(answer, &format!("access-control-allow-{name}")).unwrap_or_default())
    };
    assert_eq!(all(&answer), ["https://a.example", "GET, PUT", "x-a", ""]);
    assert_eq!((header(&answer, "access-control-max-age"), header(&answer, "came")), (Some("7".into()), None));
    // `*` means nothing where credentials are allowed: what was asked for is said.
    let wild = CorsPolicy { credentials: true, methods: "*".into(), headers: "*".into(), ..policy() };
    let answer = with(wild.clone()).ask(preflight("https://a.example")).await;
    assert_eq!(all(&answer), ["https://a.example", "PATCH", "x-q", "true"]);
    let answer = with(CorsPolicy { credentials: false, ..wild }).ask(preflight("https://a.example")).await;
    assert_eq!(all(&answer), ["https://a.example", "*", "*", ""]);
    // An origin that is not allowed goes on, or is answered without a word of CORS.
    let answer = with(policy()).ask(preflight("https://b.example")).await;
    assert_eq!((header(&answer, "came"), all(&answer)[0].as_str()), (Some("1".into()), ""));
    let answer = with(CorsPolicy { forward_unmatched_preflights: false, ..policy() }).ask(preflight("null")).await;
    assert_eq!((header(&answer, "came"), answer.status(), all(&answer)[0].as_str()), (None, StatusCode::OK, ""));
}

#[tokio::test]
async fn responses_say_who_may_use_them() {
    let with = |policy| service(Cors::default(), Some(FilterOverride::Cors(policy)));
    let ask = async |policy, path, origin: &str| {
        let answer = with(policy).ask(get(path).header("origin", origin)).await;
        ["allow-origin", "allow-credentials", "expose-headers"]
            .map(|name| text(answer.headers(), &format!("access-control-{name}")).unwrap_or_default().to_owned())
    };
    assert_eq!(ask(policy(), "/own", "https://a.example").await, ["https://a.example", "", "x-b"]);
    assert_eq!(ask(policy(), "/own", "https://a.example.evil").await, ["", "", ""]);
    assert_eq!(ask(policy(), "/", "https://a.example").await, ["", "", ""], "a route without policy");
    let wild = CorsPolicy { credentials: true, expose: "*".into(), ..policy() };
    assert_eq!(ask(wild, "/own", "https://a.example").await, ["https://a.example", "true", ""]);
    let off = CorsPolicy { enabled: Some(Fraction::percent(0)), ..policy() };
    assert_eq!(ask(off, "/own", "https://a.example").await, ["", "", ""]);
}

fn bucket(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, Duration::from_secs(10))
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_often_is_refused() {
    let own = OwnRateLimit::new(LocalRateLimit::new(bucket(1)));
    let limit = LocalRateLimit { headers: true, retry_after: true, ..LocalRateLimit::new(bucket(2)) };
    let chained = service(LocalRateLimiting::new(limit, ""), Some(FilterOverride::LocalRateLimit(own)));
    let told = |answer: &Response<()>| {
        ["limit", "remaining", "reset"]
            .map(|name| text(answer.headers(), &format!("x-ratelimit-{name}")).map(str::to_owned))
    };
    let first = chained.ask(get("/")).await;
    assert_eq!(told(&first), ["2", "1", "10"].map(|text| Some(text.to_owned())));
    // A route has a bucket of its own.
    assert_eq!(chained.ask(get("/own")).await.status(), StatusCode::OK);
    assert_eq!(chained.ask(get("/own")).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(chained.ask(get("/")).await.status(), StatusCode::OK);
    tokio::time::advance(Duration::from_secs(4)).await;
    let refused = chained.ask(get("/")).await;
    assert_eq!((refused.status(), flags(&refused).as_str()), (StatusCode::TOO_MANY_REQUESTS, "RL"));
    assert_eq!((told(&refused)[1].as_deref(), text(refused.headers(), "retry-after")), (Some("0"), Some("6")));
    let call = chained.ask(get("/").header("content-type", "application/grpc")).await;
    assert_eq!(text(call.headers(), "grpc-status"), Some("14"));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(chained.ask(get("/")).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn descriptors_have_buckets_of_their_own() {
    let descriptor = |user: &str, tokens, shadow| LocalDescriptor {
        entries: vec![("user".into(), user.into())],
        bucket: bucket(tokens),
        shadow,
    };
    let descriptors = vec![descriptor("a", 1, false), descriptor("b", 0, true)];
    let count = async |limit: LocalRateLimit, users: &[&str]| {
        let chained = service(LocalRateLimiting::new(limit, ""), None);
        let mut passed = String::new();
        for user in users {
            let ok = chained.ask(get("/").header("user", *user)).await.status() == StatusCode::OK;
            passed.push(if ok { '+' } else { '-' });
        }
        passed
    };
    let limit = LocalRateLimit { descriptors, ..LocalRateLimit::new(bucket(4)) };
    // `a` has one, `b` is only watched, others share what is left of four.
    assert_eq!(count(limit.clone(), &["a", "a", "b", "b", "c", "c"]).await, "+-+++-");
    let apart = LocalRateLimit { always_takes: false, bucket: Some(bucket(1)), ..limit.clone() };
    assert_eq!(count(apart, &["a", "b", "c", "c", "b"]).await, "+++-+");
    let lenient = LocalRateLimit { enforced: Fraction::percent(0), ..limit.clone() };
    assert_eq!(count(lenient, &["a", "a"]).await, "++");
    let off = LocalRateLimit { enabled: Fraction::percent(0), ..limit };
    assert_eq!(count(off, &["a", "a"]).await, "++");
}

#[tokio::test(start_paused = true)]
async fn connections_may_have_buckets_of_their_own() {
    let limit = LocalRateLimit { per_connection: true, ..LocalRateLimit::new(bucket(1)) };
    let chained = service(LocalRateLimiting::new(limit, ""), None);
    let address = "192.0.2.1:1".parse().unwrap();
    for _ in 0..100 {
        let connection = Arc::new(Connection::new(address, address));
        let mut statuses = Vec::new();
        for _ in 0..2 {
            statuses.push(chained.ask_on(get("/"), Some(&connection)).await.status().as_u16());
        }
        assert_eq!(statuses, [200, 429]);
    }
}

fn cookie(path: &str) -> StatefulSession {
    let cookie = CookieKey { name: "s".into(), lifetime: None, path: path.into(), attributes: Vec::new() };
    StatefulSession { state: SessionState::Cookie(cookie), strict: false }
}

#[tokio::test]
async fn clients_come_back_to_their_endpoint() {
    let chained = service(Sessions::new(None), Some(FilterOverride::Session(cookie("/own"))));
    let first = chained.ask(get("/own/x")).await;
    // base64 of 10.0.0.1:80
    assert_eq!(text(first.headers(), "set-cookie"), Some("s=\"MTAuMC4wLjE6ODA=\"; Path=/own; HttpOnly"));
    let again = chained.ask(get("/own/x").header("cookie", "s=\"MTAuMC4wLjE6ODA=\"")).await;
    assert_eq!(text(again.headers(), "set-cookie"), None);
    let preferred = again.extensions().get::<Exchange>().unwrap().preferred.unwrap();
    assert_eq!((preferred.address.to_string().as_str(), preferred.strict), (ENDPOINT, false));
    // 10.0.0.9:80, which is gone.
    let moved = chained.ask(get("/own").header("cookie", "s=MTAuMC4wLjk6ODA=").header("gone", "1")).await;
    assert!(text(moved.headers(), "set-cookie").unwrap().contains("MTAuMC4wLjE6ODA="));
    // Not for other paths, and not for nonsense.
    assert_eq!(text(chained.ask(get("/ownx")).await.headers(), "set-cookie"), None);
    for nonsense in ["s=%", "s=", "s=aGVsbG8=", "s=\u{ff}"] {
        let answer = chained.ask(get("/own").header("cookie", nonsense.as_bytes())).await;
        assert!(answer.headers().contains_key("set-cookie"), "{nonsense}");
    }

    let header = StatefulSession { state: SessionState::Header("x-session".parse().unwrap()), strict: true };
    let chained = service(Sessions::new(Some(header)), None);
    let first = chained.ask(get("/")).await;
    assert_eq!(text(first.headers(), "x-session"), Some("MTAuMC4wLjE6ODA="));
    let again = chained.ask(get("/").header("x-session", "MTAuMC4wLjE6ODA=")).await;
    assert!(again.extensions().get::<Exchange>().unwrap().preferred.unwrap().strict);
}

fn set(value: &str) -> Mutation {
    let addition = Addition {
        name: "x".parse().unwrap(),
        value: Template::new(value).unwrap(),
        action: AppendAction::OverwriteIfExistsOrAdd,
        keep_empty: false,
    };
    Mutation { remove: Vec::new(), add: vec![addition] }
}

#[tokio::test]
async fn headers_are_edited_on_both_ways_by_all_levels() {
    let edits = |request: &str, response: &str| HeaderMutation {
        request: vec![set(request)],
        response: vec![Mutation { remove: vec!["came".parse().unwrap()], ..Mutation::default() }, set(response)],
        most_specific_wins: false,
    };
    let own = Some(FilterOverride::HeaderMutation(edits("own", "own of %REQ(user)%")));
    let chained = service(EditHeaders::new(edits("all", "all")), own);
    let answer = chained.ask(get("/own").header("user", "u")).await;
    assert_eq!((text(answer.headers(), "x"), text(answer.headers(), "came")), (Some("own of u"), None));
    assert_eq!(text(chained.ask(get("/")).await.headers(), "x"), Some("all"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_asks_nobody() {
    let read = service(ReadDeadline, None);
    let answer = read.ask(get("/").header("grpc-timeout", "1S")).await;
    assert_eq!(text(answer.headers(), "came"), Some("1"));
    let pass = FilterLayer::new(PassDeadline);
    let service = pass.layer(service_fn(async |request: Request<Begun<Empty<Bytes>>>| {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    }));
    let mut call = Request::builder().header("grpc-timeout", "9S").body(Empty::<Bytes>::new()).unwrap();
    call.extensions_mut().insert(Deadline(tokio::time::Instant::now() + Duration::from_millis(1500)));
    let answer = service.clone().oneshot(call.clone()).await.unwrap();
    assert_eq!(answer.headers()["grpc-timeout"], "1500000u");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(service.oneshot(call).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn bodies_that_are_too_long_are_refused() {
    let layer = FilterLayer::new(BodyLimit::new(4));
    for (body, status) in [("four", 200), ("fives", 413)] {
        let service = layer.layer(service_fn(async |_: Request<Begun<Full<Bytes>>>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }));
        let answer = service.oneshot(Request::new(Full::new(Bytes::from(body)))).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
}
