use std::cmp::Reverse;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::string_match::Regex;

/// Two routes that are both for a request; the first wins, however they are listed.
#[test]
fn the_more_special_match_wins_over_all_routes() {
    let any = || prefix("/");
    let regex = |source| HttpMatch { path: HttpPath::Regex(Regex::new(source).unwrap()), ..HttpMatch::default() };
    let header = |one| with_header(one, "x-a", "1");
    let two_headers = |one| with_header(header(one), "x-b", "1");
    let query = |one| with_query(one, "q", "1");
    let get = |one| with_method(one, Method::GET);
    type Asks<'a> = (&'a [&'a str], HttpMatch);
    let cases: Vec<(&str, Asks<'_>, Asks<'_>)> = vec![
        ("an exact host beats a wildcard", (&["x.a.com"], any()), (&["*.a.com"], exact("/p/q"))),
        ("a longer wildcard beats a shorter", (&["*.a.com"], any()), (&["*.com"], exact("/p/q"))),
        ("a wildcard beats no host", (&["*.com"], any()), (&[], exact("/p/q"))),
        ("an exact path beats an expression", (&[], exact("/p/q")), (&[], get(regex("/p/.*")))),
        ("an expression beats a prefix", (&[], regex("/.*")), (&[], get(prefix("/p/q")))),
        ("a longer expression beats a shorter", (&[], regex("/p/.*")), (&[], get(regex("/.*")))),
        ("an exact path beats a prefix", (&[], exact("/p/q")), (&[], two_headers(get(query(prefix("/p/q")))))),
        ("a longer prefix beats a shorter", (&[], prefix("/p/q")), (&[], two_headers(get(query(prefix("/p")))))),
        ("a method beats headers", (&[], get(prefix("/p"))), (&[], two_headers(prefix("/p")))),
        ("more headers beat fewer", (&[], two_headers(prefix("/p"))), (&[], query(header(prefix("/p"))))),
        ("a header beats a query", (&[], header(prefix("/p"))), (&[], query(prefix("/p")))),
        ("a query beats none", (&[], query(prefix("/p"))), (&[], prefix("/p"))),
        ("a path without conditions is a prefix of one character", (&[], prefix("/p")), (&[], header(any()))),
    ];
    for (why, winner, loser) in cases {
        // Age and name speak for the one that must lose.
        let mut first = http_route("ns", "z", winner.0, vec![to("winner", vec![winner.1])]);
        let second = http_route("ns", "a", loser.0, vec![to("loser", vec![loser.1])]);
        first.id.created = Duration::from_secs(9);
        let list = &[("x-a", "1"), ("x-b", "1")];
        for routes in [[first.clone(), second.clone()], [second.clone(), first.clone()]] {
            assert_eq!(super::get(&table(&routes), "http://x.a.com/p/q?q=1", list), "winner", "{why}");
        }
        assert_ne!(
            super::get(&table(&[second]), "http://x.a.com/p/q?q=1", list),
            "404",
            "{why}: the other one is for it too"
        );
    }
}

#[test]
fn then_age_then_name_then_the_order_in_the_route() {
    let of = |namespace, name, created| {
        let mut route = http_route(namespace, name, &[], vec![to(&format!("{namespace}/{name}"), vec![prefix("/p")])]);
        route.id.created = Duration::from_secs(created);
        route
    };
    for (one, other) in [
        (of("z", "z", 1), of("a", "a", 2)),
        (of("a", "z", 1), of("b", "a", 1)),
        (of("a", "a", 1), of("a", "b", 1)),
        // `-` comes before the slash that ends a namespace.
        (of("a-b", "z", 1), of("a", "a", 1)),
    ] {
        let winner = format!("{}/{}", one.id.namespace, one.id.name);
        for routes in [[one.clone(), other.clone()], [other.clone(), one.clone()]] {
            assert_eq!(get(&table(&routes), "http://h/p", &[]), winner);
        }
    }
    let rules = vec![to("first", vec![prefix("/a"), prefix("/p")]), to("second", vec![prefix("/p")])];
    assert_eq!(get(&table(&[http_route("ns", "r", &[], rules)]), "http://h/p", &[]), "first");
}

#[test]
fn of_conditions_for_one_name_the_first_counts() {
    let twice = with_header(with_header(prefix("/"), "x-a", "1"), "x-a", "2");
    let twice = with_query(with_query(twice, "q", "1"), "q", "2");
    let once = with_header(with_query(prefix("/"), "q", "1"), "x-a", "1");
    let mut old = one("old", to("old", vec![once]));
    old.id.created = Duration::ZERO;
    let mut young = one("young", to("young", vec![twice]));
    young.id.created = Duration::from_secs(1);
    assert_eq!(get(&table(&[young.clone()]), "http://h/?q=1", &[("x-a", "1")]), "young");
    assert_eq!(get(&table(&[young, old]), "http://h/?q=1", &[("x-a", "1")]), "old", "they count once");
}

#[test]
fn nobody_falls_through_to_another_rule() {
    let mut bad = to("", vec![prefix("/a/b")]);
    bad.backends = vec![BackendRef::invalid(1)];
    let routes = [one("bad", bad), one("good", to("good", vec![prefix("/")]))];
    assert_eq!(get(&table(&routes), "http://h/a/b/c", &[]), "500");
    assert_eq!(get(&table(&routes), "http://h/a/c", &[]), "good");
}

#[test]
fn calls_have_their_own_precedence() {
    let of = |service: &str, method: &str| match (service, method) {
        ("", "") => GrpcMatch::default(),
        (service, "") => GrpcMatch { method: Some(GrpcMethod::Service(service.into())), headers: vec![] },
        ("", method) => GrpcMatch { method: Some(GrpcMethod::Method(method.into())), headers: vec![] },
        (service, method) => {
            let (service, method) = (service.into(), method.into());
            GrpcMatch { method: Some(GrpcMethod::Exact { service, method }), headers: vec![] }
        }
    };
    let regex =
        |service, method| GrpcMatch { method: Some(GrpcMethod::regex(service, method).unwrap()), headers: vec![] };
    let header = |mut one: GrpcMatch| {
        let value = ValueMatch::Exact("1".into());
        one.headers.push(HeaderCondition { name: HeaderName::from_static("x-a"), value });
        one
    };
    for (winner, loser) in [
        (of("p.Svc", "Do"), header(of("p.Svc", ""))),
        (of("p.Svc", ""), header(of("", "Do"))),
        (of("", "Do"), header(of("", ""))),
        (header(of("p.Svc", "Do")), of("p.Svc", "Do")),
        (of("", "Do"), header(regex(Some("p\\..*"), Some("Do")))),
        (regex(Some("p\\..*"), None), header(of("", ""))),
    ] {
        let mut first = GrpcRoute::new(RouteId::new("ns", "z"));
        first.id.created = Duration::from_secs(9);
        first.rules = vec![to("winner", vec![winner.clone()])];
        let mut second = GrpcRoute::new(RouteId::new("ns", "a"));
        second.rules = vec![to("loser", vec![loser.clone()])];
        let table = grpc_table(&[second, first]);
        assert_eq!(call(&table, "/p.Svc/Do", &[("x-a", "1")]), "winner", "{winner:?} beats {loser:?}");
    }
}

/// The specification as it is written, match by match: the rule that a request belongs to.
fn naive(listener: Option<&str>, routes: &[HttpRoute], request: &Request<'_>) -> Option<String> {
    let host = request.head.authority.split(':').next().unwrap().to_ascii_lowercase();
    let is_for = |name: &str| match name.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => name == host,
    };
    if !listener.is_none_or(is_for) {
        return None;
    }
    let mut found = Vec::new();
    for route in routes {
        let names = route.hostnames.iter().map(crate::name::Hostname::as_str).filter(|name| is_for(name));
        let rank =
            names.map(|name| if name.starts_with('*') { (0, name.len()) } else { (name.len(), name.len()) }).max();
        let rank = if route.hostnames.is_empty() { Some((0, 0)) } else { rank };
        let Some(rank) = rank else { continue };
        for (at, rule) in route.rules.iter().enumerate() {
            for one in rule.matches.iter().filter(|one| holds(one, request)) {
                let path = match &one.path {
                    HttpPath::Exact(_) => (2, 0),
                    HttpPath::Regex(regex) => (1, regex.as_str().len()),
                    HttpPath::Prefix(prefix) => (0, prefix.as_str().trim_end_matches('/').len().max(1)),
                };
                let counts = (one.method.is_some(), one.headers.len(), one.query.len());
                let name = format!("{}/{}", route.id.namespace, route.id.name);
                found.push((Reverse((rank, path, counts)), route.id.created, name, at));
            }
        }
    }
    found.sort();
    found.first().map(|(_, _, name, at)| format!("{name}/{at}"))
}

