use super::*;
use crate::string_match::Regex;

#[test]
fn prefixes_go_by_elements_and_exact_paths_by_bytes() {
    for (matching, yes, no) in [
        (prefix("/abc"), &["/abc", "/abc/", "/abc/d", "/abc?x"][..], &["/abcd", "/ABC", "/", "/ab"][..]),
        (prefix("/abc/"), &["/abc", "/abc/", "/abc/d"], &["/abcd"]),
        (prefix("/"), &["/", "/x", "/x/y"], &[]),
        (exact("/abc"), &["/abc", "/abc?x"], &["/abc/", "/Abc", "/abc/d"]),
        (
            HttpMatch { path: HttpPath::Regex(Regex::new("/a[0-9]").unwrap()), ..HttpMatch::default() },
            &["/a1"],
            &["/a12"],
        ),
    ] {
        let table = table(&[one("r", to("c", vec![matching.clone()]))]);
        for path in yes {
            assert_eq!(get(&table, &format!("http://h{path}"), &[]), "c", "{matching:?} {path}");
        }
        for path in no {
            assert_eq!(get(&table, &format!("http://h{path}"), &[]), "404", "{matching:?} {path}");
        }
    }
}

#[test]
fn any_match_of_a_rule_and_all_of_a_match() {
    let both = with_query(with_header(prefix("/a"), "x-a", "1"), "Q", "v");
    let table = table(&[one("r", to("c", vec![both, exact("/b")]))]);
    for (url, list, answer) in [
        ("http://h/a?Q=v", &[("x-a", "1")][..], "c"),
        ("http://h/a?z=1&Q=v&Q=w", &[("x-a", "1")], "c"),
        ("http://h/a?Q=w&Q=v", &[("x-a", "1")], "404"),
        ("http://h/a?q=v", &[("x-a", "1")], "404"),
        ("http://h/a?Q=V", &[("x-a", "1")], "404"),
        ("http://h/a?Q=v", &[("x-a", "2")], "404"),
        ("http://h/a?Q=v", &[], "404"),
        ("http://h/b", &[], "c"),
    ] {
        assert_eq!(get(&table, url, list), answer, "{url} {list:?}");
    }
}

#[test]
fn methods_and_connect() {
    let table = table(&[
        one("get", to("get", vec![with_method(prefix("/"), Method::GET)])),
        one("connect", to("connect", vec![with_method(prefix("/"), Method::CONNECT)])),
        one("patch", to("patch", vec![with_method(exact("/p"), Method::PATCH)])),
        one("all", to("all", vec![prefix("/all")])),
    ]);
    for (method, url, answer) in [
        (Method::GET, "http://h/p", "get"),
        (Method::PATCH, "http://h/p", "patch"),
        (Method::PUT, "http://h/p", "404"),
        (Method::CONNECT, "http://h:443", "connect"),
    ] {
        assert_eq!(ask(&table, &method, url, &[], 0), answer, "{method} {url}");
    }
}

#[test]
fn a_route_that_takes_everything_does_not_take_tunnels() {
    let connect = with_method(prefix("/"), Method::CONNECT);
    let table = table(&[
        http_route("ns", "all", &["a.com"], vec![to("all", vec![])]),
        http_route("ns", "tunnel", &[], vec![to("tunnel", vec![connect]), to("never", vec![])]),
    ]);
    assert_eq!(ask(&table, &Method::CONNECT, "http://a.com:443", &[], 0), "tunnel");
    assert_eq!(get(&table, "http://a.com/", &[]), "all");
    let names: Vec<_> = table
        .config()
        .hosts
        .iter()
        .find(|host| host.name == "a.com")
        .unwrap()
        .routes
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["ns/all/0", "ns/tunnel/0"], "what nobody reaches is left out");
}

#[test]
fn a_header_of_the_host_is_the_authority() {
    let table = table(&[one("r", to("c", vec![with_header(prefix("/"), "host", "a.com")]))]);
    assert_eq!((get(&table, "http://a.com/", &[]), get(&table, "http://b.com/", &[])), ("c".into(), "404".into()));
}

