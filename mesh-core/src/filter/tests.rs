#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::live::{Live, Publisher};
use crate::route::{
    Action, Addition, AppendAction, FilterOverride, Forward, HeaderEdits, Mutation, PathMatch, Route, RouteConfig,
    RouteMatch, RouteTable, Template, VirtualHost,
};

/// Writes its letter into a header, on the way in and on the way out.
struct Letter(char);

impl Filter for Letter {
    fn on_request(&self, head: &mut request::Parts, _: &mut Exchange) -> Step {
        head.headers.append("way-in", HeaderValue::try_from(self.0.to_string()).unwrap());
        Step::Next
    }

    fn on_response(&self, head: &mut response::Parts, _: &mut Exchange) {
        head.headers.append("way-out", HeaderValue::try_from(self.0.to_string()).unwrap());
    }
}

/// Refuses after a while whom it finds in a header.
struct Asks;

impl Filter for Asks {
    fn on_request(&self, head: &mut request::Parts, _: &mut Exchange) -> Step {
        let refused = head.headers.contains_key("refuse");
        Step::wait(async move {
            tokio::task::yield_now().await;
            move |head: &mut request::Parts, _: &mut Exchange| {
                head.headers.insert("asked", HeaderValue::from_static("yes"));
                match refused {
                    true => Step::Answer(
                        Answer::new(StatusCode::FORBIDDEN, "no", "refused").flagged(Flag::UnauthorizedExternal),
                    ),
                    false => Step::Next,
                }
            }
        })
    }
}

/// Answers with what it was shown of the body.
struct Shown(BodyDemand);

impl Filter for Shown {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let seen = exchange.body.clone().unwrap();
        head.headers.insert("seen", HeaderValue::from_bytes(&seen).unwrap());
        Step::Next
    }

    fn body(&self, _: &request::Parts, _: &Exchange) -> Option<BodyDemand> {
        Some(self.0)
    }
}

fn texts(headers: &HeaderMap, name: &str) -> String {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// Answers with the headers and the body it was sent.
async fn echo<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { panic!("the body broke off") };
    let mut response = Response::new(Full::new(body.to_bytes()));
    *response.headers_mut() = head.headers;
    Ok(response)
}

fn chain(filters: Vec<Named>) -> Live<Chain> {
    Live::constant(Chain { routes: None, filters })
}