fn holds(one: &HttpMatch, request: &Request<'_>) -> bool {
    let value = |value: &ValueMatch, given: &str| match value {
        ValueMatch::Exact(text) => *text == given,
        ValueMatch::Regex(regex) => regex.is_match(given),
    };
    let path = request.path();
    let by_path = match &one.path {
        HttpPath::Exact(exact) => *exact == path,
        HttpPath::Regex(regex) => regex.is_match(path),
        HttpPath::Prefix(prefix) => {
            let elements = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
            elements(path).starts_with(&elements(prefix.as_str().trim_end_matches('/')))
        }
    };
    by_path
        && one.method.as_ref().is_none_or(|method| method == request.head.method)
        && one
            .headers
            .iter()
            .all(|h| request.headers.get(&h.name).is_some_and(|v| value(&h.value, v.to_str().unwrap())))
        && one.query.iter().all(|q| request.query_value(q.name.as_str()).is_some_and(|v| value(&q.value, v)))
}

fn any_match() -> impl Strategy<Value = HttpMatch> {
    let path = prop_oneof![
        "/[ab]?(/[ab])?".prop_map(|path| HttpPath::Exact(path.into())),
        "/([ab]{1,2}(/[ab]/?)?)?".prop_map(|path| HttpPath::Prefix(path.into())),
        select(vec!["/a.*", "/.*", "/[ab]/b"]).prop_map(|source| HttpPath::Regex(Regex::new(source).unwrap())),
    ];
    let condition = prop_oneof![
        3 => "[12]".prop_map(|text| ValueMatch::Exact(text.into())),
        1 => Just(ValueMatch::Regex(Regex::new("[12]").unwrap())),
    ];
    let method = option::weighted(0.3, select(vec![Method::GET, Method::POST]));
    (path, vec(condition.clone(), 0..3), option::weighted(0.3, condition), method).prop_map(
        |(path, headers, query, method)| {
            let names = ["x-a", "x-b"].map(HeaderName::from_static);
            HttpMatch {
                path,
                headers: names.into_iter().zip(headers).map(|(name, value)| HeaderCondition { name, value }).collect(),
                query: query.into_iter().map(|value| QueryCondition { name: "q".into(), value }).collect(),
                method,
            }
        },
    )
}

