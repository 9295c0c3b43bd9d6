use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Method};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::request::{Condition, HeaderMatch};
use crate::route::{
    Action, CookieMatch, Denominator, Fraction, QueryCondition, QueryMatch, RouteConfig, RouteMatch, RouteTable,
    VirtualHost,
};
use crate::string_match::{Pattern, Regex};

/// Compiled once: that takes longer than all else here.
static REGEXES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let sources = ["/a*", "/a/[aB]+", "/(a|B)/?", "/aB?.*", ".*", "(?i)/AB.*", "/a|/B.*"];
    sources.map(|source| Regex::new(source).unwrap()).to_vec()
});

/// Few letters, so that much collides.
fn path() -> impl Strategy<Value = PathMatch> {
    let text = "/[aB]{0,2}(/[aB]{1,2}){0,2}/?";
    prop_oneof![
        3 => (text, any::<bool>()).prop_map(|(path, ignore_case)| PathMatch::Exact { path: path.into(), ignore_case }),
        3 => (text, any::<bool>())
            .prop_map(|(prefix, ignore_case)| PathMatch::Prefix { prefix: prefix.into(), ignore_case }),
        3 => (text, any::<bool>()).prop_map(|(prefix, ignore_case)| {
            PathMatch::Separated { prefix: prefix.trim_end_matches('/').into(), ignore_case }
        }),
        1 => Just(PathMatch::prefix("")),
        2 => select(REGEXES.to_vec()).prop_map(PathMatch::Regex),
        1 => Just(PathMatch::Connect),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        6 => "[12]".prop_map(|text| Pattern::exact(&text)),
        1 => "[a1]?".prop_map(|text| Pattern::Exact { text: text.into(), ignore_case: true }),
        1 => "[12]?".prop_map(|text| Pattern::prefix(&text)),
        1 => Just(Pattern::exact("")),
        1 => Just(Pattern::exact("1,2")),
    ]
}

fn header() -> impl Strategy<Value = HeaderMatch> {
    let name = select(vec!["x-a", "x-a", "x-b", ":method", ":authority"]);
    let method = select(vec!["GET", "POST"]).prop_map(Pattern::exact);
    let condition = prop_oneof![
        4 => pattern().prop_map(Condition::Text),
        2 => method.prop_map(Condition::Text),
        1 => any::<bool>().prop_map(Condition::Present),
    ];
    (name, condition, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(name, condition, invert, missing_as_empty)| HeaderMatch {
            name: name.parse().unwrap(),
            condition,
            invert,
            missing_as_empty,
        },
    )
}

fn query() -> impl Strategy<Value = QueryMatch> {
    ("[pq]", pattern(), prop::bool::weighted(0.2)).prop_map(|(name, pattern, present)| {
        let condition = if present { QueryCondition::Present(true) } else { QueryCondition::Text(pattern) };
        QueryMatch { name: name.into(), condition }
    })
}

fn cookie() -> impl Strategy<Value = CookieMatch> {
    ("[cd]", pattern(), prop::bool::weighted(0.2)).prop_map(|(name, pattern, invert)| CookieMatch {
        name: name.into(),
        pattern,
        invert,
    })
}

fn matcher() -> impl Strategy<Value = RouteMatch> {
    let fraction = (0..=100_u32).prop_map(|numerator| Fraction { numerator, denominator: Denominator::Hundred });
    let values = (vec(header(), 0..3), vec(query(), 0..2), vec(cookie(), 0..2));
    (path(), values, prop::bool::weighted(0.05), option::weighted(0.1, fraction)).prop_map(
        |(path, (headers, query, cookies), grpc, fraction)| RouteMatch {
            headers,
            query,
            cookies,
            grpc,
            fraction,
            ..RouteMatch::new(path)
        },
    )
}

fn value() -> impl Strategy<Value = &'static str> {
    select(vec!["1", "2", "a", "A", "", "1,2"])
}

#[derive(Debug)]
struct Sent {
    method: Method,
    target: String,
    headers: HeaderMap,
    random: u64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = select(vec![Method::GET, Method::GET, Method::POST, Method::CONNECT]);
    let target = "(/[aAbB]{0,2}){0,4}/?(\\?(p=[12]?)?(&q=[12])?(&p=1)?)?";
    let list = vec((select(vec!["x-a", "x-b"]), value()), 0..4);
    let cookies = option::of((value(), value()).prop_map(|(c, d)| format!("c={c}; d={d}")));
    (method, target, list, cookies, any::<bool>(), any::<u64>()).prop_map(
        |(method, target, list, cookies, grpc, random)| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(name, HeaderValue::from_static(value));
            }
            if let Some(cookies) = cookies {
                headers.insert("cookie", HeaderValue::from_str(&cookies).unwrap());
            }
            if grpc {
                headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            }
            Sent { method, target, headers, random }
        },
    )
}

