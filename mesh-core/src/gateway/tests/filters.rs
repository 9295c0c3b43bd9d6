use std::time::Duration;

use super::*;
use crate::route::{FilterOverride, Fraction, RedirectStatus, SessionState};

fn filtered(matching: HttpMatch, filter: Filter) -> HttpRule {
    HttpRule { filters: vec![filter], ..to("c", vec![matching]) }
}

fn rewritten(matching: HttpMatch, path: PathModifier) -> RouteTable {
    let rewrite = UrlRewrite { hostname: None, path: Some(path) };
    table(&[one("r", filtered(matching, Filter::Rewrite(rewrite)))])
}

fn redirected(entry: Entry, hostname: Option<&str>, matching: HttpMatch, redirect: RequestRedirect) -> RouteTable {
    let rule = HttpRule { filters: vec![Filter::Redirect(redirect)], matches: vec![matching], ..HttpRule::default() };
    let route = http_route("ns", "r", hostname.as_slice(), vec![rule]);
    RouteTable::new(config(entry, None, &[route])).unwrap()
}

/// The table of the reference.
#[test]
fn prefixes_are_replaced_by_elements() {
    for (request, matched, replacement, result) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/a.b/c", "/a.b", "", "/c"),
        ("/foo/foo/x", "/foo", "", "/foo/x"),
        ("/foo//bar", "/foo", "/", "/bar"),
        ("/foo?q=/foo/", "/foo", "/xyz", "/xyz?q=/foo/"),
        ("/foo/bar?q", "/foo", "/", "/bar?q"),
    ] {
        let modifier = PathModifier::Prefix(replacement.into());
        let table = rewritten(prefix(matched), modifier.clone());
        assert_eq!(get(&table, &format!("http://h{request}"), &[]), format!("c {result}"), "{matched} {replacement:?}");
        // The same in a redirect.
        let redirect = RequestRedirect { path: Some(modifier), ..RequestRedirect::default() };
        let table = redirected(Entry::http(80), Some("h"), prefix(matched), redirect);
        assert_eq!(get(&table, &format!("http://h{request}"), &[]), format!("302 http://h{result}"));
    }
    let unchanged = rewritten(prefix("/"), PathModifier::Prefix("/".into()));
    assert_eq!(get(&unchanged, "http://h/foo", &[]), "c");
    // There is no prefix that could be replaced; the filter is not passed over.
    let unusable = rewritten(exact("/foo"), PathModifier::Prefix("/xyz".into()));
    assert_eq!(get(&unusable, "http://h/foo", &[]), "500");
}

#[test]
fn whole_paths_are_replaced_and_queries_stay() {
    for (path, result) in
        [("/n", "/n?q=1"), ("n", "/n?q=1"), ("", "/?q=1"), (r"/\1", r"/\1?q=1"), ("/100%", "/100%?q=1")]
    {
        let table = rewritten(prefix("/a"), PathModifier::Full(path.into()));
        assert_eq!(get(&table, "http://h/a/b/c?q=1", &[]), format!("c {result}"));
    }
}

#[test]
fn hosts_are_rewritten_and_kept_with_their_port_otherwise() {
    let rewrite = UrlRewrite { hostname: Some("b.com".parse().unwrap()), path: None };
    let rewritten = table(&[one("r", filtered(prefix("/"), Filter::Rewrite(rewrite)))]);
    assert_eq!(get(&rewritten, "http://a.com:8080/", &[]), "c b.com");
    let set = HeaderModifier { set: vec![(http::header::HOST, "b.com".into())], ..HeaderModifier::default() };
    let set = table(&[one("r", filtered(prefix("/"), Filter::RequestHeaders(set)))]);
    assert_eq!(get(&set, "http://a.com:8080/", &[]), "c b.com");
    assert_eq!(get(&table(&[one("r", to("c", vec![]))]), "http://a.com:8080/", &[]), "c", "nothing is rewritten");
}