const NAMES: [&str; 6] = ["a.com", "x.a.com", "*.a.com", "*.x.a.com", "*.com", "b.com"];

fn any_routes() -> impl Strategy<Value = Vec<HttpRoute>> {
    let route = (0..3_u64, vec(select(NAMES.to_vec()), 0..3), vec(vec(any_match(), 1..3), 1..4));
    vec(route, 1..8).prop_map(|routes| {
        let mut made = Vec::new();
        for (at, (created, hostnames, rules)) in routes.into_iter().enumerate() {
            let rules = rules.into_iter().map(|matches| to("c", matches)).collect();
            // Names in another order than the list.
            let mut route = http_route("ns", &format!("r{}", at * 5 % 8), &hostnames, rules);
            route.id.created = Duration::from_secs(created);
            made.push(route);
        }
        made
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_table_gives_the_rule_that_the_specification_names(
        listener in option::of(select(NAMES.to_vec())),
        routes in any_routes(),
        requests in vec(
            (
                select(vec!["a.com", "x.a.com", "y.x.a.com", "z.a.com:80", "b.com", "c.org"]),
                "/[ab]{0,2}(/[ab]?){0,2}(\\?q=[12])?",
                option::of("[12]"),
                option::of("[12]"),
                select(vec![Method::GET, Method::POST, Method::PUT]),
            ),
            1..16,
        ),
    ) {
        let table = RouteTable::new(config(Entry::http(80), listener, &routes)).unwrap();
        for (authority, target, a, b, method) in requests {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-a", a), ("x-b", b)] {
                headers.extend(value.map(|value| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())));
            }
            let request = Request::new(&method, authority, &target, &headers);
            let found = table.find(&request, 0).ok().map(|selected| selected.route.name.to_string());
            prop_assert_eq!(found, naive(listener, &routes, &request), "{} {} {:?} {:?}", authority, target, method, headers);
        }
    }
}
