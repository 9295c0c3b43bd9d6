use super::*;
use crate::name::Hostname;

fn name(text: &str) -> Hostname {
    text.parse().unwrap()
}

/// The table of the reference, row by row; a dash is no name.
#[test]
fn names_intersect_as_the_specification_says() {
    for (listener, route, shared) in [
        ("a.com", "a.com", Some("a.com")),
        ("x.a.com", "*.a.com", Some("x.a.com")),
        ("*.a.com", "x.a.com", Some("x.a.com")),
        ("*.a.com", "y.x.a.com", Some("y.x.a.com")),
        ("*.a.com", "*.a.com", Some("*.a.com")),
        ("*.a.com", "*.x.a.com", Some("*.x.a.com")),
        ("*.x.a.com", "*.a.com", Some("*.x.a.com")),
        ("*.a.com", "a.com", None),
        ("a.com", "*.a.com", None),
        ("x.a.com", "y.a.com", None),
        ("-", "*.a.com", Some("*.a.com")),
        ("-", "a.com", Some("a.com")),
        ("*.com", "x.a.com", Some("x.a.com")),
        ("*.xa.com", "*.a.com", None),
        ("A.COM.", "a.com", Some("a.com")),
    ] {
        let listener = (listener != "-").then(|| name(listener));
        let found = intersection(listener.as_ref(), &name(route));
        assert_eq!(found, shared.map(name), "{listener:?} {route}");
        assert_eq!(intersects(listener.as_ref(), &[name("other.example.org"), name(route)]), {
            shared.is_some() || listener.is_none()
        });
        assert!(intersects(listener.as_ref(), &[]), "a route without names is for what its listener is for");
    }
}

/// What a route with these names on this listener serves.
#[test]
fn a_route_serves_the_names_it_shares_with_its_listener() {
    for (listener, hostnames, served, refused) in [
        (Some("x.a.com"), &["*.a.com"][..], &["x.a.com"][..], &["y.a.com", "y.x.a.com"][..]),
        (
            Some("*.a.com"),
            &["x.a.com", "y.x.a.com", "b.com"],
            &["x.a.com", "y.x.a.com"],
            &["z.a.com", "a.com", "b.com"],
        ),
        (Some("*.a.com"), &["*.a.com"], &["x.a.com", "y.x.a.com", "X.A.com:8080"], &["a.com"]),
        (Some("*.a.com"), &["*.x.a.com"], &["y.x.a.com"], &["x.a.com", "y.a.com"]),
        (Some("*.x.a.com"), &["*.a.com"], &["y.x.a.com"], &["x.a.com", "y.a.com"]),
        (Some("*.a.com"), &[], &["x.a.com"], &["b.com", "a.com"]),
        (Some("*.a.com"), &["a.com"], &[], &["a.com", "x.a.com"]),
        (None, &["a.com"], &["a.com", "a.com:1234", "A.COM"], &["b.com", "x.a.com"]),
        (None, &[], &["a.com", "[::1]:80", "10.0.0.1"], &[]),
    ] {
        let route = http_route("ns", "r", hostnames, vec![to("c", vec![])]);
        let table = RouteTable::new(config(Entry::http(80), listener, &[route])).unwrap();
        for host in served {
            assert_eq!(get(&table, &format!("http://{host}/"), &[]), "c", "{listener:?} {hostnames:?} {host}");
        }
        for host in refused {
            assert_eq!(get(&table, &format!("http://{host}/"), &[]), "404", "{listener:?} {hostnames:?} {host}");
        }
    }
}

#[test]
fn listeners_of_one_port_do_not_share_their_routes() {
    let all = [http_route("ns", "all", &[], vec![to("all", vec![prefix("/")])])];
    let wide = [
        http_route("ns", "wide", &[], vec![to("wide", vec![prefix("/wide")])]),
        http_route("ns", "stolen", &["x.a.com"], vec![to("stolen", vec![])]),
        http_route("ns", "below", &["z.a.com"], vec![to("below", vec![prefix("/z")])]),
    ];
    let narrow = [http_route("ns", "narrow", &[], vec![to("narrow", vec![prefix("/narrow")])])];
    // One that would reach into another listener by the names of its routes.
    let reaching = [http_route("ns", "reaching", &["y.a.com", "*.b.a.com", "c.com"], vec![to("reaching", vec![])])];
    let of = |hostname: Option<&str>, routes| Listener { hostname: hostname.map(name), http: routes, grpc: vec![] };
    let listeners = [
        of(None, all.iter().chain(&reaching).collect()),
        of(Some("*.a.com"), wide.iter().collect()),
        of(Some("x.a.com"), narrow.iter().collect()),
        of(Some("empty.a.com"), vec![]),
        of(Some("x.a.com"), all.iter().collect()),
    ];
    let table = RouteTable::new(listener_routes("test", Entry::http(80), &listeners)).unwrap();
    for (url, answer) in [
        ("http://b.com/", "all"),
        ("http://c.com/", "reaching"),
        ("http://x.a.com/narrow", "narrow"),
        ("http://x.a.com/", "404"),
        ("http://x.a.com/wide", "404"),
        ("http://y.a.com/wide", "wide"),
        ("http://y.a.com/", "404"),
        ("http://z.b.a.com/", "404"),
        ("http://z.a.com/z", "below"),
        ("http://z.a.com/wide", "wide"),
        ("http://empty.a.com/wide", "404"),
    ] {
        assert_eq!(get(&table, url, &[]), answer, "{url}");
    }
}

#[test]
fn a_route_that_is_for_a_host_by_several_names_is_there_once() {
    let route = http_route("ns", "r", &["x.a.com", "*.a.com", "*.com"], vec![to("c", vec![prefix("/p")])]);
    let config = config(Entry::http(80), None, &[route]);
    let host = config.hosts.iter().find(|host| host.name == "x.a.com").unwrap();
    assert_eq!(host.routes.len(), 1);
}

#[test]
fn where_both_kinds_are_for_a_host_calls_go_first() {
    let http = http_route("ns", "a", &[], vec![to("http", vec![exact("/p.Svc/Do")])]);
    let mut grpc = GrpcRoute::new(RouteId::new("ns", "z"));
    grpc.rules = vec![to("grpc", vec![])];
    let listener = Listener { hostname: None, http: vec![&http], grpc: vec![&grpc] };
    let table = RouteTable::new(listener_routes("test", Entry::http(80), &[listener])).unwrap();
    assert_eq!((call(&table, "/p.Svc/Do", &[]), get(&table, "http://h/p.Svc/Do", &[])), ("grpc".into(), "http".into()));
}
