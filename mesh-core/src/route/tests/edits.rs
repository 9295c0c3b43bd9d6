use super::*;

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
