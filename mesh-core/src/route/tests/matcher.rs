use super::*;

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
