use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, json};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
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

#[derive(Debug)]
struct Scripted {
    answer: Answered,
    asked: Mutex<Vec<Question>>,
}

impl RateLimiter for Scripted {
    fn ask(&self, question: Question) -> Asking {
        self.asked.lock().unwrap().push(question);
        let answer = self.answer.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
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
    let limiter = Arc::new(Scripted { answer, asked: Mutex::default() });
    let filter = GlobalRateLimiting::new(settings, "web", Arc::clone(&limiter) as Arc<dyn RateLimiter>);
    let chain = Chain { routes: routes.map(Arc::new), filters: vec![Named::new("limit", filter)] };
    let response = FilterLayer::chain(Live::constant(chain)).layer(service_fn(echo)).oneshot(request).await.unwrap();
    let asked = std::mem::take(&mut *limiter.asked.lock().unwrap());
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

#[tokio::test]
async fn clients_are_told_of_their_limits() {
    let limits = |headers: &[Option<bool>]| -> Vec<RateLimit> {
        headers.iter().map(|headers| RateLimit { headers: *headers, ..generic("a") }).collect()
    };
    let statuses = vec![
        DescriptorStatus::default(),
        status(false, 10, Some(RateUnit::Second), "per-ip", 5, 900),
        status(false, 1000, Some(RateUnit::Hour), "evil\"\\", 2, 1_700_900),
        status(false, 7, None, "", 2, 0),
    ];
    let inherit = [None; 4];
    for (by_default, each, expected) in [
        (false, inherit, None),
        (true, inherit, Some(("1000, 10;w=1;name=\"per-ip\", 1000;w=3600", "2", "1700"))),
        (false, [None, Some(true), None, None], Some(("10, 10;w=1;name=\"per-ip\"", "5", "0"))),
        (true, [None, None, Some(false), None], Some(("7, 10;w=1;name=\"per-ip\"", "2", "0"))),
    ] {
        for over_limit in [false, true] {
            let settings = GlobalRateLimit { headers: by_default, limits: limits(&each), ..settings() };
            let ruling = Ruling { over_limit, statuses: statuses.clone(), ..Ruling::default() };
            let (response, _) = ask(settings, Ok(ruling), get(&[]), None).await;
            let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
                .map(|name| values(response.headers(), name));
            let expected = expected.map_or([vec![], vec![], vec![]], |(limit, left, reset): (&str, &str, &str)| {
                [limit, left, reset].map(|value| vec![value.to_owned()])
            });
            assert_eq!(told, expected, "{by_default} {each:?}");
        }
    }
}

#[tokio::test]
async fn clients_are_told_when_to_come_again() {
    let second = Some(RateUnit::Second);
    let statuses = |of: &[(bool, u64)]| -> Vec<DescriptorStatus> {
        of.iter().map(|(over_limit, reset)| status(*over_limit, 1, second, "", 0, *reset)).collect()
    };
    let refusing = |statuses, response| Ok(Ruling { over_limit: true, statuses, response, ..Ruling::default() });
    let asked = GlobalRateLimit { retry_after: true, ..settings() };
    let other = GlobalRateLimit { limited_status: StatusCode::SERVICE_UNAVAILABLE, ..asked.clone() };
    let own = vec![HeaderEdit::append("retry-after", "99")];
    for (settings, statuses, response, expected) in [
        (&asked, statuses(&[(true, 3000), (true, 9000), (false, 60_000)]), vec![], &["9"][..]),
        (&asked, statuses(&[(true, 10)]), vec![], &["1"]),
        (&asked, statuses(&[(false, 3000)]), vec![], &[]),
        (&asked, statuses(&[(true, 3000)]), own, &["99"]),
        (&other, statuses(&[(true, 3000)]), vec![], &[]),
        (&settings(), statuses(&[(true, 3000)]), vec![], &[]),
    ] {
        let answer = alone(settings.clone(), refusing(statuses, response)).await;
        assert_eq!(values(answer.headers(), "retry-after"), expected, "{settings:?}");
    }
}

#[tokio::test]
async fn a_response_is_told_once_by_each_filter_of_a_chain() {
    let filter = |plan: &'static str, answer: &Answered| {
        let mut answer = answer.clone();
        if let Ok(ruling) = &mut answer {
            ruling.response = vec![HeaderEdit::append("x-plan", plan)];
        }
        let limiter = Arc::new(Scripted { answer, asked: Mutex::default() });
        let settings = GlobalRateLimit { limits: vec![generic("a")], ..settings() };
        Named::new(plan, GlobalRateLimiting::new(settings, "web", limiter))
    };
    for (inner, expected) in [(Ok(Ruling::default()), vec!["b", "a"]), (over(), vec!["b", "a"])] {
        let filters = vec![filter("a", &Ok(Ruling::default())), filter("b", &inner)];
        let layer = FilterLayer::chain(Live::constant(Chain { routes: None, filters }));
        let response = layer.layer(service_fn(echo)).oneshot(get(&[])).await.unwrap();
        assert_eq!(values(response.headers(), "x-plan"), expected);
    }
}

/// What the naive model knows of a request.
#[derive(Debug, Clone)]
struct Sent {
    headers: Vec<(&'static str, &'static str)>,
    query: Vec<(&'static str, &'static str)>,
    source: Option<&'static str>,
    metadata: Option<&'static str>,
    cluster: Option<&'static str>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let headers = proptest::collection::vec((select(vec!["a", "b"]), select(vec!["1", "2", ""])), 0..3);
    // Each parameter is written plainly or encoded; both are the same.
    let query = proptest::collection::vec((select(vec!["p", "q"]), select(vec!["1", "2"])), 0..3);
    let source = select(vec![None, Some("10.1.2.3"), Some("::ffff:10.1.2.3"), Some("2001:db8:1:2::3")]);
    (headers, query, source, select(vec![None, Some(""), Some("m")]), select(vec![None, Some("c")]))
        .prop_map(|(headers, query, source, metadata, cluster)| Sent { headers, query, source, metadata, cluster })
}

/// An action, and what it gives by the words of its specification: an entry, nothing, or the end of the descriptor.
type Modelled = (Of, Box<dyn Fn(&Sent) -> Option<Option<(String, String)>>>);

fn modelled(index: usize, flag: bool, name: &'static str, value: &'static str) -> Modelled {
    fn entry(key: &str, value: impl Into<String>) -> Option<Option<(String, String)>> {
        Some(Some((key.into(), value.into())))
    }
    let first = move |pairs: &[(&str, &str)]| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let or_skip = move |key: &'static str, value: Option<String>| match value {
        Some(value) => entry(key, value),
        None if flag => Some(None),
        None => None,
    };
    let v4 = |sent: &Sent| sent.source.map(|source| source.trim_start_matches("::ffff:").to_owned());
    match index {
        0 => (Of::SourceCluster, Box::new(|_| entry("source_cluster", "web"))),
        1 => (Of::DestinationCluster, Box::new(|sent| entry("destination_cluster", sent.cluster?))),
        2 => (
            Of::RequestHeader { name: name.parse().unwrap(), key: "h".into(), skip_if_absent: flag },
            Box::new(move |sent| or_skip("h", first(&sent.headers))),
        ),
        3 => {
            let name = if name == "a" { "p" } else { "q" };
            (
                Of::QueryParameter { name: name.into(), key: "q".into(), skip_if_absent: flag },
                Box::new(move |sent| {
                    let value =
                        sent.query.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
                    or_skip("q", value)
                }),
            )
        }
        4 => (Of::RemoteAddress, Box::new(move |sent| entry("remote_address", v4(sent)?))),
        5 => (
            Of::MaskedRemoteAddress { v4: 16, v6: 48 },
            Box::new(move |sent| {
                let masked = if v4(sent)?.starts_with("10.") { "10.1.0.0/16" } else { "2001:db8:1::/48" };
                entry("masked_remote_address", masked)
            }),
        ),
        6 => (Of::GenericKey { key: "g".into(), value: value.into() }, Box::new(move |_| entry("g", value))),
        7 => {
            let headers = vec![HeaderMatch::new(name.parse().unwrap(), Condition::Present(true))];
            (
                Of::HeaderMatch { key: "hm".into(), value: value.into(), expect: flag, headers },
                Box::new(move |sent| {
                    (first(&sent.headers).is_some() == flag).then(|| Some(("hm".into(), value.into())))
                }),
            )
        }
        8 => {
            let query = vec![QueryMatch { name: "p".into(), condition: QueryCondition::Text(Pattern::exact(value)) }];
            (
                Of::QueryMatch { key: "qm".into(), value: value.into(), expect: flag, query },
                Box::new(move |sent| {
                    let first = sent.query.iter().find(|(known, _)| *known == "p");
                    (first.is_some_and(|(_, known)| *known == value) == flag).then(|| Some(("qm".into(), value.into())))
                }),
            )
        }
        9 => {
            let action = Of::RemoteAddressMatch {
                key: "ra".into(),
                value: Template::new("%REQ(a)%").unwrap(),
                default: (name == "a").then(|| "d".into()),
                ranges: vec!["10.1.0.0/16".parse().unwrap()],
                invert: flag,
            };
            let expected = move |sent: &Sent| {
                if v4(sent)?.starts_with("10.") == flag {
                    return None;
                }
                let all: Vec<_> =
                    sent.headers.iter().filter(|(known, _)| *known == "a").map(|(_, value)| *value).collect();
                match all.join(",").as_str() {
                    "" if name == "a" => entry("ra", "d"),
                    "" => None,
                    value => entry("ra", value),
                }
            };
            (action, Box::new(expected))
        }
        _ => {
            let at = MetadataPath { filter: "f".into(), keys: vec!["x".into(), "y".into()] };
            let default = (name == "a").then(|| "d".into());
            (
                Of::Metadata { key: "m".into(), at, default, skip_if_absent: flag },
                Box::new(move |sent| {
                    let said = sent.metadata.filter(|said| !said.is_empty()).or_else(|| (name == "a").then_some("d"));
                    or_skip("m", said.map(str::to_owned))
                }),
            )
        }
    }
}