/// The table of the reference: what `Location` is made of.
#[test]
fn a_redirect_goes_where_the_specification_says() {
    let plain = RequestRedirect::default;
    let scheme = |scheme: &str| RequestRedirect { scheme: Some(scheme.into()), ..plain() };
    let port = |port| RequestRedirect { port: Some(port), ..plain() };
    let (http, https) = (Entry::http(80), Entry::https(443));
    for (entry, redirect, url, location) in [
        // Host: that of the request without its port. Port: that of the listener, unless it goes without saying.
        (http, plain(), "http://a.com/p?q", "http://a.com/p?q"),
        (http, plain(), "http://a.com:80/p", "http://a.com/p"),
        (http, plain(), "http://a.com:1234/p", "http://a.com/p"),
        (Entry::http(8080), plain(), "http://a.com/p", "http://a.com:8080/p"),
        (Entry::http(8080), plain(), "http://a.com:1234/p", "http://a.com:8080/p"),
        (https, plain(), "https://a.com:443/p", "https://a.com/p"),
        (Entry::https(8443), plain(), "https://a.com/p", "https://a.com:8443/p"),
        (Entry::https(80), plain(), "https://a.com/p", "https://a.com:80/p"),
        // Scheme: its well-known port, whatever the listener has.
        (http, scheme("https"), "http://a.com/p", "https://a.com/p"),
        (http, scheme("https"), "http://a.com:80/p", "https://a.com/p"),
        (Entry::http(8080), scheme("https"), "http://a.com:8080/p", "https://a.com/p"),
        (Entry::https(8443), scheme("http"), "https://a.com:8443/p", "http://a.com/p"),
        (Entry::http(8080), scheme("http"), "http://a.com:8080/p", "http://a.com/p"),
        // Port: as given, unless it goes without saying for the resulting scheme.
        (http, port(8443), "http://a.com/p", "http://a.com:8443/p"),
        (Entry::http(8080), port(80), "http://a.com:8080/p", "http://a.com/p"),
        (http, port(443), "http://a.com/p", "http://a.com:443/p"),
        (https, port(443), "https://a.com/p", "https://a.com/p"),
        (http, RequestRedirect { port: Some(443), ..scheme("https") }, "http://a.com/p", "https://a.com/p"),
        (http, RequestRedirect { port: Some(8443), ..scheme("https") }, "http://a.com/p", "https://a.com:8443/p"),
        (https, RequestRedirect { port: Some(443), ..scheme("http") }, "https://a.com/p", "http://a.com:443/p"),
        // Host and path.
        (
            Entry::http(8080),
            RequestRedirect { hostname: Some("b.com".parse().unwrap()), ..plain() },
            "http://a.com:1/p?q",
            "http://b.com:8080/p?q",
        ),
        (
            http,
            RequestRedirect { path: Some(PathModifier::Full("/n".into())), ..plain() },
            "http://a.com/p?q",
            "http://a.com/n?q",
        ),
    ] {
        // The domain is known, is a wildcard, is anything: it is the same to the client.
        for hostname in [Some("a.com"), Some("*.com"), None] {
            let table = redirected(entry, hostname, prefix("/p"), redirect.clone());
            assert_eq!(get(&table, url, &[]), format!("302 {location}"), "{entry:?} {hostname:?} {redirect:?} {url}");
        }
    }
    for status in [
        RedirectStatus::MovedPermanently,
        RedirectStatus::SeeOther,
        RedirectStatus::TemporaryRedirect,
        RedirectStatus::PermanentRedirect,
    ] {
        let table = redirected(http, None, prefix("/"), RequestRedirect { status, ..plain() });
        assert_eq!(get(&table, "http://a.com/", &[]), format!("{} http://a.com/", status.code()));
    }
}

