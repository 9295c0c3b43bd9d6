use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::request::{Condition, Field, HeaderMatch, Request};
use crate::string_match::{Pattern, Regex, Substitution};

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn get<'a>(authority: &'a str, target: &'a str, headers: &'a HeaderMap) -> Request<'a> {
    Request::new(&Method::GET, authority, target, headers)
}

fn forward(cluster: &str) -> Action {
    Action::Forward(Box::new(Forward::to(cluster)))
}

fn route(path: PathMatch, action: Action) -> Route {
    Route::new(RouteMatch::new(path), action)
}

fn host(domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    let name = domains.first().copied().unwrap_or_default().into();
    let domains = domains.iter().map(|domain| (*domain).into()).collect();
    VirtualHost { name, domains, routes, ..VirtualHost::default() }
}

fn table(hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable::new(RouteConfig { hosts, ..RouteConfig::default() }).unwrap()
}

/// A table whose one route does this with everything.
fn only(action: Action) -> RouteTable {
    table(vec![host(&["*"], vec![route(PathMatch::prefix("/"), action)])])
}

#[test]
fn hosts_are_chosen_in_envoys_order() {
    let domains = ["www.Foo.com", "*.foo.com", "*-bar.foo.com", "foo.*", "foo-*", "foo.co*", "*", "a:80", "[::1]"];
    let hosts = domains.map(|domain| host(&[domain], vec![])).to_vec();
    let config = RouteConfig { hosts, ..RouteConfig::default() };
    let strict = RouteTable::new(config.clone()).unwrap();
    let lax = RouteTable::new(RouteConfig { ignore_port: true, ..config }).unwrap();
    let none = HeaderMap::new();
    for (authority, with_port, without_port) in [
        ("www.foo.com", "www.Foo.com", "www.Foo.com"),
        ("WWW.FOO.COM", "www.Foo.com", "www.Foo.com"),
        ("x.foo.com", "*.foo.com", "*.foo.com"),
        ("y.x.foo.com", "*.foo.com", "*.foo.com"),
        ("x-bar.foo.com", "*-bar.foo.com", "*-bar.foo.com"),
        ("-bar.foo.com", "*.foo.com", "*.foo.com"),
        (".foo.com", "*", "*"),
        ("foo.com", "foo.co*", "foo.co*"),
        ("foo.org", "foo.*", "foo.*"),
        ("foo.", "*", "*"),
        ("foo-x", "foo-*", "foo-*"),
        ("www.foo.com:80", "*", "www.Foo.com"),
        ("a:80", "a:80", "*"),
        ("[::1]:443", "*", "[::1]"),
        ("::1", "*", "*"),
        ("", "*", "*"),
    ] {
        let chosen = [&strict, &lax].map(|table| table.host(&get(authority, "/", &none)).unwrap().name.as_str());
        assert_eq!(chosen, [with_port, without_port], "{authority}");
    }
}

#[test]
fn another_header_may_name_the_host() {
    let config = RouteConfig {
        hosts: vec![host(&["*"], vec![]), host(&["a"], vec![])],
        host_header: Some(http::HeaderName::from_static("x-host")),
        ..RouteConfig::default()
    };
    let table = RouteTable::new(config).unwrap();
    assert_eq!(table.host(&get("b", "/", &headers(&[("x-host", "a")]))).unwrap().name, "a");
    assert_eq!(table.host(&get("a", "/", &HeaderMap::new())), None);
}

#[test]
fn a_domain_stands_in_a_table_once() {
    for (one, other) in [("a", "A"), ("*", "*"), ("*.a", "*.A"), ("a.*", "a.*")] {
        let hosts = vec![host(&[one], vec![]), host(&[other], vec![])];
        let error = RouteTable::new(RouteConfig { hosts, ..RouteConfig::default() }).unwrap_err();
        assert_eq!(error, TableError::DuplicateDomain { domain: other.into() });
    }
    let hosts = vec![host(&[""], vec![])];
    let error = RouteTable::new(RouteConfig { hosts, ..RouteConfig::default() }).unwrap_err();
    assert_eq!(error, TableError::EmptyDomain);
}