proptest! {
    #[test]
    fn descriptors_are_what_the_naive_model_says(
        sent in sent(),
        encoded in any::<bool>(),
        actions in proptest::collection::vec(
            (0..11usize, any::<bool>(), select(vec!["a", "b"]), select(vec!["1", "2"])), 0..4),
    ) {
        let (actions, expected): (Vec<_>, Vec<_>) =
            actions.into_iter().map(|(index, flag, name, value)| modelled(index, flag, name, value)).unzip();
        let expected: Option<Vec<_>> = expected.iter().map(|expected| expected(&sent)).collect();
        let expected = expected.map(|entries| entries.into_iter().flatten().collect::<Vec<_>>());
        let expected = expected.filter(|entries| !entries.is_empty());

        let write = |text: &str| match encoded {
            true => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            false => text.to_owned(),
        };
        let query: Vec<_> = sent.query.iter().map(|(name, value)| format!("{}={}", write(name), write(value))).collect();
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) };
        let headers: HeaderMap = sent.headers.iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let mut metadata = Metadata::default();
        if let Some(said) = sent.metadata {
            metadata.set("f", "x", json!({"y": said}));
        }
        let mut request = crate::request::Request::new(&Method::GET, "shop", &target, &headers);
        request.head.source = sent.source.map(|source| source.parse().unwrap());
        let facts =
            Facts { request, metadata: &metadata, source_cluster: "web", destination_cluster: sent.cluster };
        let limit = RateLimit { actions, ..RateLimit::default() };
        let seen = descriptor(&limit, &facts).map(|descriptor| {
            descriptor.entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect::<Vec<_>>()
        });
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn hits_and_limits_of_a_descriptor() {
    let headers = HeaderMap::from_iter([
        ("cost".parse().unwrap(), HeaderValue::from_static("5")),
        ("huge".parse().unwrap(), HeaderValue::from_static("1000000001")),
        ("text".parse().unwrap(), HeaderValue::from_static("-5")),
    ]);
    let mut metadata = Metadata::default();
    metadata.set("f", "good", json!({"requests_per_unit": 42.0, "unit": "HOUR"}));
    metadata.set("f", "fraction", json!({"requests_per_unit": 0.5, "unit": "HOUR"}));
    metadata.set("f", "negative", json!({"requests_per_unit": -1, "unit": "HOUR"}));
    metadata.set("f", "large", json!({"requests_per_unit": 4_294_967_296_u64, "unit": "HOUR"}));
    metadata.set("f", "unit", json!({"requests_per_unit": 1, "unit": "hour"}));
    metadata.set("f", "text", json!("42 per hour"));
    let request = crate::request::Request::new(&Method::GET, "shop", "/", &headers);
    let facts = Facts { request, metadata: &metadata, source_cluster: "", destination_cluster: None };
    let text = |text: &str, negative| Hits::Text { text: Template::new(text).unwrap(), negative };
    for (hits, expected) in [
        (None, Some((None, false))),
        (Some(Hits::Number { number: 0, negative: true }), Some((Some(0), true))),
        (Some(text("%REQ(cost)%", false)), Some((Some(5), false))),
        (Some(text("%REQ(cost)%", true)), Some((Some(5), true))),
        (Some(text("%REQ(huge)%", false)), None),
        (Some(text("%REQ(text)%", false)), None),
        (Some(text("%REQ(none)%", false)), None),
    ] {
        let limit = RateLimit { hits, ..generic("a") };
        let seen = descriptor(&limit, &facts).map(|descriptor| (descriptor.hits, descriptor.negative));
        assert_eq!(seen, expected, "{limit:?}");
    }
    let at = |key: &str| LimitOverride::Metadata(MetadataPath { filter: "f".into(), keys: vec![key.into()] });
    let quota = |requests, unit| Quota { requests, unit };
    for (limit, expected) in [
        (LimitOverride::Fixed(quota(7, RateUnit::Week)), Some(quota(7, RateUnit::Week))),
        (at("good"), Some(quota(42, RateUnit::Hour))),
        (at("fraction"), None),
        (at("negative"), None),
        (at("large"), None),
        (at("unit"), None),
        (at("text"), None),
        (at("none"), None),
    ] {
        let limit = RateLimit { limit: Some(limit), ..generic("a") };
        assert_eq!(descriptor(&limit, &facts).unwrap().limit, expected, "{limit:?}");
    }
}

#[tokio::test]
async fn the_address_of_the_client_is_the_trusted_one() {
    let limit = RateLimit { actions: vec![Of::RemoteAddress], ..RateLimit::default() };
    let mut exchange =
        Exchange::new(Arc::new(Connection::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:80".parse().unwrap())));
    exchange.remote = "192.0.2.7".parse().unwrap();
    let mut request = get(&[]);
    request.extensions_mut().insert(exchange);
    let (_, questions) = ask(GlobalRateLimit { limits: vec![limit], ..settings() }, over(), request, None).await;
    assert_eq!(questions[0].descriptors[0].to_string(), "remote_address=192.0.2.7");
}
