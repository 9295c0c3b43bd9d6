use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
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

/// Says what it is told to, and keeps what it was asked.
#[derive(Debug)]
struct Scripted {
    answer: Answered,
    asked: Mutex<Vec<Check>>,
}

impl Authorizer for Scripted {
    fn check(&self, check: Check) -> Checking {
        self.asked.lock().unwrap().push(check);
        let answer = self.answer.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }
}

fn scripted(answer: Answered) -> Arc<Scripted> {
    Arc::new(Scripted { answer, asked: Mutex::default() })
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
    let authorizer = scripted(answer);
    let filter = ExternalAuthorization::new(settings, Arc::clone(&authorizer) as Arc<dyn Authorizer>);
    let chain = Chain { routes: routes.map(Arc::new), filters: vec![Named::new("authz", filter)] };
    let response = FilterLayer::chain(Live::constant(chain)).layer(service_fn(echo)).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let response = Response::from_parts(head, body.collect().await.unwrap().to_bytes());
    let asked = std::mem::take(&mut *authorizer.asked.lock().unwrap());
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
    let filter = ExternalAuthorization::new(settings, scripted(timeout()));
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

#[tokio::test]
async fn the_authorizer_sees_as_much_of_the_body_as_it_may() {
    let settings = |body| ExternalAuthz { body: Some(body), ..grpc() };
    let allowed = || Ok(Decision::Allow(allow()));
    for (body, seen) in [
        (whole(5, false), Some(("hello", false))),
        (whole(5, true), Some(("hello", false))),
        (whole(4, true), Some(("hell", true))),
        (whole(4, false), None),
    ] {
        let spoof = [("x-envoy-auth-partial-body", "spoof")];
        let (response, checks) = ask(settings(body), allowed(), request("http://shop/", &spoof, "hello")).await;
        let Some((bytes, partial)) = seen else {
            assert_eq!((response.status().as_u16(), checks.len()), (413, 0));
            continue;
        };
        assert_eq!(&response.body()[..], b"hello");
        let check = &checks[0];
        assert_eq!(check.body, Some(CheckedBody { bytes: bytes.into(), partial, as_bytes: true }));
        let told: &[u8] = if partial { b"true" } else { b"false" };
        assert_eq!(check.header("x-envoy-auth-partial-body"), Some(told));
        assert_eq!(check.size, (!partial).then_some(5));
    }
    // What follows an upgrade is no body.
    let upgrade = request("http://shop/", &[("upgrade", "websocket")], "hello");
    let (_, checks) = ask(settings(whole(4, false)), allowed(), upgrade).await;
    assert_eq!(checks[0].body, None);
    let (_, checks) = ask(grpc(), allowed(), request("http://shop/", &[("content-length", "5")], "hello")).await;
    assert_eq!((&checks[0].body, checks[0].size), (&None, Some(5)));
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

fn over(connection: Connection, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut exchange = Exchange::new(Arc::new(connection));
    exchange.metadata.set("jwt", "sub", json!("alice"));
    exchange.metadata.set("secret", "key", json!(1));
    request.extensions_mut().insert(exchange);
    request
}

#[tokio::test]
async fn a_check_holds_what_is_known_and_may_be_told() {
    let sent = [("x-request-id", "r1"), ("a", "1"), ("a", "2"), ("host", "other")];
    let sent = || request("http://shop.example/cart?item=7", &sent, "");
    let told = ExternalAuthz {
        include_peer_certificate: true,
        include_tls_session: true,
        metadata: vec!["jwt".into(), "none".into()],
        raw_headers: true,
        ..grpc()
    };
    let (_, checks) = ask(told, Ok(Decision::Allow(allow())), over(connection(), sent())).await;
    let check = &checks[0];
    let source = Peer {
        address: "10.0.0.1:4711".parse().unwrap(),
        principal: "spiffe://d/web".into(),
        certificate: Some(Bytes::from_static(b"der")),
    };
    assert_eq!(check.source, source);
    assert_eq!((&*check.destination.principal.to_string(), check.destination.address.port()), ("spiffe://d/shop", 80));
    assert_eq!(
        (check.authority.as_str(), check.path.as_str(), check.scheme),
        ("shop.example", "/cart?item=7", "https")
    );
    assert_eq!((check.id.as_str(), check.size, check.raw_headers), ("r1", None, true));
    assert_eq!(check.server_name, Some("shop".into()));
    assert_eq!(check.metadata.at("jwt", &["sub"]), Some(&json!("alice")));
    assert_eq!(check.metadata.of("secret"), None);
    let headers: Vec<_> =
        check.headers.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect();
    let pseudo = [(":authority", "shop.example"), (":method", "GET"), (":path", "/cart?item=7"), (":scheme", "https")];
    assert_eq!(headers[..4], pseudo);
    assert_eq!(headers[4..], [("x-request-id", "r1"), ("a", "1"), ("a", "2")]);

    let (_, checks) = ask(grpc(), Ok(Decision::Allow(allow())), over(connection(), sent())).await;
    let check = &checks[0];
    assert_eq!((&check.source.certificate, &check.server_name), (&None, &None));
    assert_eq!(check.metadata, crate::filter::Metadata::default());
}

#[tokio::test]
async fn a_principal_is_the_best_name_of_a_certificate() {
    let names = |uris: &[&str], dns: &[&str], subject: &str| PeerNames {
        uris: uris.iter().map(|name| (*name).into()).collect(),
        dns_names: dns.iter().map(|name| (*name).into()).collect(),
        subject: subject.into(),
        certificate: Bytes::new(),
    };
    for (peer, principal) in [
        (None, ""),
        (Some(names(&[], &[], "")), ""),
        (Some(names(&[], &[], "CN=a")), "CN=a"),
        (Some(names(&[], &["b", "c"], "CN=a")), "b"),
        (Some(names(&["d", "e"], &["b"], "CN=a")), "d"),
    ] {
        let settings = ExternalAuthz { include_peer_certificate: true, ..grpc() };
        let connection = Connection { peer, ..connection() };
        let (_, checks) = ask(settings, Ok(Decision::Allow(allow())), over(connection, get())).await;
        assert_eq!((checks[0].source.principal.as_str(), &checks[0].source.certificate), (principal, &None));
    }
}

#[tokio::test]
async fn lists_say_which_headers_are_seen() {
    let list = |names: &[&str]| names.iter().map(|name| Pattern::exact(name)).collect::<Vec<_>>();
    let headers = |allowed: Option<&[&str]>, disallowed: &[&str]| HeaderChoice {
        allowed: allowed.map(list),
        disallowed: list(disallowed),
    };
    let everything = || HeaderChoice { allowed: Some(vec![prefix("")]), disallowed: Vec::new() };
    for (service, choice, seen) in [
        (grpc(), headers(None, &[]), &["a", "authorization", "b", "te"][..]),
        (grpc(), headers(None, &["a"]), &["authorization", "b", "te"]),
        (grpc(), headers(Some(&["a", "b"]), &["b"]), &["a"]),
        (plain(|_| ()), headers(None, &[]), &["authorization"]),
        (plain(|_| ()), headers(Some(&["a"]), &[]), &["a", "authorization"]),
        (plain(|_| ()), headers(Some(&["a"]), &["authorization"]), &["a"]),
        (plain(|_| ()), everything(), &["a", "authorization", "b"]),
    ] {
        let sent = [("a", "1"), ("b", "2"), ("te", "trailers"), ("authorization", "3")];
        let settings = ExternalAuthz { headers: choice.clone(), ..service };
        let (_, checks) = ask(settings, Ok(Decision::Allow(allow())), request("http://shop/", &sent, "")).await;
        let mut names: Vec<_> = checks[0].headers.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !name.starts_with(':'));
        names.sort_unstable();
        assert_eq!(names, seen, "{choice:?}");
    }
}

fn prefix(text: &str) -> Pattern {
    Pattern::Prefix { text: text.into(), ignore_case: false }
}

fn table(route: impl FnOnce(&mut Route), host: impl FnOnce(&mut VirtualHost)) -> RouteTable {
    let matcher = RouteMatch::new(PathMatch::prefix("/"));
    let mut only = Route::new(matcher, Action::Forward(Box::new(Forward::to("carts"))));
    route(&mut only);
    let mut only = VirtualHost { domains: vec!["*".into()], routes: vec![only], ..VirtualHost::default() };
    host(&mut only);
    RouteTable::new(RouteConfig { hosts: vec![only], ..RouteConfig::default() }).unwrap()
}

#[tokio::test]
async fn levels_of_the_route_table_speak_together() {
    let context = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let level =
        |pairs: &[(&str, &str)], body| FilterOverride::ExternalAuthz(CheckOverride { context: context(pairs), body });
    let settings = ExternalAuthz { body: Some(whole(2, true)), ..grpc() };
    for (body, shown) in [
        (BodyOverride::Inherit, Some("he")),
        (BodyOverride::Hidden, None),
        (BodyOverride::Shown(whole(3, true)), Some("hel")),
    ] {
        let routes = table(
            |route| drop(route.filters.insert("authz".into(), level(&[("a", "route"), ("b", "route")], body))),
            |host| {
                drop(host.filters.insert("authz".into(), level(&[("b", "host"), ("c", "host")], BodyOverride::Hidden)))
            },
        );
        let sent = request("http://shop/", &[], "hello");
        let (_, checks) = routed(settings.clone(), Ok(Decision::Allow(allow())), sent, Some(routes)).await;
        let expected = context(&[("a", "route"), ("b", "route"), ("c", "host")]);
        assert_eq!(checks[0].context, expected);
        let seen = checks[0].body.as_ref().map(|body| std::str::from_utf8(&body.bytes).unwrap());
        assert_eq!(seen, shown);
    }
    let off = table(|route| drop(route.filters.insert("authz".into(), FilterOverride::Disabled)), |_| ());
    let (response, checks) = routed(settings, timeout(), get(), Some(off)).await;
    assert_eq!((response.status().as_u16(), checks.len()), (200, 0));
}

#[tokio::test]
async fn a_changed_request_is_routed_again_where_that_is_wanted() {
    let to = |name: &str, cluster: &str| {
        let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
        if !name.is_empty() {
            let present = crate::request::Condition::Present(true);
            matcher.headers = vec![crate::request::HeaderMatch::new(name.parse().unwrap(), present)];
        }
        Route::new(matcher, Action::Forward(Box::new(Forward::to(cluster))))
    };
    let host = VirtualHost {
        domains: vec!["*".into()],
        routes: vec![to("x-tenant", "tenants"), to("", "all")],
        ..VirtualHost::default()
    };
    let config = RouteConfig { hosts: vec![host], ..RouteConfig::default() };
    for (clear_route_cache, expected) in [(false, "all"), (true, "tenants")] {
        let allowance = Allowance { request: vec![HeaderEdit::set("x-tenant", "42")], ..allow() };
        let settings = ExternalAuthz { clear_route_cache, ..grpc() };
        let routes = Some(RouteTable::new(config.clone()).unwrap());
        let (response, _) = routed(settings, Ok(Decision::Allow(allowance)), get(), routes).await;
        let exchange = response.extensions().get::<Exchange>().unwrap();
        let selected = exchange.selection().unwrap().selected();
        let Action::Forward(forward) = &selected.route.action else { panic!("it is forwarded") };
        assert_eq!(**forward, Forward::to(expected));
    }
}

mod by_http {
    use super::*;

    async fn question(settings: ExternalAuthz, sent: Request<Full<Bytes>>) -> Result<Request<Bytes>, CompanionError> {
        let (_, checks) = ask(settings.clone(), timeout(), sent).await;
        let Service::Http(service) = settings.service else { panic!("it is asked by HTTP") };
        service.request(checks[0].clone())
    }

    #[tokio::test]
    async fn the_question_is_the_request_with_another_path() {
        let sent = [("authorization", "secret"), ("a", "1"), ("content-length", "5"), ("x-by", "client")];
        let sent = || request("http://shop.example/cart?item=7", &sent, "hello");
        let settings = plain(|service| {
            service.path = CheckPath::Prefix("/check".into());
            let template = |text| Template::new(text).unwrap();
            service.add = vec![
                ("x-by".parse().unwrap(), template("%REQ(:method)% mesh")),
                ("x-none".parse().unwrap(), template("%REQ(none)%")),
            ];
        });
        let asked = question(settings.clone(), sent()).await.unwrap();
        assert_eq!(asked.uri(), "http://shop.example/check/cart?item=7");
        assert_eq!(values(asked.headers(), "authorization"), ["secret"]);
        assert_eq!(values(asked.headers(), "content-length"), ["0"]);
        assert_eq!(values(asked.headers(), "x-by"), ["GET mesh"]);
        assert_eq!((asked.headers().len(), asked.body().len()), (3, 0));

        let shown = ExternalAuthz { body: Some(whole(4, true)), ..settings };
        let asked = question(shown, sent()).await.unwrap();
        assert_eq!(
            (&asked.body()[..], values(asked.headers(), "content-length")),
            (&b"hell"[..], vec!["4".to_owned()])
        );
        assert_eq!(values(asked.headers(), "x-envoy-auth-partial-body"), ["true"]);

        let whole = plain(|service| service.path = CheckPath::Whole("/auth".into()));
        assert_eq!(question(whole, sent()).await.unwrap().uri(), "http://shop.example/auth");
        let tunnel = Request::connect("db:5432").body(Full::default()).unwrap();
        assert!(matches!(question(plain(|_| ()), tunnel).await, Err(CompanionError::Invalid { field: "method", .. })));
        let broken = plain(|service| service.path = CheckPath::Prefix("/a b".into()));
        assert!(matches!(question(broken, sent()).await, Err(CompanionError::Invalid { field: "path", .. })));
    }

    #[test]
    fn the_status_decides() {
        let service = HttpService::new("authz", None);
        let decide = |status: u16| {
            service.decision(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), Bytes::from_static(b"body"))
        };
        assert!(matches!(decide(200), Ok(Decision::Allow(_))));
        for status in [201, 204, 302, 400, 401, 403, 499] {
            let refusal = Refusal { status: Some(status), body: "body".into(), ..Refusal::default() };
            assert_eq!(decide(status), Ok(Decision::Deny(refusal)), "{status}");
        }
        for status in [500, 503, 599] {
            assert_eq!(decide(status), Err(CompanionError::Status(status)));
        }
    }

    fn answered(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn lists_say_what_an_allowance_changes() {
        let mut service = HttpService::new("authz", None);
        service.upstream = vec![prefix("x-up")];
        service.upstream_append = vec![Pattern::exact("x-more")];
        service.client_on_success = vec![Pattern::exact("set-cookie")];
        service.metadata = vec![Pattern::exact("x-meta")];
        let headers = answered(&[
            ("x-up", "1"),
            ("x-up", "2"),
            ("x-more", "3"),
            ("set-cookie", "c"),
            ("x-meta", "m"),
            ("x-other", "o"),
            ("x-envoy-auth-headers-to-remove", "authorization, cookie ,,"),
        ]);
        let expected = Allowance {
            request: vec![
                HeaderEdit::set("x-up", "1"),
                HeaderEdit::append("x-up", "2"),
                HeaderEdit::append("x-more", "3"),
            ],
            remove: vec!["authorization".into(), "cookie".into()],
            response: vec![HeaderEdit::append("set-cookie", "c")],
            metadata: Map::from_iter([("x-meta".to_owned(), Value::from("m"))]),
            ..allow()
        };
        assert_eq!(service.decision(StatusCode::OK, &headers, Bytes::new()), Ok(Decision::Allow(expected)));
        let nothing = HttpService::new("authz", None);
        let said = nothing.decision(StatusCode::OK, &answered(&[("x-up", "1")]), Bytes::new());
        assert_eq!(said, Ok(Decision::Allow(allow())));
    }

    #[test]
    fn lists_say_what_a_refused_client_gets() {
        let headers = answered(&[
            ("location", "l"),
            ("www-authenticate", "w"),
            ("x-a", "a"),
            ("x-b", "b"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
        ]);
        for (client, expected) in [
            (vec![], &["location", "www-authenticate", "x-a", "x-b"][..]),
            (vec![Pattern::exact("x-a")], &["location", "www-authenticate", "x-a"]),
        ] {
            let service = HttpService { client, ..HttpService::new("authz", None) };
            let Ok(Decision::Deny(refusal)) = service.decision(StatusCode::UNAUTHORIZED, &headers, Bytes::new()) else {
                panic!("it is refused")
            };
            let names: Vec<_> = refusal.headers.iter().map(|edit| edit.name.as_str()).collect();
            assert_eq!(names, expected);
        }
    }
}

#[test]
fn queries_are_changed_in_place() {
    let target: Uri = "http://shop/a?x=1&y&x=2&z=3".parse().unwrap();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    for (set, remove, expected) in [
        (&[][..], &[][..], "http://shop/a?x=1&y&x=2&z=3"),
        (&[("x", "9")], &[], "http://shop/a?x=9&y&z=3"),
        (&[("new", "a%20b")], &[], "http://shop/a?x=1&y&x=2&z=3&new=a%20b"),
        (&[("y", "")], &["x"], "http://shop/a?y=&z=3"),
        (&[("x", "1"), ("x", "2")], &["x", "y", "z"], "http://shop/a"),
        (&[], &["%78"], "http://shop/a?x=1&y&x=2&z=3"),
    ] {
        let edits =
            QueryEdits { set: pairs(set), remove: remove.iter().map(|name: &&str| (*name).to_owned()).collect() };
        assert_eq!(edits.apply(&target).unwrap(), expected);
    }
    let edits = QueryEdits { set: pairs(&[("a", "b")]), remove: vec![] };
    assert_eq!(edits.apply(&"/plain".parse().unwrap()).unwrap(), "/plain?a=b");
}

proptest! {
    /// Whatever an authorizer writes: the request that goes on has the host and length that the client sent.
    #[test]
    fn no_change_moves_the_end_of_a_message(
        names in proptest::collection::vec("(?i)(host|content-length|transfer-encoding|:path|x-a|te|\\PC{0,3})", 0..6),
        value in "\\PC{0,6}",
    ) {
        let edits: Vec<_> = names.iter().map(|name| HeaderEdit::set(name.as_str(), value.clone())).collect();
        let sent = || HeaderMap::from_iter([
            (http::header::HOST, HeaderValue::from_static("shop")),
            (http::header::CONTENT_LENGTH, HeaderValue::from_static("5")),
        ]);
        if let Ok(edits) = crate::companion::HeaderEdits::new(&edits, None, false) {
            let mut headers = sent();
            edits.apply(&mut headers);
            for name in &crate::companion::HeaderEdits::removals(&names, None).unwrap() {
                headers.remove(name);
            }
            prop_assert_eq!(headers, sent().into_iter().map(|(name, value)| (name.unwrap(), value)).collect::<HeaderMap>());
        }
    }

    /// A changed target never has more parameters than were asked for.
    #[test]
    fn no_value_brings_parameters_along(name in "\\PC{0,4}", value in "\\PC{0,6}") {
        let edits = QueryEdits { set: vec![(name, value)], remove: vec![] };
        if let Ok(uri) = edits.apply(&"/a?x=1".parse().unwrap()) {
            prop_assert!(uri.query().unwrap().split('&').count() <= 2);
            prop_assert_eq!(uri.path(), "/a");
        }
    }
}