/// The rule as it is written, domain by domain.
fn naive<'a>(domains: &'a [String], name: &str) -> Option<&'a String> {
    let name = name.to_ascii_lowercase();
    let rank = |domain: &&String| {
        let domain = domain.to_ascii_lowercase();
        let fits = |text: &str| name.len() > text.len();
        if domain == "*" {
            Some((1, 0))
        } else if let Some(suffix) = domain.strip_prefix('*') {
            (fits(suffix) && name.ends_with(suffix)).then_some((3, suffix.len()))
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (fits(prefix) && name.starts_with(prefix)).then_some((2, prefix.len()))
        } else {
            (domain == name).then_some((4, 0))
        }
    };
    domains.iter().filter(|domain| rank(domain).is_some()).max_by_key(rank)
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(
        domains in prop::collection::vec("\\*?[abA.]{0,3}\\*?|\\*", 0..12),
        names in prop::collection::vec("[abB.]{0,5}", 1..20),
    ) {
        let mut seen = std::collections::HashSet::new();
        let fresh = |domain: &String| !domain.is_empty() && seen.insert(domain.to_ascii_lowercase());
        let domains: Vec<String> = domains.into_iter().filter(fresh).collect();
        let table = table(domains.iter().map(|domain| host(&[domain], vec![])).collect());
        let none = HeaderMap::new();
        for name in names {
            let found = table.host(&get(&name, "/", &none)).map(|host| host.name.as_str());
            prop_assert_eq!(found, naive(&domains, &name).map(String::as_str), "{} in {:?}", name, domains);
        }
    }

    #[test]
    fn weights_count_whatever_the_number(weights in prop::collection::vec(0_u32..1000, 1..8), random: u64) {
        let clusters: Vec<_> = weights.iter().enumerate().map(|(at, w)| WeightedCluster::new(&at.to_string(), *w)).collect();
        let table = only(Action::Forward(Box::new(Forward::new(ClusterChoice::Weighted(WeightedClusters {
            clusters, choice: WeightedChoice::Random,
        })))));
        let none = HeaderMap::new();
        let request = get("a", "/", &none);
        let weighted = table.find(&request, random).unwrap().weighted;
        match weights.iter().any(|weight| *weight > 0) {
            true => prop_assert!(weighted.unwrap().weight > 0),
            false => prop_assert!(weighted.is_none()),
        }
    }

    #[test]
    fn back_off_stays_in_bounds(base in 1_u64..1000, max in prop::option::of(1_u64..100_000), retry in 1_u32..80, random: u64) {
        let back_off = BackOff { base: Duration::from_millis(base), max: max.map(Duration::from_millis) };
        let policy = RetryPolicy { back_off, ..RetryPolicy::default() };
        let bound = back_off.bound(retry);
        prop_assert!(policy.delay(retry, None, Duration::ZERO, random) < bound);
        prop_assert!(bound <= back_off.max.unwrap_or(back_off.base * 10));
        prop_assert!(back_off.bound(retry + 1) >= bound);
    }
}

#[test]
fn paths_match_as_they_say() {
    let regex = |source| PathMatch::Regex(Regex::new(source).unwrap());
    let either = true;
    for (matcher, yes, no) in [
        (PathMatch::exact("/a"), &["/a", "/a?b=c", "/a#f"][..], &["/a/", "/A", "/ab", "/"][..]),
        (PathMatch::Exact { path: "/a".into(), ignore_case: either }, &["/A", "/a"], &["/ab"]),
        (PathMatch::prefix("/a"), &["/a", "/ab", "/a/b?c"], &["/A", "/", "/b?/a"]),
        (PathMatch::Prefix { prefix: "/A".into(), ignore_case: either }, &["/ab", "/AB"], &["/b"]),
        (
            PathMatch::Separated { prefix: "/a".into(), ignore_case: false },
            &["/a", "/a/", "/a/b", "/a?x"],
            &["/ab", "/A/b"],
        ),
        (PathMatch::Separated { prefix: "/a".into(), ignore_case: either }, &["/A/b"], &["/Ab"]),
        (regex("/[0-9]+"), &["/12", "/12?x"], &["/", "/1a", "x/1"]),
        (regex("/a|/b"), &["/a", "/b"], &["/ab"]),
    ] {
        let table = table(vec![host(&["*"], vec![route(matcher.clone(), Action::NonForwarding)])]);
        let none = HeaderMap::new();
        for target in yes {
            assert!(table.find(&get("a", target, &none), 0).is_ok(), "{matcher:?} should match {target}");
        }
        for target in no {
            assert_eq!(
                table.find(&get("a", target, &none), 0).unwrap_err(),
                Unrouted::NoRoute,
                "{matcher:?}, {target}"
            );
        }
    }
}

#[test]
fn connect_needs_its_own_matcher_when_it_has_no_path() {
    let none = HeaderMap::new();
    let request = |target| Request::new(&Method::CONNECT, "a:443", target, &none);
    let connect = table(vec![host(&["*"], vec![route(PathMatch::Connect, forward("c"))])]);
    let any = only(forward("c"));
    let all = table(vec![host(&["*"], vec![route(PathMatch::Regex(Regex::new(".*").unwrap()), forward("c"))])]);
    assert!(connect.find(&request(""), 0).is_ok() && connect.find(&request("/"), 0).is_ok());
    assert!(connect.find(&get("a", "/", &none), 0).is_err());
    assert!(
        any.find(&request(""), 0).is_err() && all.find(&request(""), 0).is_err() && any.find(&request("/"), 0).is_ok()
    );
}