async fn ask<B>(chain: Live<Chain>, request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
{
    let response = FilterLayer::chain(chain).layer(service_fn(echo)).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// A body of these pieces, each of which is a moment away.
struct Pieces(VecDeque<&'static str>, bool);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}

#[tokio::test]
async fn filters_see_requests_in_order_and_responses_backwards() {
    let filters = vec![Named::new("a", Letter('a')), Named::new("b", Letter('b')), Named::new("c", Letter('c'))];
    let response = ask(chain(filters), Request::new(Empty::new())).await;
    assert_eq!(
        (texts(response.headers(), "way-in"), texts(response.headers(), "way-out")),
        ("abc".into(), "cba".into())
    );
}

#[tokio::test]
async fn an_answer_passes_back_through_those_before_it_only() {
    let filters = vec![Named::new("a", Letter('a')), Named::new("asks", Asks), Named::new("b", Letter('b'))];
    let request = Request::builder().header("refuse", "1").body(Empty::new()).unwrap();
    let response = ask(chain(filters.clone()), request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(texts(response.headers(), "way-out"), "a");
    let exchange = response.extensions().get::<Exchange>().unwrap();
    assert_eq!((exchange.flags.to_string(), exchange.details.as_str()), ("UAEX".to_owned(), "refused"));

    let response = ask(chain(filters), Request::new(Empty::new())).await;
    assert_eq!((response.status(), texts(response.headers(), "asked")), (StatusCode::OK, "yes".to_owned()));
    assert_eq!(texts(response.headers(), "way-out"), "ba");
}

#[tokio::test]
async fn a_call_of_grpc_is_refused_in_its_own_words() {
    let request = Request::builder().header("refuse", "1").header("content-type", "application/grpc+proto");
    let response = ask(chain(vec![Named::new("asks", Asks)]), request.body(Empty::new()).unwrap()).await;
    let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((header("grpc-status"), header("grpc-message")), ("7", "no"));
    assert!(response.body().is_empty());
}

#[tokio::test]
async fn a_route_edits_what_filters_answer_and_cannot_make_a_refusal_look_like_success() {
    let edit = |name: &str, value: &str, action| Addition {
        name: name.parse().unwrap(),
        value: Template::literal(value),
        action,
        keep_empty: false,
    };
    let set = AppendAction::OverwriteIfExistsOrAdd;
    let add = vec![edit("x-route", "r", set), edit("grpc-status", "0", set), edit("content-type", "text/html", set)];
    let edits =
        || HeaderEdits { response: Mutation { remove: Vec::new(), add: add.clone() }, ..HeaderEdits::default() };
    let forward = Action::Forward(Box::new(Forward::to("c")));
    let routes = |action| {
        let route = Route { headers: edits(), ..Route::new(RouteMatch::new(PathMatch::prefix("/")), action) };
        let host = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
        Some(Arc::new(RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap()))
    };
    let refused = async |action, kind: &str| {
        let chain = Chain { routes: routes(action), filters: vec![Named::new("asks", Asks)] };
        let request = Request::builder().uri("http://shop/").header("refuse", "1").header("content-type", kind);
        let response = ask(Live::constant(chain), request.body(Empty::new()).unwrap()).await;
        let header = |name| texts(response.headers(), name);
        (response.status().as_u16(), header("x-route"), header("content-type"), header("grpc-status"))
    };
    let of = |status, route: &str, kind: &str, grpc: &str| (status, route.to_owned(), kind.to_owned(), grpc.to_owned());
    assert_eq!(refused(forward.clone(), "text/plain").await, of(403, "r", "text/html", "0"));
    assert_eq!(refused(forward, "application/grpc").await, of(200, "r", "application/grpc", "7"));
    // Where the route would answer by itself, it edits its own answers only, as with Envoy.
    let respond = Action::Respond(crate::route::DirectResponse { status: 200, body: Vec::new() });
    assert_eq!(refused(respond, "text/plain").await, of(403, "", "text/plain", ""));
}

#[tokio::test]
async fn a_filter_sees_the_body_and_the_service_gets_all_of_it() {
    let shown = |max_bytes, allow_partial| chain(vec![Named::new("s", Shown(BodyDemand { max_bytes, allow_partial }))]);
    let body = || Request::new(Pieces(["he", "llo", "!"].into(), false));

    let response = ask(shown(6, false), body()).await;
    assert_eq!((texts(response.headers(), "seen"), &response.body()[..]), ("hello!".to_owned(), &b"hello!"[..]));
    let response = ask(shown(4, true), body()).await;
    assert_eq!((texts(response.headers(), "seen"), &response.body()[..]), ("hell".to_owned(), &b"hello!"[..]));
    let response = ask(shown(5, false), body()).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_is_kept_of_a_body_costs_no_more_than_its_bytes() {
    let pieces = |pieces: &[&'static str], times| {
        let body = Pieces(std::iter::repeat_n(pieces.iter().copied(), times).flatten().collect(), false);
        Begun::new(body)
    };
    for (mut body, wanted, most) in [(pieces(&["", "x"], 10_000), 20_000, 3), (pieces(&[""], 10_000), 0, 0)] {
        let begun = std::future::poll_fn(|cx| body.poll_begin(cx, wanted)).await.unwrap();
        assert!(body.pieces() <= most, "{} pieces", body.pieces());
        let body::Beginning::Whole(seen) = begun else { panic!("all of it is there") };
        assert_eq!(body.collect().await.unwrap().to_bytes(), seen);
    }
}

#[tokio::test]
async fn a_route_says_which_filters_run() {
    let route =
        |path: &str| Route::new(RouteMatch::new(PathMatch::prefix(path)), Action::Forward(Box::new(Forward::to("c"))));
    let mut plain = route("/plain");
    plain.filters.insert("a".into(), FilterOverride::Disabled);
    let mut special = route("/special");
    special.filters.insert("off".into(), FilterOverride::Rbac(Box::default()));
    let host =
        VirtualHost { domains: vec!["*".into()], routes: vec![plain, special, route("/")], ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
    let off = Named { disabled: true, ..Named::new("off", Letter('o')) };
    let filters = vec![Named::new("a", Letter('a')), off, Named::new("b", Letter('b'))];
    let chain = Live::constant(Chain { routes: Some(Arc::new(table)), filters });
    for (path, passed) in [("/plain", "b"), ("/special", "aob"), ("/x", "ab")] {
        let request = Request::builder().uri(format!("http://shop{path}")).body(Empty::new()).unwrap();
        let response = ask(chain.clone(), request).await;
        assert_eq!(texts(response.headers(), "way-in"), passed, "{path}");
        let exchange = response.extensions().get::<Exchange>().unwrap();
        assert!(exchange.selection().is_some());
    }
}

#[tokio::test]
async fn a_request_passes_the_chain_that_was_current_when_it_came() {
    let one = |letter| Chain { routes: None, filters: vec![Named::new("asks", Asks), Named::new("l", Letter(letter))] };
    let (publisher, live) = Publisher::new(one('a'));
    let mut service = FilterLayer::chain(live).layer(service_fn(echo));
    let early = tower::Service::call(&mut service, Request::new(Empty::<Bytes>::new()));
    publisher.publish(one('b'));
    let late = tower::Service::call(&mut service, Request::new(Empty::<Bytes>::new()));
    let (early, late) = (early.await.unwrap(), late.await.unwrap());
    assert_eq!((texts(early.headers(), "way-in"), texts(late.headers(), "way-in")), ("a".into(), "b".into()));
}

#[test]
fn flags_print_as_in_envoys_access_log() {
    let mut flags = Flags::default();
    assert_eq!(flags.to_string(), "-");
    flags.insert(Flag::UpstreamRequestTimeout);
    flags.insert(Flag::NoHealthyUpstream);
    assert_eq!(flags.to_string(), "UH,UT");
    assert!(flags.contains(Flag::NoHealthyUpstream) && !flags.contains(Flag::RateLimited));
}

#[test]
fn metadata_is_found_by_path() {
    let mut metadata = Metadata::default();
    metadata.set("jwt", "payload", serde_json::json!({"realm": {"roles": ["a"]}}));
    metadata.set("jwt", "other", serde_json::json!(1));
    assert_eq!(metadata.at("jwt", &["payload", "realm", "roles"]), Some(&serde_json::json!(["a"])));
    assert_eq!(metadata.at("jwt", &["other"]), Some(&serde_json::json!(1)));
    for path in [&[][..], &["payload", "none"], &["other", "deeper"], &["payload", "realm", "roles", "a"]] {
        assert_eq!(metadata.at("jwt", path), None);
    }
    assert_eq!(metadata.at("elsewhere", &["payload"]), None);
}

mod access {
    use std::net::SocketAddr;

    use http::header::LOCATION;
    use serde_json::{Value, json};

    use super::*;
    use crate::authz::http::{Authorization, AuthorizationPolicy, Mesh, Operation, PolicyAction, Rule, Source, Values};
    use crate::authz::rbac::{Action as Verdict, FilterRules, Permission, Policy, Principal, Rbac, RbacFilter};
    use crate::path::{EscapedSlashes, PathNormalization};
    use crate::string_match::Pattern;

    fn rules(action: Verdict, name: &str, path: &str) -> Rbac {
        let permissions = vec![Permission::Path(Pattern::exact(path))];
        Rbac { action, policies: [(name.into(), Policy { permissions, principals: vec![Principal::Any] })].into() }
    }

    fn get(path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://shop{path}")).body(Empty::new()).unwrap()
    }

    fn exchange(response: &Response<Bytes>) -> &Exchange {
        response.extensions().get().unwrap()
    }

    #[tokio::test]
    async fn a_refusal_names_the_policy() {
        let filter = RbacFilter { rules: Some(rules(Verdict::Deny, "a b", "/no")), ..RbacFilter::default() };
        let chain = chain(vec![Named::new("rbac", Authorize::new(filter))]);
        let response = ask(chain.clone(), get("/no?x")).await;
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::FORBIDDEN, &b"RBAC: access denied"[..]));
        assert_eq!(exchange(&response).details.as_str(), "rbac_access_denied_matched_policy[a_b]");
        assert_eq!(ask(chain, get("/yes")).await.status(), StatusCode::OK);

        let filter = RbacFilter { rules: Some(rules(Verdict::Allow, "a", "/yes")), ..RbacFilter::default() };
        let response = ask(self::chain(vec![Named::new("rbac", Authorize::new(filter))]), get("/no")).await;
        assert_eq!(exchange(&response).details.as_str(), "rbac_access_denied_matched_policy[none]");
    }

    #[tokio::test]
    async fn shadows_and_logs_are_noted() {
        let shadow = Some(rules(Verdict::Deny, "p", "/no"));
        let filter = RbacFilter { rules: Some(rules(Verdict::Log, "l", "/no")), shadow, shadow_prefix: "dry_".into() };
        let chain = chain(vec![Named::new("rbac", Authorize::new(filter))]);
        for (path, result, policy, logged) in
            [("/no", "denied", Some(json!("p")), true), ("/yes", "allowed", None, false)]
        {
            let response = ask(chain.clone(), get(path)).await;
            assert_eq!(response.status(), StatusCode::OK);
            let metadata = &exchange(&response).metadata;
            let said = |key: &str| metadata.at("envoy.filters.http.rbac", &[key]).cloned();
            assert_eq!(said("dry_shadow_engine_result"), Some(Value::from(result)));
            assert_eq!(said("dry_shadow_effective_policy_id"), policy);
            assert_eq!(metadata.at("envoy.common", &["access_log_hint"]), Some(&json!(logged)));
        }
    }

    #[tokio::test]
    async fn a_route_has_rules_of_its_own() {
        let over =
            |rules| FilterOverride::Rbac(Box::new(FilterRules::new(RbacFilter { rules, ..RbacFilter::default() })));
        let route = |path: &str, filter: Option<FilterOverride>| {
            let action = Action::Forward(Box::new(Forward::to("c")));
            let mut route = Route::new(RouteMatch::new(PathMatch::prefix(path)), action);
            route.filters = filter.map(|filter| ("rbac".into(), filter)).into_iter().collect();
            route
        };
        let routes = vec![
            route("/own", Some(over(Some(rules(Verdict::Allow, "own", "/own"))))),
            route("/open", Some(over(None))),
            route("/off", Some(FilterOverride::Disabled)),
            route("/", None),
        ];
        let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
        let closed = RbacFilter { rules: Some(rules(Verdict::Allow, "none", "/none")), ..RbacFilter::default() };
        let filters = vec![Named::new("rbac", Authorize::new(closed))];
        let chain = Live::constant(Chain { routes: Some(Arc::new(table)), filters });
        for (path, allowed) in
            [("/own", true), ("/own/x", false), ("/open", true), ("/off", true), ("/x", false), ("/none", true)]
        {
            let status = ask(chain.clone(), get(path)).await.status();
            assert_eq!(status == StatusCode::OK, allowed, "{path}");
        }
    }

    #[tokio::test]
    async fn policies_see_the_connection_and_change_at_run_time() {
        let web = Source { principals: Values::any_of(["d/ns/shop/sa/web"]), ..Source::default() };
        let near = Source { remote_ip_blocks: Values::any_of(["10.0.0.0/8"]), ..Source::default() };
        let ports = Operation { ports: Values::any_of(["80"]), ..Operation::default() };
        let rule = |source| Rule { from: vec![source], to: vec![ports.clone()], ..Rule::default() };
        let allow = |source| {
            let policy = AuthorizationPolicy::new("shop/p".parse().unwrap(), PolicyAction::Allow, vec![rule(source)]);
            Authorization::compile(&[policy], &Mesh::default())
        };
        let (publisher, live) = Publisher::new(allow(web));
        let chain = chain(vec![Named::new("rbac", Authorize::live(live))]);
        let from = |peer: Option<&str>, source: &str, port: u16| {
            let destination = SocketAddr::from(([10, 0, 0, 7], port));
            let mut connection = Connection::new(source.parse().unwrap(), destination);
            if let Some(peer) = peer {
                connection = connection.from_peer(&crate::name::parse_spiffe_id(peer).unwrap());
            }
            let mut request = get("/");
            request.extensions_mut().insert(Arc::new(connection));
            request
        };
        let web = Some("spiffe://d/ns/shop/sa/web");
        let asked = async |request| ask(chain.clone(), request).await.status() == StatusCode::OK;
        assert!(asked(from(web, "10.0.0.1:1", 80)).await);
        assert!(!asked(from(web, "10.0.0.1:1", 81)).await);
        assert!(!asked(from(Some("spiffe://d/ns/shop/sa/other"), "10.0.0.1:1", 80)).await);
        assert!(!asked(from(None, "10.0.0.1:1", 80)).await);
        publisher.publish(allow(near));
        assert!(asked(from(None, "10.0.0.1:1", 80)).await);
        assert!(!asked(from(web, "192.0.2.1:1", 80)).await);
    }

    #[tokio::test]
    async fn paths_are_normalized_before_anybody_looks() {
        let deny = RbacFilter { rules: Some(rules(Verdict::Deny, "p", "/admin")), ..RbacFilter::default() };
        let chain = |how| {
            let normalize = Named::new("path", NormalizePath(how));
            chain(vec![normalize, Named::new("rbac", Authorize::new(deny.clone()))])
        };
        let redirect = PathNormalization { escaped_slashes: EscapedSlashes::Redirect, ..PathNormalization::BASE };
        for (how, path, status) in [
            (PathNormalization::BASE, "/x/%2e%2e/admin", 403),
            (PathNormalization::NONE, "/x/%2e%2e/admin", 200),
            (PathNormalization::BASE, "/%00", 400),
            (PathNormalization::BASE, "//admin", 200),
            (PathNormalization::MERGE_SLASHES, "//admin", 403),
            (redirect, "/x%2f..%2fadmin", 307),
            (redirect, "/%2fevil.example", 400),
        ] {
            assert_eq!(ask(chain(how), get(path)).await.status().as_u16(), status, "{path}");
        }
        let response = ask(chain(redirect), get("/x%2fy?q")).await;
        assert_eq!(response.headers().get(LOCATION).unwrap(), "/x/y?q");
        let mut grpc = get("/x%2fy");
        grpc.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let response = ask(chain(redirect), grpc).await;
        assert_eq!(response.headers().get("grpc-status").unwrap(), "13");
        assert_eq!(response.headers().get(LOCATION), None);
    }

    #[tokio::test]
    async fn a_normalized_path_has_its_own_route() {
        let route = |path: &str, cluster: &str| {
            Route::new(RouteMatch::new(PathMatch::prefix(path)), Action::Forward(Box::new(Forward::to(cluster))))
        };
        let mut admin = route("/admin", "admin");
        admin.filters.insert("a".into(), FilterOverride::Disabled);
        let routes = vec![admin, route("/", "other")];
        let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
        let filters = vec![Named::new("path", NormalizePath(PathNormalization::BASE)), Named::new("a", Letter('a'))];
        let chain = Live::constant(Chain { routes: Some(Arc::new(table)), filters });
        let response = ask(chain, get("/x/../admin")).await;
        assert_eq!(texts(response.headers(), "way-in"), "");
    }
}
