mod clients;
mod model;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, json};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::companion::scripted::Scripted;
use crate::companion::{CompanionError, GrpcService, HeaderEdit};
use crate::filter::{Begun, Chain, Connection, Exchange, FilterLayer, Metadata, Named};
use crate::live::Live;
use crate::request::{Condition, HeaderMatch};
use crate::route::{
    Action, Addition, AppendAction, DescriptorAction as Of, DirectResponse, FilterOverride, Forward, Fraction, Hits,
    HostLimits, LimitOverride, MetadataPath, Mutation, PathMatch, QueryCondition, QueryMatch, Quota, RateLimit,
    RateLimitOverride, RateUnit, Route, RouteConfig, RouteMatch, RouteTable, Template, VirtualHost,
};
use crate::string_match::Pattern;

type Answered = Result<Ruling, CompanionError>;

/// A rate limit service that says what it is told to.
type Limiting = Scripted<Question, Answered>;

impl RateLimiter for Limiting {
    fn ask(&self, question: Question) -> Asking {
        self.answer(question)
    }
}

fn settings() -> GlobalRateLimit {
    GlobalRateLimit::new("shop", GrpcService::new("limits", None))
}

fn generic(value: &str) -> RateLimit {
    RateLimit { actions: vec![Of::GenericKey { key: "k".into(), value: value.into() }], ..RateLimit::default() }
}

fn over() -> Answered {
    Ok(Ruling { over_limit: true, ..Ruling::default() })
}

fn lost() -> Answered {
    Err(CompanionError::Timeout(Duration::from_millis(20)))
}

/// Answers with the request's headers.
async fn echo(request: Request<Begun<Full<Bytes>>>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let mut response = Response::new(Full::default());
    *response.headers_mut() = request.into_parts().0.headers;
    Ok(response)
}

async fn ask(
    settings: GlobalRateLimit,
    answer: Answered,
    request: Request<Full<Bytes>>,
    routes: Option<RouteTable>,
) -> (Response<()>, Vec<Question>) {
    let limiter = Limiting::new(answer);
    let filter = GlobalRateLimiting::new(settings, "web", Arc::clone(&limiter) as Arc<dyn RateLimiter>);
    let chain = Chain { routes: routes.map(Arc::new), filters: vec![Named::new("limit", filter)] };
    let response = FilterLayer::chain(Live::constant(chain)).layer(service_fn(echo)).oneshot(request).await.unwrap();
    let asked = limiter.take_asked();
    (response.map(drop), asked)
}

async fn alone(settings: GlobalRateLimit, answer: Answered) -> Response<()> {
    let settings = GlobalRateLimit { limits: vec![generic("a")], ..settings };
    let (response, asked) = ask(settings, answer, get(&[]), None).await;
    assert_eq!(asked.len(), 1);
    response
}

