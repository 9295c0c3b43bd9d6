//! The same routes here and in a real Envoy: any objects of the Gateway API and of Istio are compiled, shown to Envoy in its
//! own format, and asked the same questions as our own table. `ENVOY` names its binary.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod objects;
mod peer;

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderValue, Method};
use mesh_core::gateway::{
    BackendRef, Entry, Filter, HttpMatch, HttpPath, HttpRoute, HttpRule, INVALID_BACKEND, Listener, PathModifier,
    RequestRedirect, RouteId, UrlRewrite, filter_name, listener_routes,
};
use mesh_core::request::Request;
use mesh_core::route::{Action, Fault, FaultStatus, FilterOverride, RouteTable, Selected};

use self::objects::Random;
use self::peer::{Envoy, Question};

const SEEDS: std::ops::Range<u64> = 0..3;

#[test]
#[ignore = "needs Envoy: run by tests/interop/xds/run"]
fn any_routes_mean_the_same_to_envoy() {
    for seed in SEEDS {
        let mut random = Random(seed);
        let tables: Vec<_> = (0..60).map(|_| RouteTable::new(objects::table(&mut random)).unwrap()).collect();
        let envoy = Envoy::start(&tables);
        let mut answers = BTreeSet::new();
        for (at, table) in tables.iter().enumerate() {
            for _ in 0..60 {
                let question = question(&mut random);
                let ours = answer(table, &question, 0);
                assert_eq!(
                    plain(&envoy.ask(at, &question)),
                    plain(&ours),
                    "seed {seed}, {question:?}, {:?}",
                    table.config()
                );
                answers.insert(ours.split(' ').next().unwrap().to_owned());
            }
        }
        let common = ["302", "404", "418", "477", "500", "503", "c0", "grpc"];
        assert!(common.iter().all(|answer| answers.contains(*answer)), "seed {seed} asks for little: {answers:?}");
    }
}

#[test]
#[ignore = "needs Envoy: run by tests/interop/xds/run"]
fn a_rule_that_is_divided_among_routes_is_divided_the_same_by_envoy() {
    let rewrite =
        |to: &str| vec![Filter::Rewrite(UrlRewrite { hostname: None, path: Some(PathModifier::Prefix(to.into())) })];
    let mut route = HttpRoute::new(RouteId::new("ns", "divided"));
    route.hostnames = vec!["a.com".parse().unwrap()];
    route.rules = vec![HttpRule {
        matches: vec![HttpMatch { path: HttpPath::Prefix("/a".into()), ..HttpMatch::default() }],
        backends: vec![
            BackendRef { filters: rewrite("/one"), ..BackendRef::to("c0", 100) },
            BackendRef::invalid(200),
            BackendRef { filters: vec![Filter::Redirect(RequestRedirect::default())], ..BackendRef::to("c1", 300) },
            BackendRef::to("c3", 0),
            BackendRef { filters: rewrite("/two"), ..BackendRef::to("c2", 400) },
        ],
        ..HttpRule::default()
    }];
    let listener = Listener { http: vec![&route], ..Listener::default() };
    let table = RouteTable::new(listener_routes("divided", Entry::http(80), &[listener])).unwrap();
    let (mut random, envoy) = (Random(0), Envoy::start(std::slice::from_ref(&table)));
    let question =
        Question { method: Method::GET, authority: "a.com", target: "/a/x".into(), headers: HeaderMap::new() };
    let mut counts: BTreeMap<String, (i32, i32)> = BTreeMap::new();
    for _ in 0..4000 {
        counts.entry(answer(&table, &question, random.number())).or_default().0 += 1;
        counts.entry(envoy.ask(0, &question)).or_default().1 += 1;
    }
    assert_eq!(counts.len(), 4, "{counts:?}");
    // Five standard deviations of the largest share.
    assert!(counts.values().all(|(ours, theirs)| ours.abs_diff(*theirs) < 220), "{counts:?}");
}

