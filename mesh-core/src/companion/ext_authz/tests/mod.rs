mod by_http;
mod check;
mod levels;
mod query;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::companion::scripted::Scripted;
use crate::companion::{CompanionError, EditRules, GrpcService, HeaderEdit};
use crate::filter::{Chain, Connection, Exchange, FilterLayer, Named, PeerNames};
use crate::live::Live;
use crate::name::parse_spiffe_id;
use crate::request::{MetadataMatch, ValueMatch};
use crate::route::{
    Action, BodyOverride, CheckBody, CheckOverride, FilterOverride, Forward, Fraction, PathMatch, Route, RouteConfig,
    RouteMatch, RouteTable, Template, VirtualHost,
};
use crate::string_match::Pattern;

type Answered = Result<Decision, CompanionError>;

/// An authorizer that says what it is told to.
type Authorizing = Scripted<Check, Answered>;

impl Authorizer for Authorizing {
    fn check(&self, check: Check) -> Checking {
        self.answer(check)
    }
}

fn grpc() -> ExternalAuthz {
    ExternalAuthz::new(Service::Grpc(GrpcService::new("authz", None)))
}

fn plain(change: impl FnOnce(&mut HttpService)) -> ExternalAuthz {
    let mut service = HttpService::new("authz", None);
    change(&mut service);
    ExternalAuthz::new(Service::Http(Box::new(service)))
}

fn allow() -> Allowance {
    Allowance::default()
}

fn timeout() -> Answered {
    Err(CompanionError::Timeout(std::time::Duration::from_millis(200)))
}

/// Answers with the request's target, headers and body.
async fn echo(
    request: Request<crate::filter::Begun<Full<Bytes>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Full::new(body.collect().await.unwrap().to_bytes()));
    *response.headers_mut() = head.headers;
    response.headers_mut().insert("target", HeaderValue::try_from(head.uri.to_string()).unwrap());
    Ok(response)
}

/// The response, and what the authorizer was asked.
async fn ask(
    settings: ExternalAuthz,
    answer: Answered,
    request: Request<Full<Bytes>>,
) -> (Response<Bytes>, Vec<Check>) {
    routed(settings, answer, request, None).await
}

async fn routed(
    settings: ExternalAuthz,
    answer: Answered,
    request: Request<Full<Bytes>>,
    routes: Option<RouteTable>,
) -> (Response<Bytes>, Vec<Check>) {
    let authorizer = Authorizing::new(answer);
    let filter = ExternalAuthorization::new(settings, Arc::clone(&authorizer) as Arc<dyn Authorizer>);
    let chain = Chain { routes: routes.map(Arc::new), filters: vec![Named::new("authz", filter)] };
    let response = FilterLayer::chain(Live::constant(chain)).layer(service_fn(echo)).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let response = Response::from_parts(head, body.collect().await.unwrap().to_bytes());
    let asked = authorizer.take_asked();
    (response, asked)
}

fn get() -> Request<Full<Bytes>> {
    request("http://shop.example/cart?item=7", &[], "")
}