#[test]
fn all_conditions_must_hold_and_the_first_route_wins() {
    let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
    matcher.headers = vec![HeaderMatch::new("h".parse().unwrap(), Condition::Present(true))];
    matcher.query = vec![
        QueryMatch { name: "q".into(), condition: QueryCondition::Text(Pattern::exact("1")) },
        QueryMatch { name: "r".into(), condition: QueryCondition::Present(false) },
    ];
    matcher.grpc = true;
    let routes = vec![Route::new(matcher, forward("special")), route(PathMatch::prefix("/"), forward("general"))];
    let table = table(vec![host(&["*"], routes)]);
    let grpc = ("content-type", "application/grpc");
    for (target, list, cluster) in [
        ("/?q=1", &[("h", ""), grpc][..], "special"),
        ("/?q=2", &[("h", ""), grpc], "general"),
        ("/?q=2&q=1", &[("h", ""), grpc], "general"),
        ("/", &[("h", ""), grpc], "general"),
        ("/?q=1&r", &[("h", ""), grpc], "general"),
        ("/?q=1", &[grpc], "general"),
        ("/?q=1", &[("h", "")], "general"),
    ] {
        let list = headers(list);
        let request = get("a", target, &list);
        assert_eq!(table.find(&request, 0).unwrap().cluster(&request), Some(cluster), "{target} {list:?}");
    }
}

#[test]
fn a_missing_cookie_is_unlike_any() {
    for (invert, cookies) in [(false, ["1", "", ""]), (true, ["", "1", "1"])] {
        let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
        matcher.cookies = vec![CookieMatch { name: "c".into(), pattern: Pattern::exact("x"), invert }];
        let table = table(vec![host(&["*"], vec![Route::new(matcher, forward("c"))])]);
        let sent = [&[("cookie", "b=y; c=x")][..], &[("cookie", "c=y; c=x")], &[]];
        for (sent, expected) in sent.into_iter().zip(cookies) {
            assert_eq!(table.find(&get("a", "/", &headers(sent)), 0).is_ok(), expected == "1", "{sent:?} {invert}");
        }
    }
}

#[test]
fn a_client_is_told_by_its_identity() {
    let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
    matcher.peer = vec![
        Pattern::prefix("spiffe://mesh.example/"),
        Pattern::Regex(Regex::new("spiffe://[^/]+/ns/shop/.*").unwrap()),
    ];
    let table = table(vec![host(&["*"], vec![Route::new(matcher, forward("c"))])]);
    let none = HeaderMap::new();
    for (peer, expected) in [
        (Some("spiffe://mesh.example/ns/shop/sa/web"), true),
        (Some("spiffe://other.example/ns/shop/sa/web"), false),
        (Some("spiffe://mesh.example/ns/shop2/sa/web"), false),
        (None, false),
    ] {
        let mut request = get("a", "/", &none);
        request.head.peer = peer;
        assert_eq!(table.find(&request, 0).is_ok(), expected, "{peer:?}");
    }
}

#[test]
fn a_fraction_takes_its_part_of_the_numbers() {
    let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
    matcher.fraction = Some(Fraction { numerator: 250, denominator: Denominator::TenThousand });
    let table = table(vec![host(&["*"], vec![Route::new(matcher, forward("c"))])]);
    let none = HeaderMap::new();
    let taken = (0..10_000).filter(|random| table.find(&get("a", "/", &none), *random).is_ok()).count();
    assert_eq!(taken, 250);
}

#[test]
fn path_parameters_are_left_out_only_where_that_is_said() {
    let hosts = vec![host(&["*"], vec![route(PathMatch::exact("/a"), forward("c"))])];
    let config = RouteConfig { hosts, ..RouteConfig::default() };
    let none = HeaderMap::new();
    let request = get("a", "/a;v=1?q", &none);
    assert!(RouteTable::new(config.clone()).unwrap().find(&request, 0).is_err());
    let config = RouteConfig { ignore_path_parameters: true, ..config };
    assert!(RouteTable::new(config).unwrap().find(&request, 0).is_ok());
}

#[test]
fn a_host_for_tls_sends_the_rest_back() {
    let mut secure = host(&["*"], vec![route(PathMatch::prefix("/"), forward("c"))]);
    secure.require_tls = true;
    let (table, none) = (table(vec![secure]), HeaderMap::new());
    let mut request = get("a", "/", &none);
    assert_eq!(table.find(&request, 0).unwrap_err(), Unrouted::TlsRequired);
    request.head.scheme = "https";
    assert!(table.find(&request, 0).is_ok());
}

fn weighted(choice: WeightedChoice) -> Forward {
    let clusters = vec![WeightedCluster::new("a", 1), WeightedCluster::new("none", 0), WeightedCluster::new("b", 3)];
    Forward::new(ClusterChoice::Weighted(WeightedClusters { clusters, choice }))
}

#[test]
fn requests_are_divided_by_weight() {
    let table = only(Action::Forward(Box::new(weighted(WeightedChoice::Random))));
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    // A fixed sequence of well mixed numbers (SplitMix64 from 7).
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let chosen: Vec<_> =
        (0..10_000).map(|_| table.find(&request, next()).unwrap().cluster(&request).unwrap()).collect();
    let count = |name| chosen.iter().filter(|chosen| **chosen == name).count();
    assert_eq!(count("none"), 0);
    assert!((2350..2650).contains(&count("a")), "{}", count("a"));
    assert_eq!(count("a") + count("b"), 10_000);
}