fn question(random: &mut Random) -> Question {
    let mut headers = HeaderMap::new();
    for name in ["x-a", "x-b", "x-edit"] {
        if random.chance(50) {
            headers.insert(name, HeaderValue::from_static(random.of(&["1", "2"])));
        }
    }
    let mut target = random.of(&objects::PATHS).to_owned();
    if random.chance(30) {
        target = random.of(&["/p.A/Do", "/p.A/Undo", "/p.B/Do", "/q.C/Do", "/q.C/x"]).to_owned();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    } else if random.chance(40) {
        target.push_str(random.of(&["?q=1", "?q=2", "?x=1&q=1"]));
    }
    let hosts = ["a.com", "x.a.com", "y.x.a.com", "z.a.com:80", "a.com:8080", "b.com:1234", "c.org", "A.com"];
    Question {
        method: random.of(&[Method::GET, Method::POST, Method::PUT]),
        authority: random.of(&hosts),
        target,
        headers,
    }
}

/// The status and `Location`, or what a server sees; then `x-edit` of the response.
fn answer(table: &RouteTable, question: &Question, random: u64) -> String {
    let Question { method, authority, target, headers } = question;
    let request = Request::new(method, authority, target, headers);
    let Ok(selected) = table.find(&request, random) else { return local(&request, 404, "") };
    let mut edited = HeaderMap::new();
    if selected.cluster(&request).is_some_and(|cluster| cluster != INVALID_BACKEND) {
        edited.insert("x-edit", HeaderValue::from_static("server"));
    }
    if let Some(status) = fault(&selected) {
        edited.clear();
        // What Envoy's filters answer is edited by routes that send requests on.
        if selected.forward().is_some() {
            selected.edit_response(&request, &mut edited);
        }
        return local(&request, status, &edits(&edited));
    }
    selected.edit_response(&request, &mut edited);
    let edited = edits(&edited);
    match &selected.route.action {
        Action::Respond(answer) => local(&request, answer.status, &edited),
        Action::Redirect(redirect) if request.is_grpc() => local(&request, redirect.status.code(), &edited),
        Action::Redirect(redirect) => {
            format!("{} {} {edited}", redirect.status.code(), selected.location(&request).unwrap())
        }
        Action::Forward(forward) => match selected.cluster(&request).unwrap() {
            INVALID_BACKEND => local(&request, forward.missing.status(), &edited),
            cluster => {
                let mut sent = headers.clone();
                selected.edit_request(&request.head, &mut sent);
                let target = selected.target(&request).unwrap_or_else(|| target.clone());
                let host = selected.authority(&request, None).unwrap_or_else(|| (*authority).into());
                format!("{cluster} {host} {target} {} {edited}", edits(&sent))
            }
        },
        Action::NonForwarding => panic!("{selected:?}"),
    }
}

fn fault(selected: &Selected<'_>) -> Option<u16> {
    match selected.filter(filter_name::FAULT)? {
        FilterOverride::Fault(Fault { abort: Some(abort), .. }) => match abort.status {
            FaultStatus::Http(status) if abort.fraction.takes(0) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

fn edits(headers: &HeaderMap) -> String {
    headers.get_all("x-edit").iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
}

/// An answer that needs no server. gRPC is told the error in a header of its own.
fn local(request: &Request<'_>, status: u16, edited: &str) -> String {
    match (request.is_grpc(), status) {
        (true, 404) => "grpc 12".to_owned(),
        (true, 503) => "grpc 14".to_owned(),
        (true, _) => "grpc 2".to_owned(),
        (false, status) => format!("{status} {edited}"),
    }
}

/// Where only a wildcard names the host of a redirect, Envoy writes the port that goes without saying.
fn plain(answer: &str) -> String {
    let Some((status, rest)) = answer.split_once(' ') else { return answer.to_owned() };
    let parts = rest.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('/')?)));
    match parts {
        Some((scheme, (host, path))) if status.starts_with('3') => {
            let unsaid = if scheme == "https" { ":443" } else { ":80" };
            format!("{status} {scheme}://{}/{path}", host.strip_suffix(unsaid).unwrap_or(host))
        }
        _ => answer.to_owned(),
    }
}