fn request(uri: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

fn said(response: &Response<Bytes>) -> (u16, String, String) {
    let exchange = response.extensions().get::<Exchange>().unwrap();
    (response.status().as_u16(), exchange.flags.to_string(), exchange.details.to_string())
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_answer_decides_and_without_one_the_settings_do() {
    let deny = |status| Ok(Decision::Deny(Refusal { status, ..Refusal::default() }));
    let fail = |status| Ok(Decision::Fail(Refusal { status, ..Refusal::default() }));
    let closed = grpc();
    let teapot = Failure { status: StatusCode::IM_A_TEAPOT, ..Failure::default() };
    let other = ExternalAuthz { failure: teapot, ..grpc() };
    let open = ExternalAuthz { failure: Failure { allow: true, ..teapot }, ..grpc() };
    for (settings, answer, status, details) in [
        (&closed, Ok(Decision::Allow(allow())), 200, ""),
        (&closed, deny(None), 403, "ext_authz_denied"),
        (&closed, deny(Some(401)), 401, "ext_authz_denied"),
        (&closed, deny(Some(99)), 403, "ext_authz_denied"),
        (&closed, deny(Some(101)), 403, "ext_authz_denied"),
        (&closed, deny(Some(600)), 403, "ext_authz_denied"),
        (&closed, timeout(), 403, "ext_authz_error"),
        (&closed, fail(None), 403, "ext_authz_error"),
        (&closed, fail(Some(502)), 502, "ext_authz_error"),
        (&other, timeout(), 418, "ext_authz_error"),
        (&other, fail(None), 418, "ext_authz_error"),
        (&other, deny(None), 403, "ext_authz_denied"),
        (&open, timeout(), 200, ""),
        (&open, fail(Some(502)), 200, ""),
        (&open, deny(Some(401)), 401, "ext_authz_denied"),
    ] {
        let (response, asked) = ask(settings.clone(), answer.clone(), get()).await;
        let flag = if status == 200 { "-" } else { "UAEX" };
        assert_eq!(said(&response), (status, flag.into(), details.into()), "{answer:?}");
        assert_eq!(asked.len(), 1);
    }
}

#[tokio::test]
async fn a_request_that_passes_on_failure_is_marked_where_that_is_wanted() {
    for mark in [false, true] {
        let failure = Failure { allow: true, mark, ..Failure::default() };
        let (response, _) = ask(ExternalAuthz { failure, ..grpc() }, timeout(), get()).await;
        let expected: &[&str] = if mark { &["true"] } else { &[] };
        assert_eq!(values(response.headers(), "x-envoy-auth-failure-mode-allowed"), expected);
    }
}

#[tokio::test]
async fn what_allows_changes_request_and_response() {
    let allowance = Allowance {
        request: vec![
            HeaderEdit::set("x-user", "alice"),
            HeaderEdit::append("x-role", "admin"),
            HeaderEdit::set("host", "elsewhere"),
        ],
        remove: vec!["authorization".into(), ":path".into()],
        query: QueryEdits { set: vec![("user".into(), "alice".into())], remove: vec!["item".into()] },
        response: vec![HeaderEdit::append("x-seen", "1")],
        metadata: Map::from_iter([("who".to_owned(), json!("alice"))]),
    };
    let sent = [("x-user", "mallory"), ("x-role", "user"), ("authorization", "secret"), ("host", "shop.example")];
    let sent = || request("http://shop.example/cart?item=7&sort=up", &sent, "");
    let (response, _) = ask(grpc(), Ok(Decision::Allow(allowance.clone())), sent()).await;
    let headers = response.headers();
    assert_eq!(values(headers, "x-user"), ["alice"]);
    assert_eq!(values(headers, "x-role"), ["user", "admin"]);
    assert_eq!(values(headers, "host"), ["shop.example"]);
    assert!(values(headers, "authorization").is_empty());
    assert_eq!(values(headers, "target"), ["http://shop.example/cart?sort=up&user=alice"]);
    assert_eq!(values(headers, "x-seen"), ["1"]);
    let metadata = &response.extensions().get::<Exchange>().unwrap().metadata;
    assert_eq!(metadata.at(METADATA, &["who"]), Some(&json!("alice")));

    let deaf = ExternalAuthz { take_metadata: false, ..grpc() };
    let (response, _) = ask(deaf, Ok(Decision::Allow(allowance.clone())), sent()).await;
    assert_eq!(response.extensions().get::<Exchange>().unwrap().metadata.of(METADATA), None);

    let strict = ExternalAuthz { validate_mutations: true, ..grpc() };
    let (response, _) = ask(strict, Ok(Decision::Allow(allowance)), sent()).await;
    assert_eq!(said(&response), (500, "UAEX".into(), "ext_authz_invalid".into()));
}

#[tokio::test]
async fn changes_that_cannot_be_made_refuse_even_where_failures_pass() {
    let open = ExternalAuthz { failure: Failure { allow: true, ..Failure::default() }, ..grpc() };
    let header = |value: &'static str| vec![HeaderEdit::set("x-user", value)];
    let query = |name: &str, value: &str| QueryEdits { set: vec![(name.into(), value.into())], remove: vec![] };
    let no_envoy = EditRules { disallow_is_error: true, ..EditRules::default() };
    let ruled = ExternalAuthz { edit_rules: Some(no_envoy), ..open.clone() };
    let refusal = Refusal { headers: header("a\nb"), ..Refusal::default() };
    for (settings, decision) in [
        (&open, Decision::Allow(Allowance { request: header("a\r\nx-admin: 1"), ..allow() })),
        (&open, Decision::Allow(Allowance { response: header("\0"), ..allow() })),
        (&open, Decision::Allow(Allowance { request: vec![HeaderEdit::set("a b", "c")], ..allow() })),
        (&open, Decision::Allow(Allowance { request: vec![HeaderEdit::set("a", "c"); 1000], ..allow() })),
        (&open, Decision::Allow(Allowance { query: query("a b", "c"), ..allow() })),
        (&open, Decision::Allow(Allowance { query: query("a", "b&c=d"), ..allow() })),
        (&open, Decision::Allow(Allowance { query: query("a", "%zz"), ..allow() })),
        (&open, Decision::Allow(Allowance { query: query("a=b", ""), ..allow() })),
        (&open, Decision::Allow(Allowance { query: query("", "b"), ..allow() })),
        (&open, Decision::Deny(refusal)),
        (&ruled, Decision::Allow(Allowance { request: vec![HeaderEdit::set("x-envoy-a", "c")], ..allow() })),
        (&ruled, Decision::Allow(Allowance { remove: vec!["x-envoy-a".into()], ..allow() })),
    ] {
        let (response, _) = ask(settings.clone(), Ok(decision.clone()), get()).await;
        assert_eq!(said(&response), (500, "UAEX".into(), "ext_authz_invalid".into()), "{decision:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_what_the_client_is_answered() {
    let refusal = Refusal {
        status: Some(302),
        headers: vec![HeaderEdit::set("location", "https://login"), HeaderEdit::append("content-length", "9999")],
        body: "sign in".into(),
        metadata: Map::from_iter([("why".to_owned(), json!("no token"))]),
    };
    let (response, _) = ask(grpc(), Ok(Decision::Deny(refusal.clone())), get()).await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (302, &b"sign in"[..]));
    assert_eq!(values(response.headers(), "location"), ["https://login"]);
    assert!(values(response.headers(), "content-length").is_empty());
    let exchange = response.extensions().get::<Exchange>().unwrap();
    assert_eq!(exchange.metadata.at(METADATA, &["why"]), Some(&json!("no token")));

    let short = ExternalAuthz { max_denied_body: Some(4), ..grpc() };
    let (response, _) = ask(short, Ok(Decision::Deny(refusal)), get()).await;
    assert_eq!(&response.body()[..], b"sign");
}

#[tokio::test]
async fn a_refused_call_of_grpc_is_never_a_success() {
    for (status, grpc_status) in [(None, "7"), (Some(401), "16"), (Some(200), "7"), (Some(204), "7"), (Some(503), "14")]
    {
        let refusal = Refusal { status, body: "no".into(), ..Refusal::default() };
        let call = request("http://shop.example/s/m", &[("content-type", "application/grpc")], "");
        let (response, _) = ask(grpc(), Ok(Decision::Deny(refusal)), call).await;
        assert_eq!(values(response.headers(), "grpc-status"), [grpc_status], "{status:?}");
        assert_eq!(values(response.headers(), "grpc-message"), ["no"]);
    }
}

#[tokio::test]
async fn requests_that_are_not_asked_about_pass_or_are_refused() {
    let matcher = |invert| {
        let value = ValueMatch::Text(Pattern::exact("custom"));
        Some(MetadataMatch { filter: "rbac".into(), path: vec!["shadow".into()], value, invert })
    };
    let never = Some(Fraction::percent(0));
    for (settings, said_by_rbac, asked, status) in [
        (ExternalAuthz { enabled: never, ..grpc() }, None, 0, 200),
        (ExternalAuthz { enabled: Some(Fraction::percent(100)), ..grpc() }, None, 1, 403),
        (ExternalAuthz { enabled: never, deny_at_disable: true, ..grpc() }, None, 0, 403),
        (ExternalAuthz { enabled_metadata: matcher(false), ..grpc() }, None, 0, 200),
        (ExternalAuthz { enabled_metadata: matcher(false), ..grpc() }, Some("other"), 0, 200),
        (ExternalAuthz { enabled_metadata: matcher(false), ..grpc() }, Some("custom"), 1, 403),
        (ExternalAuthz { enabled_metadata: matcher(true), ..grpc() }, Some("custom"), 0, 200),
        (ExternalAuthz { enabled_metadata: matcher(true), ..grpc() }, None, 1, 403),
    ] {
        // The body is not waited for either: it is longer than is read.
        let body = Some(CheckBody { max_bytes: 1, allow_partial: asked == 1, as_bytes: false });
        let mut request = request("http://shop/", &[], "long");
        let connection = Connection::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let mut exchange = Exchange::new(Arc::new(connection));
        if let Some(said) = said_by_rbac {
            exchange.metadata.set("rbac", "shadow", json!(said));
        }
        request.extensions_mut().insert(exchange);
        let deny = Ok(Decision::Deny(Refusal::default()));
        let (response, checks) = ask(ExternalAuthz { body, ..settings.clone() }, deny, request).await;
        assert_eq!((checks.len(), response.status().as_u16()), (asked, status), "{settings:?} {said_by_rbac:?}");
    }
}

#[test]
fn a_share_of_requests_is_independent_of_the_share_of_the_route() {
    let settings = ExternalAuthz { enabled: Some(Fraction::percent(50)), ..grpc() };
    let connection = Connection::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let filter = ExternalAuthorization::new(settings, Authorizing::new(timeout()));
    let mut exchange = Exchange::new(Arc::new(connection));
    let (mut head, ()) = Request::new(()).into_parts();
    let asked = (0..4000u64).filter(|number| {
        // A route that takes the first half of all hundreds has chosen these.
        exchange.random = number / 50 * 100 + number % 50;
        matches!(crate::filter::Filter::on_request(&filter, &mut head, &mut exchange), crate::filter::Step::Wait(_))
    });
    let asked = asked.count();
    // Five standard deviations of 4000 draws are 158.
    assert!((1842..=2158).contains(&asked), "{asked}");
}

fn whole(max_bytes: u32, allow_partial: bool) -> CheckBody {
    CheckBody { max_bytes, allow_partial, as_bytes: true }
}

fn connection() -> Connection {
    let connection = Connection::new("10.0.0.1:4711".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let peer = PeerNames {
        uris: vec!["spiffe://d/web".into()],
        dns_names: vec!["web".into()],
        subject: "CN=web".into(),
        certificate: Bytes::from_static(b"der"),
    };
    let local = Some(parse_spiffe_id("spiffe://d/shop").unwrap());
    Connection { peer: Some(peer), tls: true, local, server_name: Some("shop".into()), ..connection }
}

fn prefix(text: &str) -> Pattern {
    Pattern::Prefix { text: text.into(), ignore_case: false }
}