#[test]
fn a_fraction_does_not_bend_the_weights() {
    let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
    matcher.fraction = Some(Fraction::percent(1));
    let action = Action::Forward(Box::new(weighted(WeightedChoice::Random)));
    let table = table(vec![host(&["*"], vec![Route::new(matcher, action)])]);
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    let numbers = (0..4000_u64).map(|high| (high << 32) | ((100 - ((high << 32) % 100)) % 100));
    let clusters = numbers.map(|random| table.find(&request, random).unwrap().cluster(&request).unwrap());
    assert_eq!(clusters.filter(|cluster| *cluster == "a").count(), 1000);
}

#[test]
fn a_header_or_a_hash_may_choose_the_cluster() {
    let none = HeaderMap::new();
    let by_header = only(Action::Forward(Box::new(weighted(WeightedChoice::Header("x-n".parse().unwrap())))));
    for (number, cluster) in [("0", "a"), ("1", "b"), ("3", "b"), ("4", "a")] {
        let list = headers(&[("x-n", number)]);
        let request = get("a", "/", &list);
        assert_eq!(by_header.find(&request, 0).unwrap().cluster(&request), Some(cluster), "{number}");
    }
    let chosen = |random: u64| by_header.find(&get("a", "/", &none), random).unwrap().weighted.unwrap().weight;
    assert_eq!((chosen(0), chosen(1 << 32)), (1, 3));

    let mut forward = weighted(WeightedChoice::Hash);
    forward.hash = vec![HashPolicy { key: HashKey::Query("u".into()), terminal: false }];
    let by_hash = only(Action::Forward(Box::new(forward)));
    for user in 0..50 {
        let target = format!("/?u={user}");
        let request = get("a", &target, &none);
        let chosen =
            [0, 1 << 32, u64::MAX].map(|random| by_hash.find(&request, random).unwrap().weighted.unwrap().weight);
        assert!(chosen.iter().all(|weight| *weight == chosen[0]));
    }
}

#[test]
fn a_cluster_may_be_named_by_a_header() {
    let table = only(Action::Forward(Box::new(Forward::new(ClusterChoice::Header("x-c".parse().unwrap())))));
    for (list, cluster) in [(&[("x-c", "blue")][..], Some("blue")), (&[("x-c", "")], None), (&[], None)] {
        let list = headers(list);
        let request = get("a", "/", &list);
        assert_eq!(table.find(&request, 0).unwrap().cluster(&request), cluster);
    }
}

fn addition(name: &'static str, value: &str, action: AppendAction) -> Addition {
    let name = http::HeaderName::from_static(name);
    Addition { name, value: Template::new(value).unwrap(), action, keep_empty: false }
}

#[test]
fn append_actions_do_what_they_say() {
    use AppendAction as A;
    for (action, absent, present) in [
        (A::AppendIfExistsOrAdd, &["new"][..], &["old", "new"][..]),
        (A::AddIfAbsent, &["new"], &["old"]),
        (A::OverwriteIfExistsOrAdd, &["new"], &["new"]),
        (A::OverwriteIfExists, &[], &["new"]),
    ] {
        let mutation = Mutation { remove: vec![], add: vec![addition("h", "new", action)] };
        let none = HeaderMap::new();
        for (list, after) in [(&[][..], absent), (&[("h", "old")], present)] {
            let mut list = headers(list);
            mutation.edit_request(&get("a", "/", &none).head, &mut list);
            assert_eq!(list.get_all("h").iter().collect::<Vec<_>>(), after, "{action:?}");
        }
    }
}

#[test]
fn levels_edit_headers_in_envoys_order() {
    use AppendAction as A;
    let edits = |text: &str| {
        let request = Mutation {
            remove: vec![http::HeaderName::from_static("gone")],
            add: vec![addition("all", text, A::AppendIfExistsOrAdd), addition("last", text, A::OverwriteIfExistsOrAdd)],
        };
        HeaderEdits { response: request.clone(), request }
    };
    let mut forward = weighted(WeightedChoice::Random);
    if let ClusterChoice::Weighted(clusters) = &mut forward.cluster {
        clusters.clusters.iter_mut().for_each(|cluster| cluster.headers = edits("cluster"));
    }
    let mut route = route(PathMatch::prefix("/"), Action::Forward(Box::new(forward)));
    route.headers = edits("route");
    let mut host = host(&["*"], vec![route]);
    host.headers = edits("host");
    let config = RouteConfig { hosts: vec![host], headers: edits("config"), ..RouteConfig::default() };

    for (most_specific_headers_win, order) in
        [(false, ["cluster", "route", "host", "config"]), (true, ["cluster", "config", "host", "route"])]
    {
        let table = RouteTable::new(RouteConfig { most_specific_headers_win, ..config.clone() }).unwrap();
        let none = HeaderMap::new();
        let request = get("a", "/", &none);
        let selected = table.find(&request, 0).unwrap();
        let mut sent = headers(&[("gone", "1"), ("last", "0")]);
        let mut answered = sent.clone();
        selected.edit_request(&request.head, &mut sent);
        selected.edit_response(&request, &mut answered);
        for edited in [sent, answered] {
            assert_eq!(edited.get_all("all").iter().collect::<Vec<_>>(), order);
            assert_eq!(edited.get_all("last").iter().collect::<Vec<_>>(), [order[3]]);
            assert!(!edited.contains_key("gone"));
        }
    }
}

