use std::time::Duration;

use http::{HeaderMap, Method};

use super::*;
use crate::gateway::tests::{ask, get, headers};
use crate::gateway::{Backend, Entry, INVALID_BACKEND, RouteId, filter_name};
use crate::request::Request;
use crate::route::{
    Denominator, FaultAbort, FaultDelay, FaultLength, FaultStatus, FilterOverride, Forward, RetryOn, RouteConfig,
    RouteTable,
};

fn to(cluster: &str) -> HttpRoute {
    HttpRoute::new(RouteAction::Route(vec![Destination::to(cluster, 0)]))
}

fn object(name: &str, hosts: &[&str], routes: Vec<HttpRoute>) -> VirtualService {
    VirtualService { id: RouteId::new("ns", name), hosts: hosts.iter().map(|host| (*host).into()).collect(), routes }
}

fn table(config: RouteConfig) -> RouteTable {
    RouteTable::new(config).unwrap()
}

/// The table of a waypoint for port 8080 with these routes.
fn waypoint(routes: Vec<HttpRoute>) -> RouteTable {
    table(waypoint_routes("test", Entry::http(8080), "own", &[&object("vs", &["svc"], routes)]))
}

/// One match that goes to `c`, and nothing else.
fn matching(one: HttpMatch) -> RouteTable {
    waypoint(vec![HttpRoute { matches: vec![one], ..to("c") }])
}

fn exact(text: &str) -> TextMatch {
    TextMatch::Exact(text.into())
}

fn prefix(text: &str) -> TextMatch {
    TextMatch::Prefix(text.into())
}

