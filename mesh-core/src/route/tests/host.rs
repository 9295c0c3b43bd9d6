use super::*;

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