#[test]
fn values_of_headers_may_hold_parts_of_the_request() {
    let list = headers(&[("x-a", "abc"), ("y", "z")]);
    let mut request = get("shop:80", "/p?q", &list);
    request.head.source = Some("10.0.0.1".parse().unwrap());
    for (template, text) in [
        ("", ""),
        ("plain", "plain"),
        ("100%%", "100%"),
        ("%REQ(x-a)%", "abc"),
        ("%REQ(X-A):2%", "ab"),
        ("<%REQ(none?y)%|%REQ(none)%>", "<z|>"),
        ("%REQ(:authority)%%REQ(:path)%", "shop:80/p?q"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1"),
    ] {
        assert_eq!(Template::new(template).unwrap().render(&request.head, request.headers), text, "{template}");
    }
    for template in ["%", "a%b", "%REQ(a%", "%START_TIME%", "%REQ()%", "%REQ(a):x%", "%REQ(a b)%"] {
        assert!(Template::new(template).is_err(), "{template}");
    }
}

#[test]
fn an_empty_value_adds_nothing_unless_it_is_kept() {
    let mut kept = addition("h", "%REQ(none)%", AppendAction::OverwriteIfExistsOrAdd);
    let none = HeaderMap::new();
    let head = get("a", "/", &none).head;
    for (keep_empty, value) in [(false, "old"), (true, "")] {
        kept.keep_empty = keep_empty;
        let mut list = headers(&[("h", "old")]);
        Mutation { remove: vec![], add: vec![kept.clone()] }.edit_request(&head, &mut list);
        assert_eq!(list["h"], value);
    }
}

#[test]
fn paths_are_rewritten_and_queries_stay() {
    let prefix = |text: &str| PathRewrite::Prefix(text.into());
    let substitute = |pattern, with| PathRewrite::Substitute(Substitution::new(pattern, with).unwrap());
    let whole = |text| PathRewrite::Whole(Template::new(text).unwrap());
    let regex = PathMatch::Regex(Regex::new("/a.*").unwrap());
    for (matcher, rewrite, from, to) in [
        (PathMatch::prefix("/a/"), prefix("/"), "/a/b?c=/a/", "/b?c=/a/"),
        (PathMatch::Prefix { prefix: "/A".into(), ignore_case: true }, prefix("/b"), "/a/c", "/b/c"),
        (PathMatch::Separated { prefix: "/a".into(), ignore_case: false }, prefix("/b"), "/a?q", "/b?q"),
        (PathMatch::exact("/a"), prefix("/b"), "/a?q", "/b?q"),
        (regex, prefix("/b"), "/abc?q", "/b?q"),
        (PathMatch::prefix("/"), substitute("^/([a-z]+)/(.*)$", r"/\2/\1"), "/a/b?/x/y", "/b/a?/x/y"),
        (PathMatch::prefix("/"), whole("/n/%REQ(h)%"), "/a?q", "/n/v?q"),
        (PathMatch::prefix("/"), whole("%REQ(none)%"), "/a?q", "/a?q"),
    ] {
        let action = Action::Forward(Box::new(Forward { path: Some(rewrite), ..Forward::to("c") }));
        let table = table(vec![host(&["*"], vec![route(matcher, action)])]);
        let list = headers(&[("h", "v")]);
        let request = get("a", from, &list);
        assert_eq!(table.find(&request, 0).unwrap().target(&request).as_deref(), Some(to));
    }
}

#[test]
fn authorities_are_rewritten() {
    let path = HostRewrite::Path(Substitution::new("^/([a-z]+)/.*$", r"\1.example").unwrap());
    let list = headers(&[("x-h", "other"), ("x-h", "second"), ("x-e", "")]);
    for (rewrite, upstream, to) in [
        (HostRewrite::Literal("b".into()), Some("u"), Some("b")),
        (HostRewrite::Upstream, Some("u"), Some("u")),
        (HostRewrite::Upstream, None, None),
        (HostRewrite::Header("x-h".parse().unwrap()), None, Some("other")),
        (HostRewrite::Header("x-e".parse().unwrap()), None, None),
        (HostRewrite::Header("x-none".parse().unwrap()), None, None),
        (path, None, Some("shop.example")),
    ] {
        let table = only(Action::Forward(Box::new(Forward { host: Some(rewrite), ..Forward::to("c") })));
        let request = get("a", "/shop/x?y", &list);
        assert_eq!(table.find(&request, 0).unwrap().authority(&request, upstream).as_deref(), to);
    }
}

#[test]
fn a_cluster_has_the_last_word_about_the_subset_and_the_route_about_the_host() {
    let subset = |pairs: &[(&str, &str)]| -> Subset {
        pairs.iter().map(|(key, value)| ((*key).into(), MetadataValue::Text((*value).into()))).collect()
    };
    let cluster = WeightedCluster {
        host: Some("special".into()),
        subset: subset(&[("v", "2"), ("z", "b")]),
        ..WeightedCluster::new("c", 1)
    };
    let clusters = WeightedClusters { clusters: vec![cluster], choice: WeightedChoice::Random };
    let forward = Forward {
        host: Some(HostRewrite::Literal("general".into())),
        subset: subset(&[("v", "1"), ("w", "a")]),
        ..Forward::new(ClusterChoice::Weighted(clusters))
    };
    let (table, none) = (only(Action::Forward(Box::new(forward))), HeaderMap::new());
    let request = get("a", "/", &none);
    let selected = table.find(&request, 0).unwrap();
    assert_eq!(selected.authority(&request, None).as_deref(), Some("general"));
    assert_eq!(*selected.subset(), subset(&[("v", "2"), ("w", "a"), ("z", "b")]));
}

#[test]
fn redirects_change_what_they_say_and_no_more() {
    let https = || Redirect::to_https();
    let path = |path: &str| Some(RedirectPath::Whole(path.into()));
    let rewrite = |prefix: &str| Some(RedirectPath::Rewrite(PathRewrite::Prefix(prefix.into())));
    let plain = Redirect::default;
    for (redirect, authority, location) in [
        (plain(), "a:8080", "http://a:8080/p/x?q"),
        (https(), "a", "https://a/p/x?q"),
        (https(), "a:80", "https://a/p/x?q"),
        (https(), "a:8080", "https://a:8080/p/x?q"),
        (https(), "[::1]:80", "https://[::1]/p/x?q"),
        (Redirect { port: Some(8443), ..https() }, "a:80", "https://a:8443/p/x?q"),
        (Redirect { host: Some("b".into()), ..plain() }, "a:80", "http://b/p/x?q"),
        (Redirect { path: path("/n"), ..plain() }, "a", "http://a/n?q"),
        (Redirect { path: path("/n"), strip_query: true, ..plain() }, "a", "http://a/n"),
        (Redirect { path: path("/n?z"), strip_query: true, ..plain() }, "a", "http://a/n?z"),
        (Redirect { path: rewrite("/r"), ..plain() }, "a", "http://a/r/x?q"),
        (Redirect { strip_query: true, ..plain() }, "a", "http://a/p/x"),
    ] {
        let routes = vec![route(PathMatch::prefix("/p"), Action::Redirect(redirect.clone()))];
        let (table, none) = (table(vec![host(&["*"], routes)]), HeaderMap::new());
        let request = get(authority, "/p/x?q", &none);
        assert_eq!(table.find(&request, 0).unwrap().location(&request).as_deref(), Some(location), "{redirect:?}");
    }
}

fn policy(key: HashKey) -> HashPolicy {
    HashPolicy { key, terminal: false }
}

fn header_key(name: &str) -> HashKey {
    HashKey::Header { name: name.parse::<Field>().unwrap(), rewrite: None }
}

fn hash(policies: &[HashPolicy], request: &Request<'_>) -> Option<u64> {
    RequestHash::new(policies, request, None, 0).value
}

#[test]
fn hashes_are_those_of_every_other_implementation() {
    // XXH64 of "abc", as published with the algorithm.
    const ABC: u64 = 0x44BC_2CF5_AD77_0999;
    let list = headers(&[("h", "abc"), ("cookie", "c=abc")]);
    let mut request = get("a", "/?q=abc", &list);
    for key in [header_key("h"), HashKey::Query("q".into())] {
        assert_eq!(hash(&[policy(key)], &request), Some(ABC));
    }
    let cookie = CookieKey { name: "c".into(), lifetime: None, path: "".into(), attributes: vec![] };
    assert_eq!(hash(&[policy(HashKey::Cookie(cookie))], &request), Some(ABC));
    let both = [policy(header_key("h")), policy(header_key("none")), policy(HashKey::Query("q".into()))];
    assert_eq!(hash(&both, &request), Some(ABC.rotate_left(1) ^ ABC));
    let rewrite = Some(Substitution::new("x+", "b").unwrap());
    let rewritten = headers(&[("h", "axxxc")]);
    let key = HashKey::Header { name: "h".parse().unwrap(), rewrite };
    assert_eq!(hash(&[policy(key)], &get("a", "/", &rewritten)), Some(ABC));
    assert_eq!(hash(&[policy(HashKey::Source)], &request), None);
    request.head.source = Some("10.0.0.1".parse().unwrap());
    let text = headers(&[("h", "10.0.0.1")]);
    assert_eq!(hash(&[policy(HashKey::Source)], &request), hash(&[policy(header_key("h"))], &get("a", "/", &text)));
}

#[test]
fn the_order_of_values_does_not_count_and_terminal_ends() {
    let list = headers(&[("h", "2"), ("h", "1"), ("i", "3")]);
    let turned = headers(&[("h", "1"), ("h", "2"), ("i", "4")]);
    let key = policy(header_key("h"));
    let of = |policies: &[HashPolicy], list| hash(policies, &get("a", "/", list)).unwrap();
    assert_eq!(of(std::slice::from_ref(&key), &list), of(std::slice::from_ref(&key), &turned));
    let terminal = [HashPolicy { terminal: true, ..key.clone() }, policy(header_key("i"))];
    assert_eq!(of(&terminal, &list), of(&terminal, &turned));
    let open = [key, policy(header_key("i"))];
    assert_ne!(of(&open, &list), of(&open, &turned));
    let fallback = [HashPolicy { key: header_key("none"), terminal: true }, policy(header_key("i"))];
    assert_eq!(of(&fallback, &list), of(&[policy(header_key("i"))], &list));
}

#[test]
fn a_client_without_its_cookie_gets_one_that_hashes_alike() {
    let key = CookieKey {
        name: "c".into(),
        lifetime: Some(Duration::from_secs(60)),
        path: "/p".into(),
        attributes: vec![("SameSite".into(), "Strict".into()), ("Secure".into(), "".into())],
    };
    let policies = [policy(HashKey::Cookie(key))];
    let none = HeaderMap::new();
    let first = RequestHash::new(&policies, &get("a", "/", &none), None, 0xABCD);
    let (key, value) = first.cookies.first().unwrap();
    assert_eq!(key.set(value), "c=\"000000000000abcd\"; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly");
    let sent = headers(&[("cookie", &format!("c={value}"))]);
    let second = RequestHash::new(&policies, &get("a", "/", &sent), None, 1);
    assert_eq!((second.value, second.cookies.len()), (first.value, 0));
}

/// An outcome, then the tokens after which it is tried again.
#[test]
fn tokens_mean_what_envoy_means() {
    let plain = HeaderMap::new();
    let response = |status| Outcome::Response { status, headers: &plain };
    let (limited, overloaded) =
        (headers(&[("x-envoy-ratelimited", "true")]), headers(&[("x-envoy-overloaded", "true")]));
    let grpc = ["1", "4", "8", "13", "14", "2"].map(|code| headers(&[("grpc-status", code)]));
    let marked = headers(&[("x-again", "1")]);
    let of = |status, headers| Outcome::Response { status, headers };
    let cases = [
        (response(200), ""),
        (response(500), "5xx"),
        (response(503), "5xx gateway-error"),
        (response(504), "5xx gateway-error"),
        (response(505), "5xx"),
        (response(409), "retriable-4xx"),
        (response(404), ""),
        (response(418), "retriable-status-codes"),
        (of(200, &marked), "retriable-headers"),
        (of(429, &limited), "envoy-ratelimited"),
        (of(503, &limited), "envoy-ratelimited"),
        (of(503, &overloaded), ""),
        (of(200, &grpc[0]), "cancelled"),
        (of(200, &grpc[1]), "deadline-exceeded"),
        (of(200, &grpc[2]), "resource-exhausted"),
        (of(200, &grpc[3]), "internal"),
        (of(200, &grpc[4]), "unavailable"),
        (of(200, &grpc[5]), ""),
        (Outcome::ConnectFailure, "5xx gateway-error reset reset-before-request connect-failure"),
        (Outcome::Refused, "5xx gateway-error reset refused-stream"),
        (Outcome::Reset { sent: false }, "5xx gateway-error reset reset-before-request"),
        (Outcome::Reset { sent: true }, "5xx gateway-error reset"),
        (Outcome::PerTryTimeout, "5xx gateway-error reset"),
        (Outcome::Overflow, ""),
        (Outcome::Timeout, ""),
    ];
    let tokens = "5xx gateway-error reset reset-before-request connect-failure refused-stream envoy-ratelimited \
                  retriable-4xx retriable-status-codes retriable-headers http3-post-connect-failure cancelled \
                  deadline-exceeded internal resource-exhausted unavailable";
    for (outcome, expected) in cases {
        let retried = tokens.split(' ').filter(|token| {
            let policy = RetryPolicy {
                on: RetryOn::from_token(token).unwrap(),
                status_codes: vec![418],
                response_headers: vec![HeaderMatch::new("x-again".parse().unwrap(), Condition::Present(true))],
                ..RetryPolicy::default()
            };
            assert!(!policy.should_retry(outcome, 2), "one retry is the default");
            policy.should_retry(outcome, 1)
        });
        assert_eq!(retried.collect::<Vec<_>>().join(" "), expected, "{outcome:?}");
    }
    assert_eq!(RetryOn::from_token("5XX"), None);
    let set = RetryOn::RESET.and(RetryOn::GRPC_UNAVAILABLE);
    assert_eq!(set.to_string(), "reset,unavailable");
}

#[test]
fn only_requests_with_one_of_the_headers_are_tried_again() {
    let mut policy = RetryPolicy::default();
    let list = headers(&[("b", "1")]);
    let request = get("a", "/", &list);
    let present = |name: &str| HeaderMatch::new(name.parse().unwrap(), Condition::Present(true));
    for (names, allowed) in [(&[][..], true), (&["a"], false), (&["a", "b"], true)] {
        policy.request_headers = names.iter().map(|name| present(name)).collect();
        assert_eq!(policy.is_for(&request), allowed, "{names:?}");
    }
}

#[test]
fn back_off_grows_to_its_bound() {
    let back_off = BackOff::default();
    let bounds = [1, 2, 3, 4, 40].map(|retry| back_off.bound(retry).as_millis());
    assert_eq!(bounds, [25, 75, 175, 250, 250]);
    let policy = RetryPolicy::default();
    let waits = [0, u64::MAX / 2, u64::MAX].map(|random| policy.delay(2, None, Duration::ZERO, random).as_micros());
    assert_eq!(waits, [0, 37_499, 74_999]);
}

#[test]
fn the_server_may_say_when_to_come_again() {
    let header = |name: &'static str, format| ResetHeader { name: http::HeaderName::from_static(name), format };
    let headers_of_policy =
        vec![header("retry-after", ResetFormat::Seconds), header("reset", ResetFormat::UnixTimestamp)];
    let rate_limited = Some(RateLimitedBackOff { headers: headers_of_policy, max: Duration::from_secs(300) });
    let policy = RetryPolicy { rate_limited, ..RetryPolicy::default() };
    let now = Duration::from_secs(1000);
    for (list, least, most) in [
        (&[("retry-after", "10")][..], 10_000, 15_000),
        (&[("retry-after", "soon"), ("reset", "1004")], 4_000, 6_000),
        (&[("retry-after", "301"), ("reset", "1002")], 2_000, 3_000),
        (&[("reset", "999")], 0, 25),
        (&[("retry-after", "301")], 0, 25),
        (&[], 0, 25),
    ] {
        let list = headers(list);
        let wait = |random| policy.delay(1, Some(&list), now, random).as_millis();
        assert_eq!(wait(0), least, "{list:?}");
        assert!((most - 1..=most).contains(&wait(u64::MAX)), "{list:?}");
    }
}

#[test]
fn timeouts_follow_route_and_call() {
    let second = Duration::from_secs;
    let grpc = |timeout: &str| headers(&[("content-type", "application/grpc"), ("grpc-timeout", timeout)]);
    let of = |forward: &Forward, list: &HeaderMap| forward.timeouts(&get("a", "/", list));
    let plain = Forward::to("c");
    assert_eq!(of(&plain, &grpc("1S")), Timeouts { response: Some(second(15)), stream: None });
    let off = Forward { timeout: Some(Duration::ZERO), ..plain.clone() };
    assert_eq!(of(&off, &HeaderMap::new()).response, None);

    let grpc_timeout = Some(GrpcTimeout { max: second(10), offset: Some(second(2)) });
    let capped = Forward { grpc_timeout, ..plain.clone() };
    for (given, expected) in
        [("5S", 3), ("60S", 10), ("2S", 2), ("1M", 10), ("5000m", 3), ("x", 10), ("123456789n", 10)]
    {
        assert_eq!(of(&capped, &grpc(given)).response, Some(second(expected)), "{given}");
    }
    assert_eq!(of(&capped, &HeaderMap::new()).response, Some(second(15)), "not gRPC");

    let durations =
        StreamDuration { max: Some(second(50)), grpc_max: Some(Duration::ZERO), grpc_offset: Some(second(1)) };
    let streams = Forward { stream_duration: Some(durations), ..plain };
    assert_eq!(of(&streams, &grpc("99S")).stream, Some(second(98)));
    assert_eq!(of(&streams, &HeaderMap::new()).stream, Some(second(50)));
}

#[test]
fn mirrors_and_filters_come_from_the_most_specific_level() {
    let mirror =
        |name: &str| Mirror { cluster: ClusterName::Named(name.into()), fraction: None, keep_host: false, host: None };
    let disabled = || -> FilterOverrides { [("f".into(), FilterOverride::Disabled)].into() };
    let mut config = RouteConfig {
        hosts: vec![host(&["*"], vec![route(PathMatch::prefix("/"), forward("c"))])],
        mirrors: vec![mirror("config")],
        ..RouteConfig::default()
    };
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    let seen = |config: &RouteConfig| {
        let table = RouteTable::new(config.clone()).unwrap();
        let selected = table.find(&request, 0).unwrap();
        (selected.mirrors().to_vec(), selected.filter("f").is_some(), selected.filter("g").is_some())
    };
    assert_eq!(seen(&config), (vec![mirror("config")], false, false));
    config.hosts[0].mirrors = vec![mirror("host")];
    config.filters = disabled();
    assert_eq!(seen(&config), (vec![mirror("host")], true, false));
    config.hosts[0].routes[0].action =
        Action::Forward(Box::new(Forward { mirrors: vec![mirror("route"), mirror("more")], ..Forward::to("c") }));
    assert_eq!(seen(&config), (vec![mirror("route"), mirror("more")], true, false));
}

#[test]
fn a_copy_is_told_by_its_host() {
    let mut mirror = Mirror { cluster: ClusterName::Named("m".into()), fraction: None, keep_host: false, host: None };
    assert_eq!(mirror.authority("a"), "a-shadow");
    assert_eq!(mirror.authority("a:80"), "a-shadow:80");
    mirror.keep_host = true;
    assert_eq!(mirror.authority("a:80"), "a:80");
    mirror.host = Some("b".into());
    assert_eq!(mirror.authority("a:80"), "b");
}