fn table(matchers: Vec<RouteMatch>) -> RouteTable {
    let routes = matchers.into_iter().map(|matcher| Route::new(matcher, Action::NonForwarding)).collect();
    let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
    RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap()
}

/// The rule as it is written, route by route.
fn naive(table: &RouteTable, request: &Request<'_>, random: u64) -> Option<usize> {
    let routes = &table.config().hosts[0].routes;
    routes.iter().position(|route| route.matcher.is_match(request, request.path(), random))
}

fn found(table: &RouteTable, request: &Request<'_>, random: u64) -> Option<usize> {
    let routes = &table.config().hosts[0].routes;
    let selected = table.find(request, random).ok()?;
    routes.iter().position(|route| std::ptr::eq(route, selected.route))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_first_route_is_found_among_any(matchers in vec(matcher(), 0..120), requests in vec(sent(), 1..24)) {
        let table = table(matchers);
        for sent in requests {
            let request = Request::new(&sent.method, "1", &sent.target, &sent.headers);
            prop_assert_eq!(found(&table, &request, sent.random), naive(&table, &request, sent.random), "{:?}", sent);
        }
    }

    #[test]
    fn routes_of_one_path_are_told_apart(
        values in vec((vec(header(), 0..3), vec(query(), 0..3), vec(cookie(), 0..2)), 20..200),
        requests in vec(sent(), 1..24),
    ) {
        let matcher =
            |(headers, query, cookies)| RouteMatch { headers, query, cookies, ..RouteMatch::new(PathMatch::prefix("/")) };
        let table = table(values.into_iter().map(matcher).collect());
        for sent in requests {
            let request = Request::new(&sent.method, "2", &sent.target, &sent.headers);
            prop_assert_eq!(found(&table, &request, sent.random), naive(&table, &request, sent.random), "{:?}", sent);
        }
    }
}

/// How many of these routes are tested for a request.
fn tested(matchers: Vec<RouteMatch>, target: &str, list: &[(&'static str, &'static str)]) -> usize {
    let routes: Vec<_> = matchers.into_iter().map(|matcher| Route::new(matcher, Action::NonForwarding)).collect();
    let index = RouteIndex::new(&routes);
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let request = Request::new(&Method::GET, "a", target, &headers);
    let mut search = Search::new(&routes, &request, request.path(), 0);
    index.paths.as_ref().unwrap().visit(&mut search);
    search.tested
}

fn asking(path: PathMatch, headers: &[(&str, String)]) -> RouteMatch {
    let header = |(name, value): &(&str, String)| {
        HeaderMatch::new(name.parse().unwrap(), Condition::Text(Pattern::exact(value)))
    };
    RouteMatch { headers: headers.iter().map(header).collect(), ..RouteMatch::new(path) }
}

#[test]
fn few_of_many_routes_are_tested() {
    let of = |route: &dyn Fn(usize) -> RouteMatch| (0..10_000).map(route).collect::<Vec<_>>();
    let paths = of(&|n| RouteMatch::new(PathMatch::exact(&format!("/p/{n}"))));
    assert_eq!(tested(paths, "/p/9999?q", &[]), 1);
    let folded = of(&|n| RouteMatch::new(PathMatch::Exact { path: format!("/P/{n}").into(), ignore_case: true }));
    assert_eq!(tested(folded, "/p/9999", &[]), 1);
    let prefixes = of(&|n| RouteMatch::new(PathMatch::prefix(&format!("/p/{n}/"))));
    assert_eq!(tested(prefixes, "/p/9999/x/y", &[]), 1);
    let separated =
        of(&|n| RouteMatch::new(PathMatch::Separated { prefix: format!("/p/{n}").into(), ignore_case: false }));
    assert!(tested(separated, "/p/9999/x/y", &[]) <= 4, "`/p/9`, `/p/99`, `/p/999` and `/p/9999`");
    let regex = |n| RouteMatch::new(PathMatch::Regex(Regex::new(&format!("/p{n}/[a-z]+")).unwrap()));
    assert_eq!(tested((0..100).map(regex).collect(), "/p99/x", &[]), 1);

    let root = || PathMatch::prefix("/");
    let tenants = of(&|n| asking(root(), &[("x-on", "1".into()), ("x-tenant", n.to_string())]));
    assert_eq!(tested(tenants, "/", &[("x-on", "1"), ("x-tenant", "9999")]), 1);
    let nested = of(&|n| asking(root(), &[("x-a", (n / 100).to_string()), ("x-b", (n % 100).to_string())]));
    assert_eq!(tested(nested, "/", &[("x-a", "99"), ("x-b", "99")]), 1);
    let either = of(&|n| match n % 2 {
        0 => asking(root(), &[("x-a", n.to_string())]),
        _ => asking(root(), &[("x-b", n.to_string())]),
    });
    assert_eq!(tested(either, "/", &[("x-a", "9998"), ("x-b", "9999")]), 1, "the first of both");
}