fn get(headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri("http://shop.example/cart");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

fn said(response: &Response<()>) -> (u16, String, String) {
    let exchange = response.extensions().get::<Exchange>().unwrap();
    (response.status().as_u16(), exchange.flags.to_string(), exchange.details.to_string())
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_answer_decides_and_without_one_the_settings_do() {
    let denying = GlobalRateLimit { failure_deny: true, ..settings() };
    let fraction = |percent| Some(Fraction::percent(percent));
    let limited = |status| (status, "RL".to_owned(), "request_rate_limited".to_owned());
    let passed = || (200, "-".to_owned(), String::new());
    let failed = |status| (status, "RLSE".to_owned(), "rate_limiter_error".to_owned());
    for (settings, answer, expected) in [
        (settings(), Ok(Ruling::default()), passed()),
        (settings(), over(), limited(429)),
        (settings(), lost(), passed()),
        (denying.clone(), lost(), failed(500)),
        (denying.clone(), Ok(Ruling::default()), passed()),
        (GlobalRateLimit { status_on_error: StatusCode::BAD_GATEWAY, ..denying.clone() }, lost(), failed(502)),
        (GlobalRateLimit { failure_deny_fraction: fraction(0), ..denying }, lost(), passed()),
        (GlobalRateLimit { failure_deny_fraction: fraction(100), ..settings() }, lost(), failed(500)),
        (GlobalRateLimit { limited_status: StatusCode::SERVICE_UNAVAILABLE, ..settings() }, over(), limited(503)),
        (GlobalRateLimit { enforced: fraction(0), ..settings() }, over(), passed()),
        (GlobalRateLimit { enforced: fraction(100), ..settings() }, over(), limited(429)),
    ] {
        let response = alone(settings.clone(), answer.clone()).await;
        assert_eq!(said(&response), expected, "{settings:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_that_is_too_many_has_a_status_of_its_own() {
    for (resource_exhausted, status) in [(false, "14"), (true, "8")] {
        let settings = GlobalRateLimit { resource_exhausted, limits: vec![generic("a")], ..settings() };
        let (response, _) = ask(settings, over(), get(&[("content-type", "application/grpc")]), None).await;
        assert_eq!((response.status().as_u16(), values(response.headers(), "grpc-status")), (200, vec![status.into()]));
    }
}

#[tokio::test]
async fn requests_that_are_not_counted_pass_unasked() {
    let counted = || GlobalRateLimit { limits: vec![generic("a")], ..settings() };
    let of = |requests| GlobalRateLimit { requests, ..counted() };
    let absent = RateLimit { actions: vec![Of::DestinationCluster], ..RateLimit::default() };
    for (settings, internal, asked) in [
        (counted(), None, 1),
        (GlobalRateLimit { enabled: Some(Fraction::percent(0)), ..counted() }, None, 0),
        (of(RequestKind::Internal), None, 0),
        (of(RequestKind::Internal), Some("false"), 0),
        (of(RequestKind::Internal), Some("true"), 1),
        (of(RequestKind::External), None, 1),
        (of(RequestKind::External), Some("true"), 0),
        (of(RequestKind::Both), Some("true"), 1),
        (settings(), None, 0),
        (GlobalRateLimit { limits: vec![absent], ..settings() }, None, 0),
    ] {
        let headers = internal.map(|value| ("x-envoy-internal", value));
        let (response, questions) = ask(settings.clone(), over(), get(headers.as_slice()), None).await;
        let status = if asked == 0 { 200 } else { 429 };
        assert_eq!((questions.len(), response.status().as_u16()), (asked, status), "{settings:?} {internal:?}");
    }
}

fn table(route: Route, host: impl FnOnce(&mut VirtualHost)) -> RouteTable {
    let mut only = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    host(&mut only);
    RouteTable::new(RouteConfig { hosts: vec![only], ..RouteConfig::default() }).unwrap()
}

fn forward(limits: Vec<RateLimit>, include: bool) -> Route {
    let forward = Forward { rate_limits: limits, include_host_rate_limits: include, ..Forward::to("carts") };
    Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)))
}

#[tokio::test]
async fn limits_come_from_the_level_that_counts() {
    let staged = |stage, value| RateLimit { stage, ..generic(value) };
    let own = || vec![staged(0, "route0"), staged(1, "route1")];
    let stage = |stage| GlobalRateLimit { stage, ..settings() };
    let of_filter = || GlobalRateLimit { limits: vec![staged(3, "filter")], ..settings() };
    let with = |host, limits: Vec<RateLimit>| Some(RateLimitOverride { host, limits, domain: None });
    for (settings, route, level, expected) in [
        (stage(0), forward(own(), false), None, &["route0"][..]),
        (stage(1), forward(own(), false), None, &["route1"]),
        (stage(2), forward(own(), false), None, &[]),
        (stage(0), forward(vec![], false), None, &["host0"]),
        // A route has limits if it has any, of whatever stage.
        (stage(0), forward(vec![staged(1, "route1")], false), None, &[]),
        (stage(0), forward(own(), true), None, &["route0", "host0"]),
        (stage(0), forward(own(), false), with(HostLimits::Include, vec![]), &["route0", "host0"]),
        (stage(0), forward(vec![], false), with(HostLimits::Ignore, vec![]), &[]),
        (stage(0), forward(own(), false), with(HostLimits::Ignore, vec![]), &["route0"]),
        (stage(0), forward(own(), true), with(HostLimits::Ignore, vec![]), &["route0", "host0"]),
        (stage(0), forward(own(), false), with(HostLimits::Include, vec![staged(3, "level")]), &["level"]),
        (of_filter(), forward(own(), true), None, &["filter"]),
        (of_filter(), forward(own(), true), with(HostLimits::Include, vec![staged(3, "level")]), &["level"]),
    ] {
        let shown = format!("{settings:?} {route:?} {level:?}");
        let mut route = route;
        route.filters.extend(level.map(|level| ("limit".into(), FilterOverride::RateLimit(level))));
        let routes = table(route, |host| host.rate_limits = vec![staged(0, "host0")]);
        let (_, questions) = ask(settings, over(), get(&[]), Some(routes)).await;
        let counted: Vec<_> = questions.iter().flat_map(|question| &question.descriptors).collect();
        let counted: Vec<_> = counted.iter().map(|descriptor| descriptor.entries[0].1.as_str()).collect();
        assert_eq!(counted, expected, "{shown}");
    }
}

#[tokio::test]
async fn a_request_that_goes_nowhere_is_not_counted() {
    let respond = Action::Respond(DirectResponse { status: 200, body: Vec::new() });
    let route = Route::new(RouteMatch::new(PathMatch::prefix("/")), respond);
    let settings = GlobalRateLimit { limits: vec![generic("a")], ..settings() };
    let routes = table(route, |host| host.rate_limits = vec![generic("host")]);
    let (_, questions) = ask(settings, over(), get(&[]), Some(routes)).await;
    assert!(questions.is_empty());
}

#[tokio::test]
async fn a_question_names_domain_and_clusters() {
    let limit = RateLimit { actions: vec![Of::SourceCluster, Of::DestinationCluster], ..RateLimit::default() };
    for domain in [None, Some("other")] {
        let mut route = forward(vec![limit.clone()], false);
        let level = RateLimitOverride { domain: domain.map(Into::into), ..RateLimitOverride::default() };
        route.filters.insert("limit".into(), FilterOverride::RateLimit(level));
        let (_, questions) = ask(settings(), over(), get(&[]), Some(table(route, |_| ()))).await;
        assert_eq!(questions[0].domain.as_str(), domain.unwrap_or("shop"));
        assert_eq!(questions[0].descriptors[0].to_string(), "source_cluster=web, destination_cluster=carts");
    }
}

#[tokio::test]
async fn an_answer_changes_request_and_response() {
    let ruling = |over_limit| Ruling {
        over_limit,
        request: vec![HeaderEdit::append("x-quota", "7"), HeaderEdit::append("host", "elsewhere")],
        response: vec![HeaderEdit::append("x-plan", "free"), HeaderEdit::append("content-length", "9")],
        body: "too many".into(),
        metadata: Map::from_iter([("left".to_owned(), json!(3))]),
        ..Ruling::default()
    };
    let response = alone(settings(), Ok(ruling(false))).await;
    assert_eq!(values(response.headers(), "x-quota"), ["7"]);
    assert_eq!(values(response.headers(), "x-plan"), ["free"]);
    assert!(values(response.headers(), "host").is_empty() && values(response.headers(), "content-length").is_empty());
    assert!(values(response.headers(), "x-envoy-ratelimited").is_empty());
    assert_eq!(response.extensions().get::<Exchange>().unwrap().metadata.at(METADATA, &["left"]), Some(&json!(3)));

    let elsewhere = GlobalRateLimit { metadata: "limits".into(), ..settings() };
    let response = alone(elsewhere, Ok(ruling(true))).await;
    assert_eq!(values(response.headers(), "x-plan"), ["free"]);
    assert!(values(response.headers(), "x-quota").is_empty());
    assert_eq!(values(response.headers(), "x-envoy-ratelimited"), ["true"]);
    assert_eq!(response.extensions().get::<Exchange>().unwrap().metadata.at("limits", &["left"]), Some(&json!(3)));

    let addition = Addition {
        name: "x-path".parse().unwrap(),
        value: Template::new("%REQ(:path)%").unwrap(),
        action: AppendAction::default(),
        keep_empty: false,
    };
    let response = Mutation { add: vec![addition], remove: Vec::new() };
    let response = alone(GlobalRateLimit { mark: false, response, ..settings() }, over()).await;
    assert_eq!(values(response.headers(), "x-path"), ["/cart"]);
    assert!(values(response.headers(), "x-envoy-ratelimited").is_empty());
}

#[tokio::test]
async fn an_answer_with_headers_that_are_none_is_no_answer_unless_it_refuses() {
    let bad = || vec![HeaderEdit::append("x-a", "b\r\nc: d")];
    let denying = GlobalRateLimit { failure_deny: true, ..settings() };
    for ruling in [Ruling { request: bad(), ..Ruling::default() }, Ruling { response: bad(), ..Ruling::default() }] {
        assert_eq!(alone(settings(), Ok(ruling.clone())).await.status(), StatusCode::OK);
        let refusing = Ruling { over_limit: true, ..ruling.clone() };
        assert_eq!(alone(settings(), Ok(refusing)).await.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(said(&alone(denying.clone(), Ok(ruling)).await), (500, "RLSE".into(), "rate_limiter_error".into()));
    }
}

fn status(
    over_limit: bool,
    requests: u32,
    unit: Option<RateUnit>,
    name: &str,
    left: u32,
    reset: u64,
) -> DescriptorStatus {
    let limit = Some(CurrentLimit { name: name.into(), requests, unit });
    DescriptorStatus { over_limit, limit, remaining: left, reset: Some(Duration::from_millis(reset)) }
}