/// The headers of a request and of its response after a route has edited them.
fn edited(table: &RouteTable, list: &[(&'static str, &str)]) -> (HeaderMap, HeaderMap) {
    let (mut sent, none) = (headers(list), HeaderMap::new());
    let mut answered = sent.clone();
    let request = Request::new(&Method::GET, "h", "/", &none);
    let selected = table.find(&request, 0).unwrap();
    selected.edit_request(&request.head, &mut sent);
    selected.edit_response(&request, &mut answered);
    (sent, answered)
}

fn modifier(set: &[(&'static str, &str)], add: &[(&'static str, &str)], remove: &[&'static str]) -> HeaderModifier {
    let pairs = |list: &[(&'static str, &str)]| {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), (*value).into())).collect()
    };
    HeaderModifier {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|name| HeaderName::from_static(name)).collect(),
    }
}

#[test]
fn headers_are_set_added_and_removed_as_they_are_written() {
    let edits = modifier(&[("x-set", "a,b 100%REQ(x)%"), ("x-empty", "")], &[("x-add", "new")], &["x-gone"]);
    let rule = |filter| table(&[one("r", filtered(prefix("/"), filter))]);
    let before = &[("x-set", "1"), ("x-set", "2"), ("x-add", "old"), ("x-gone", "1"), ("x-gone", "2")];
    let (sent, untouched) = edited(&rule(Filter::RequestHeaders(edits.clone())), before);
    let (unsent, answered) = edited(&rule(Filter::ResponseHeaders(edits)), before);
    for edited in [&sent, &answered] {
        assert_eq!(edited.get_all("x-set").iter().collect::<Vec<_>>(), ["a,b 100%REQ(x)%"]);
        assert_eq!(edited.get_all("x-add").iter().collect::<Vec<_>>(), ["old", "new"]);
        assert!(!edited.contains_key("x-gone") && edited["x-empty"].is_empty());
    }
    assert_eq!((unsent, untouched), (headers(before), headers(before)));
}

#[test]
fn what_a_backend_says_counts_more_than_what_its_rule_says() {
    let host = |name: &str| Filter::Rewrite(UrlRewrite { hostname: Some(name.parse().unwrap()), path: None });
    let of_rule = modifier(
        &[("x-a", "rule"), ("x-b", "rule"), ("x-d", "rule")],
        &[("x-e", "rule"), ("x-f", "rule")],
        &["x-gone"],
    );
    let mut rule = filtered(prefix("/"), Filter::RequestHeaders(of_rule));
    rule.filters.push(host("rule.com"));
    rule.backends[0].filters = vec![
        Filter::RequestHeaders(modifier(
            &[("x-a", "backend"), ("x-f", "backend")],
            &[("x-b", "backend")],
            &["x-d", "x-e"],
        )),
        Filter::ResponseHeaders(modifier(&[("x-c", "backend")], &[], &[])),
        host("backend.com"),
    ];
    rule.backends.push(BackendRef::to("d", 1));
    let table = table(&[one("r", rule)]);
    let (sent, answered) = edited(&table, &[("x-c", "0"), ("x-gone", "0")]);
    let expected = [("x-a", "backend"), ("x-b", "rule"), ("x-b", "backend"), ("x-c", "0"), ("x-f", "backend")];
    assert_eq!(sent, headers(&expected));
    assert_eq!(answered, headers(&[("x-c", "backend"), ("x-gone", "0")]));
    let at = |share: u64| ask(&table, &Method::GET, "http://h/", &[], share << 32);
    assert_eq!((at(0), at(1)), ("c backend.com".into(), "d rule.com".into()));
    assert_eq!(table.config().hosts[0].routes.len(), 1, "weighted clusters can do all this");
}

#[test]
fn each_mirror_gets_its_part() {
    let mirror = |backend, fraction| Filter::Mirror(RequestMirror { backend, fraction });
    let rule = HttpRule {
        filters: vec![
            mirror(Backend::Cluster("m".into()), None),
            mirror(Backend::Invalid, None),
            mirror(Backend::Cluster("n".into()), Some(Fraction::percent(7))),
        ],
        ..to("c", vec![])
    };
    let table = table(&[one("r", rule)]);
    let none = HeaderMap::new();
    let request = Request::new(&Method::GET, "h:80", "/", &none);
    let selected = table.find(&request, 0).unwrap();
    let seen: Vec<_> = selected
        .mirrors()
        .iter()
        .map(|mirror| (mirror.cluster.of(&request).unwrap(), mirror.fraction, mirror.authority("h:80")))
        .collect();
    assert_eq!(seen, [("m", None, "h:80".into()), ("n", Some(Fraction::percent(7)), "h:80".into())]);
}

fn setting(rule: HttpRule, name: &str) -> FilterOverride {
    let table = table(&[one("r", rule)]);
    let none = HeaderMap::new();
    let selected = table.find(&Request::new(&Method::GET, "h", "/", &none), 0).unwrap();
    selected.filter(name).unwrap().clone()
}

#[test]
fn cross_origin_use_is_allowed_to_whom_it_says() {
    let text = |list: &[&str]| list.iter().map(|text| (*text).into()).collect();
    let of = |origins: &[&str]| {
        let cors = Cors {
            origins: text(origins),
            methods: text(&["GET", "PUT"]),
            headers: text(&["x-a"]),
            expose: text(&["*"]),
            credentials: true,
            max_age: None,
        };
        let FilterOverride::Cors(policy) = setting(filtered(prefix("/"), Filter::Cors(cors)), filter_name::CORS) else {
            panic!("another setting")
        };
        policy
    };
    let policy = of(&[]);
    assert_eq!((policy.methods.as_str(), policy.headers.as_str(), policy.expose.as_str()), ("GET,PUT", "x-a", "*"));
    assert_eq!((policy.max_age, policy.credentials), (Some(Duration::from_secs(5)), true));
    assert!(!policy.forward_unmatched_preflights, "the proxy answers them");
    for (origin, yes, no) in [
        ("*", &["https://a.com", "http://b:1", "null"][..], &[][..]),
        (
            "https://a.com",
            &["https://a.com"],
            &["http://a.com", "https://a.com:8443", "https://x.a.com", "https://a.com.evil"],
        ),
        ("https://a.com:443", &["https://a.com"], &[]),
        ("http://a.com:80", &["http://a.com"], &["http://a.com:8080"]),
        ("https://a.com:8443", &["https://a.com:8443"], &["https://a.com"]),
        (
            "https://*.a.com",
            &["https://x.a.com", "https://y.x.a.com"],
            &["https://a.com", "https://xa.com", "https://x.a.com.evil", "https://.a.com", "https://x.a-com"],
        ),
        ("http://*:8080", &["http://a.com:8080"], &["http://a.com"]),
    ] {
        let policy = of(&[origin]);
        let allowed = |given: &str| policy.origins.iter().any(|pattern| pattern.is_match(given));
        for given in yes {
            assert!(allowed(given), "{origin} {given}");
        }
        for given in no {
            assert!(!allowed(given), "{origin} {given}");
        }
    }
}

#[test]
fn sessions_are_kept_by_cookie_or_header() {
    let of = |persistence| {
        let rule = HttpRule { session: Some(persistence), ..to("c", vec![]) };
        let FilterOverride::Session(session) = setting(rule, filter_name::SESSION) else { panic!("another setting") };
        assert!(!session.strict, "another endpoint is chosen where the first is gone");
        session.state
    };
    assert_eq!(of(Persistence::Header("x-s".parse().unwrap())), SessionState::Header("x-s".parse().unwrap()));
    let permanent = Some(Duration::from_secs(3600));
    let SessionState::Cookie(cookie) =
        of(Persistence::Cookie { name: Some("s".into()), path: Some("/p".into()), permanent })
    else {
        panic!("no cookie")
    };
    assert_eq!(cookie.set("v"), "s=\"v\"; Max-Age=3600; Path=/p; Secure; SameSite=Strict; HttpOnly");
    let SessionState::Cookie(cookie) = of(Persistence::Cookie { name: None, path: None, permanent: None }) else {
        panic!("no cookie")
    };
    assert!(cookie.name.as_str().starts_with("mesh-session-") && cookie.path == "/" && cookie.lifetime.is_none());
}

#[test]
fn extensions_set_their_filters() {
    let settings = [("f".into(), FilterOverride::Disabled)].into();
    let rule = filtered(prefix("/"), Filter::Extension(Extension::Settings(settings)));
    assert_eq!(setting(rule, "f"), FilterOverride::Disabled);
}