/// The situations of the reference, and what is answered.
#[test]
fn what_cannot_be_served_is_answered_with_its_error() {
    let of = |backends| table(&[one("r", Rule { matches: vec![prefix("/a")], backends, ..HttpRule::default() })]);
    for (backends, answer) in [
        (vec![], "500"),
        (vec![BackendRef::invalid(1)], "500"),
        (vec![BackendRef::invalid(1), BackendRef::invalid(7)], "500"),
        (vec![BackendRef::to("c", 0)], "500"),
        (vec![BackendRef::to("c", 0), BackendRef::invalid(1)], "500"),
        (vec![BackendRef::to("c", 0), BackendRef::to("d", 0)], "500"),
        (vec![BackendRef::to("c", 0), BackendRef::to("d", 1)], "d"),
        (vec![BackendRef::invalid(0), BackendRef::to("d", 1)], "d"),
    ] {
        let table = of(backends.clone());
        assert_eq!(get(&table, "http://h/a", &[]), answer, "{backends:?}");
        assert_eq!(get(&table, "http://h/b", &[]), "404");
    }
    let unresolved = Filter::Extension(Extension::Unresolved);
    let rule = HttpRule { filters: vec![unresolved], ..to("c", vec![]) };
    assert_eq!(get(&table(&[one("r", rule)]), "http://h/", &[]), "500", "a filter is never passed over");
    assert_eq!(get(&table(&[http_route("ns", "r", &[], vec![])]), "http://h/", &[]), "500", "the default rule");
}

#[test]
fn errors_of_calls_are_told_as_grpc_tells_them() {
    let mut route = GrpcRoute::new(RouteId::new("ns", "r"));
    let service = |name: &str| vec![GrpcMatch { method: Some(GrpcMethod::Service(name.into())), headers: vec![] }];
    route.rules = vec![
        to("c", service("p.Good")),
        Rule { backends: vec![BackendRef::invalid(1)], ..to("", service("p.Bad")) },
        Rule { backends: vec![], ..to("", service("p.None")) },
        Rule { backends: vec![BackendRef::invalid(1_000_000), BackendRef::to("c", 1)], ..to("", service("p.Partly")) },
    ];
    let table = grpc_table(&[route]);
    // Of 503 becomes `UNAVAILABLE`, of 404 `UNIMPLEMENTED`.
    for (path, answer) in [
        ("/p.Good/Do", "c"),
        ("/p.Bad/Do", "503"),
        ("/p.None/Do", "503"),
        ("/p.Partly/Do", "503"),
        ("/p.Other/Do", "404"),
    ] {
        assert_eq!(call(&table, path, &[]), answer, "{path}");
    }
}

#[test]
fn calls_are_told_by_service_and_method() {
    let exact = |service: &str, method: &str| GrpcMethod::Exact { service: service.into(), method: method.into() };
    let regex = |service, method| GrpcMethod::regex(service, method).unwrap();
    for (method, yes, no) in [
        (Some(exact("p.Svc", "Do")), &["/p.Svc/Do"][..], &["/p.svc/Do", "/p.Svc/Don", "/p.Svc/Do/x"][..]),
        (Some(GrpcMethod::Service("p.Svc".into())), &["/p.Svc/Do", "/p.Svc/Other"], &["/p.Svc2/Do", "/p.Svc"]),
        (Some(GrpcMethod::Method("Do".into())), &["/p.Svc/Do", "/q/Do"], &["/p.Svc/ToDo", "/p.Svc/do"]),
        (Some(regex(Some("p\\.[A-Z]+|q"), Some("Do|Undo"))), &["/p.SVC/Do", "/q/Undo"], &["/q/Redo", "/p.svc/Do"]),
        (Some(regex(None, Some("D.*"))), &["/any.Svc/Do"], &["/any.Svc/Undo"]),
        (Some(regex(Some("p.*"), None)), &["/p.Svc/Do"], &["/q/Do"]),
        (None, &["/p.Svc/Do"], &[]),
    ] {
        let mut route = GrpcRoute::new(RouteId::new("ns", "r"));
        route.rules = vec![to("c", vec![GrpcMatch { method: method.clone(), headers: vec![] }])];
        let table = grpc_table(&[route]);
        for path in yes {
            assert_eq!(call(&table, path, &[]), "c", "{method:?} {path}");
        }
        for path in no {
            assert_eq!(call(&table, path, &[]), "404", "{method:?} {path}");
        }
        assert_eq!(get(&table, "http://a.com/p.Svc/Do", &[]), "404", "no call");
    }
    for (service, method) in [(Some("("), None), (None, Some("a)|(b")), (Some("a{1000}{1000}"), Some("b"))] {
        assert!(GrpcMethod::regex(service, method).is_err(), "{service:?} {method:?}");
    }
}