fn regex(text: &str) -> TextMatch {
    TextMatch::Regex(Regex::new(text).unwrap())
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

#[test]
fn matches_ask_for_what_they_say() {
    let any = HttpMatch::default;
    let uri = |text| HttpMatch { uri: Some(text), ..any() };
    let header = |text| HttpMatch { headers: vec![(name("x-a"), text)], ..any() };
    let without = |text| HttpMatch { without_headers: vec![(name("x-a"), text)], ..any() };
    let query = |text| HttpMatch { query: vec![("q".into(), text)], ..any() };

    for (one, yes, no) in [
        (any(), &["http://h/x"][..], &[][..]),
        (uri(exact("/a")), &["http://h/a?q"], &["http://h/a/", "http://h/A"]),
        (uri(prefix("/a")), &["http://h/a", "http://h/ab"], &["http://h/A"]),
        (uri(regex("/a[0-9]")), &["http://h/a1"], &["http://h/a12"]),
        (HttpMatch { ignore_uri_case: true, ..uri(exact("/a")) }, &["http://h/A"], &["http://h/ab"]),
        (HttpMatch { ignore_uri_case: true, ..uri(prefix("/a")) }, &["http://h/Ab"], &["http://h/b"]),
        (HttpMatch { scheme: Some(exact("https")), ..any() }, &["https://h/"], &["http://h/"]),
        (HttpMatch { authority: Some(prefix("h:")), ..any() }, &["http://h:80/"], &["http://h/"]),
        (HttpMatch { method: Some(regex("GET|PUT")), ..any() }, &["http://h/"], &[]),
        (HttpMatch { method: Some(exact("PUT")), ..any() }, &[], &["http://h/"]),
        (header(Some(exact("1"))), &["http://h/ 1"], &["http://h/ 12", "http://h/"]),
        (header(Some(prefix("1"))), &["http://h/ 12"], &["http://h/ 21"]),
        (header(Some(regex("[12]"))), &["http://h/ 2"], &["http://h/ 12"]),
        (header(None), &["http://h/ "], &["http://h/"]),
        (without(Some(exact("1"))), &["http://h/ 2", "http://h/"], &["http://h/ 1"]),
        (without(None), &["http://h/"], &["http://h/ "]),
        (query(Some(exact("1"))), &["http://h/?q=1"], &["http://h/?q=2", "http://h/"]),
        (query(None), &["http://h/?q"], &["http://h/"]),
        (HttpMatch { headers: vec![(name("host"), Some(exact("h")))], ..any() }, &["http://h/"], &["http://i/"]),
        (HttpMatch { port: Some(8080), ..any() }, &["http://h/"], &[]),
        (HttpMatch { port: Some(80), ..any() }, &[], &["http://h/"]),
        (HttpMatch { gateways: vec!["ns/g".into(), "mesh".into()], ..any() }, &["http://h/"], &[]),
        (HttpMatch { gateways: vec!["ns/g".into()], ..any() }, &[], &["http://h/"]),
        (HttpMatch { source_labels: vec![("app".into(), "web".into())], ..any() }, &[], &["http://h/"]),
    ] {
        let table = matching(one.clone());
        // A URL, and the value of `x-a` if it is sent.
        let answer = |sent: &str| match sent.split_once(' ') {
            Some((url, value)) => get(&table, url, &[("x-a", value)]),
            None => get(&table, sent, &[]),
        };
        for sent in yes {
            assert_eq!(answer(sent), "c", "{one:?} {sent}");
        }
        for sent in no {
            assert_eq!(answer(sent), "404", "{one:?} {sent}");
        }
    }
}

#[test]
fn a_client_is_told_by_its_namespace() {
    let table = matching(HttpMatch { source_namespace: Some("shop".into()), ..HttpMatch::default() });
    let none = HeaderMap::new();
    for (peer, expected) in [
        (Some("spiffe://cluster.local/ns/shop/sa/web"), true),
        (Some("spiffe://cluster.local/ns/shop2/sa/web"), false),
        (None, false),
    ] {
        let mut request = Request::new(&Method::GET, "h", "/", &none);
        request.head.peer = peer;
        assert_eq!(table.find(&request, 0).is_ok(), expected, "{peer:?}");
    }
}

#[test]
fn the_first_that_matches_is_taken_up_to_the_first_that_takes_everything() {
    let of = |text| HttpMatch { uri: Some(prefix(text)), ..HttpMatch::default() };
    let routes = vec![
        HttpRoute { matches: vec![of("/a"), of("/b")], ..to("first") },
        HttpRoute { matches: vec![of("/a/longer")], ..to("never") },
        to("rest"),
        HttpRoute { matches: vec![of("/c")], ..to("after") },
    ];
    let table = waypoint(routes);
    for (url, cluster) in [("http://h/a/longer", "first"), ("http://h/b", "first"), ("http://h/c", "rest")] {
        assert_eq!(get(&table, url, &[]), cluster, "{url}");
    }
    assert_eq!(table.config().hosts[0].routes.len(), 4, "what is after the rest is left out");
}

#[test]
fn objects_for_one_host_go_by_age_and_name() {
    let of = |text| HttpMatch { uri: Some(prefix(text)), ..HttpMatch::default() };
    let route = |cluster: &str, text| HttpRoute { matches: vec![of(text)], ..to(cluster) };
    let mut young = object("a", &["shop.example", "other.example"], vec![route("young", "/")]);
    young.id.created = Duration::from_secs(2);
    let mut old = object("z", &["Shop.example", "*.example"], vec![route("old", "/a")]);
    old.id.created = Duration::from_secs(1);
    let table = table(gateway_routes("test", Entry::http(80), "ns/g", &[&young, &old]));
    for (url, answer) in [
        ("http://shop.example/a", "old"),
        ("http://shop.example:80/b", "young"),
        ("http://other.example/a", "young"),
        ("http://x.example/a", "old"),
        ("http://x.example/b", "404"),
        ("http://example/a", "404"),
    ] {
        assert_eq!(get(&table, url, &[]), answer, "{url}");
    }
}

#[test]
fn a_service_without_objects_is_itself() {
    let plain = table(waypoint_routes("test", Entry::http(8080), "own", &[]));
    assert_eq!(get(&plain, "http://any/", &[]), "own");
    let none = object(
        "vs",
        &["svc"],
        vec![HttpRoute { matches: vec![HttpMatch { port: Some(1), ..HttpMatch::default() }], ..to("c") }],
    );
    let table = table(waypoint_routes("test", Entry::http(8080), "own", &[&none]));
    assert_eq!(get(&table, "http://any/", &[]), "404", "with one, unmatched requests go nowhere");
}

fn forward(route: HttpRoute) -> Forward {
    let config = waypoint_routes("test", Entry::http(8080), "own", &[&object("vs", &["svc"], vec![route])]);
    let crate::route::Action::Forward(forward) = config.hosts[0].routes[0].action.clone() else {
        panic!("not sent on")
    };
    *forward
}

#[test]
fn requests_are_divided_by_weight() {
    let destinations = vec![Destination::to("a", 1), Destination::to("none", 0), Destination::to("b", 3)];
    let table = waypoint(vec![HttpRoute::new(RouteAction::Route(destinations))]);
    let at = |share: u64| ask(&table, &Method::GET, "http://h/", &[], share << 32);
    assert_eq!([at(0), at(1), at(2), at(3), at(4)], ["a", "b", "b", "b", "a"]);
    let unknown = Destination { backend: Backend::Invalid, ..Destination::to("", 1) };
    let table = waypoint(vec![HttpRoute::new(RouteAction::Route(vec![unknown]))]);
    assert_eq!(get(&table, "http://h/", &[]), "503");
}

#[test]
fn headers_are_edited_for_the_route_and_for_the_destination() {
    let edit = |value: &str| HeaderEdit {
        set: vec![(name("x-set"), Template::new(value).unwrap())],
        add: vec![(name("x-add"), Template::new(value).unwrap())],
        remove: vec![name("x-gone")],
    };
    let of = |value: &str| Headers { request: edit(value), response: edit(value) };
    let destination = Destination { headers: of("%REQ(x-b)%"), ..Destination::to("c", 0) };
    let route = HttpRoute { headers: of("route"), ..HttpRoute::new(RouteAction::Route(vec![destination])) };
    let table = waypoint(vec![route]);
    let before = headers(&[("x-b", "b"), ("x-set", "0"), ("x-gone", "0")]);
    let request = Request::new(&Method::GET, "h", "/", &before);
    let selected = table.find(&request, 0).unwrap();
    let (mut sent, mut answered) = (before.clone(), before.clone());
    selected.edit_request(&request.head, &mut sent);
    selected.edit_response(&request, &mut answered);
    for edited in [sent, answered] {
        assert_eq!(edited.get_all("x-set").iter().collect::<Vec<_>>(), ["route"], "the route's word is the last");
        assert_eq!(edited.get_all("x-add").iter().collect::<Vec<_>>(), ["b", "route"]);
        assert!(!edited.contains_key("x-gone"));
    }
}

#[test]
fn hosts_and_paths_are_rewritten() {
    let of = |uri, authority: Option<&str>| Rewrite { uri, authority: authority.map(Into::into) };
    let host = |value: &str| Headers {
        request: HeaderEdit { set: vec![(name("host"), Template::new(value).unwrap())], ..HeaderEdit::default() },
        ..Headers::default()
    };
    let swapped = Substitution::new("^/([a-z]+)/([a-z]+)$", r"/\2/\1").unwrap();
    for (one, rewrite, edits, answer) in [
        (Some(prefix("/a/")), of(Some(UriRewrite::Prefix("/x/".into())), None), Headers::default(), "c /x/b?q"),
        (Some(exact("/a/b")), of(Some(UriRewrite::Prefix("/x".into())), None), Headers::default(), "c /x?q"),
        (None, of(Some(UriRewrite::Prefix("/x/".into())), None), Headers::default(), "c /x/a/b?q"),
        (None, of(Some(UriRewrite::Regex(swapped)), None), Headers::default(), "c /b/a?q"),
        (None, of(None, Some("i")), Headers::default(), "c i"),
        (None, of(None, None), host("j"), "c j"),
        (None, of(None, Some("i")), host("j"), "c i"),
    ] {
        let matches = vec![HttpMatch { uri: one, ..HttpMatch::default() }];
        let table = waypoint(vec![HttpRoute { matches, rewrite: rewrite.clone(), headers: edits, ..to("c") }]);
        assert_eq!(get(&table, "http://h/a/b?q", &[]), answer, "{rewrite:?}");
    }
    let destination = Destination { headers: host("k"), ..Destination::to("c", 0) };
    let route = HttpRoute { rewrite: of(None, Some("i")), ..HttpRoute::new(RouteAction::Route(vec![destination])) };
    assert_eq!(get(&waypoint(vec![route]), "http://h/", &[]), "c i", "the route's word is the last");
}

#[test]
fn redirects_and_answers_need_no_destination() {
    let of = |redirect| waypoint(vec![HttpRoute::new(RouteAction::Redirect(redirect))]);
    let plain = Redirect::default;
    let text = |text: &str| Some(text.into());
    for (redirect, location) in [
        (Redirect { uri: text("/n"), ..plain() }, "301 http://h:8080/n?q"),
        (Redirect { authority: text("i"), ..plain() }, "301 http://i/a?q"),
        (Redirect { authority: text("i:1"), status: RedirectStatus::Found, ..plain() }, "302 http://i:1/a?q"),
        (Redirect { scheme: text("https"), port: RedirectPort::Given(8443), ..plain() }, "301 https://h:8443/a?q"),
        (Redirect { authority: text("i"), port: RedirectPort::OfEntry, ..plain() }, "301 http://i:8080/a?q"),
    ] {
        assert_eq!(get(&of(redirect.clone()), "http://h:8080/a?q", &[]), location, "{redirect:?}");
    }
    let redirect = Redirect { authority: text("i"), port: RedirectPort::OfEntry, ..plain() };
    let vs = object("vs", &["*"], vec![HttpRoute::new(RouteAction::Redirect(redirect))]);
    let secure = table(gateway_routes("test", Entry::https(443), "ns/g", &[&vs]));
    assert_eq!(get(&secure, "https://h/a", &[]), "301 https://i/a");

    let answer = DirectResponse { status: 418, body: b"tea".to_vec() };
    assert_eq!(get(&waypoint(vec![HttpRoute::new(RouteAction::Respond(answer))]), "http://h/", &[]), "418");
}

#[test]
fn timeouts_and_retries_have_the_defaults_of_istio() {
    let plain = forward(to("c"));
    assert_eq!(plain.timeout, Some(Duration::ZERO));
    let grpc = headers(&[("content-type", "application/grpc"), ("grpc-timeout", "7S")]);
    let request = Request::new(&Method::POST, "h", "/p.Svc/Do", &grpc);
    assert_eq!(plain.timeouts(&request).response, Some(Duration::from_secs(7)), "the deadline of the call counts");
    let timed = forward(HttpRoute { timeout: Some(Duration::from_secs(3)), ..to("c") });
    assert_eq!(timed.timeouts(&request).response, Some(Duration::from_secs(3)), "up to the timeout");

    let retry = plain.retry.unwrap();
    assert_eq!((retry.retries, retry.host_attempts, retry.avoid), (2, 5, vec![crate::route::AvoidHost::Previous]));
    assert_eq!(retry.on.to_string(), "connect-failure,refused-stream,cancelled,unavailable");
    let of = |retries| forward(HttpRoute { retries: Some(retries), ..to("c") }).retry;
    assert_eq!(of(Retries::default()), None, "no attempts are no retries");
    let given = of(Retries {
        attempts: 3,
        per_try_timeout: Some(Duration::from_secs(1)),
        per_try_idle_timeout: Some(Duration::from_secs(2)),
        on: Some("5xx, 429,nonsense,retriable-4xx,99".into()),
        remote_localities: true,
        same_hosts: true,
        back_off: Some(Duration::from_millis(50)),
    })
    .unwrap();
    assert_eq!(given.on, RetryOn::SERVER_ERROR.and(RetryOn::CONFLICT).and(RetryOn::STATUS_CODES));
    assert_eq!((given.retries, given.status_codes), (3, vec![429]));
    assert_eq!(given.per_try_timeout, Some(Duration::from_secs(1)));
    assert_eq!(given.per_try_idle_timeout, Some(Duration::from_secs(2)));
    assert_eq!((given.avoid, given.avoid_priorities), (vec![], Some(2)));
    assert_eq!(given.back_off.base, Duration::from_millis(50));
}

#[test]
fn copies_are_told_by_their_host() {
    let mirror = |cluster: &str, percent| MirrorTo { backend: Backend::Cluster(cluster.into()), fraction: percent };
    let nowhere = MirrorTo { backend: Backend::Invalid, fraction: None };
    let part = Fraction { numerator: 1, denominator: Denominator::Million };
    let mirrors = vec![mirror("m", None), nowhere, mirror("n", Some(part))];
    let mirrors = forward(HttpRoute { mirrors, ..to("c") }).mirrors;
    assert_eq!(mirrors.iter().map(|mirror| mirror.fraction).collect::<Vec<_>>(), [None, Some(part)]);
    assert_eq!(mirrors[0].authority("h:80"), "h-shadow:80");
    assert!(!format!("{mirrors:?}").contains(INVALID_BACKEND));
}

#[test]
fn faults_and_cross_origin_use_are_settings_of_their_filters() {
    let all = Fraction::percent(100);
    let fault = Fault {
        delay: Some(FaultDelay { length: FaultLength::Fixed(Duration::from_secs(5)), fraction: all }),
        abort: Some(FaultAbort { status: FaultStatus::Http(503), fraction: all, body: "".into() }),
        ..Fault::default()
    };
    let cors = Cors {
        origins: vec![exact("https://a"), prefix("https://b."), regex("https://[cd]")],
        methods: vec![Method::GET, Method::PUT],
        headers: vec!["x-a".into(), "x-b".into()],
        expose: vec!["x-c".into()],
        max_age: Some(Duration::from_secs(60)),
        credentials: true,
        ignore_unmatched_preflights: true,
    };
    let table = waypoint(vec![HttpRoute { fault: Some(fault.clone()), cors: Some(cors), ..to("c") }]);
    let none = HeaderMap::new();
    let request = Request::new(&Method::GET, "h", "/", &none);
    let selected = table.find(&request, 0).unwrap();
    assert_eq!(selected.filter(filter_name::FAULT), Some(&FilterOverride::Fault(fault)));
    let Some(FilterOverride::Cors(policy)) = selected.filter(filter_name::CORS) else { panic!("no policy") };
    let origins = ["https://a", "https://b.x", "https://d", "https://ax", "https://dd"];
    let allowed = origins.map(|origin| policy.origins.iter().any(|pattern| pattern.is_match(origin)));
    assert_eq!(allowed, [true, true, true, false, false]);
    assert_eq!(
        (policy.methods.as_str(), policy.headers.as_str(), policy.expose.as_str()),
        ("GET,PUT", "x-a,x-b", "x-c")
    );
    assert_eq!((policy.max_age, policy.credentials), (Some(Duration::from_secs(60)), true));
    assert!(!policy.forward_unmatched_preflights);
}
