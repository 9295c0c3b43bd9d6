//! Where requests go, and what becomes of their heads on the way.

use std::sync::OnceLock;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::request::{Condition, Field, HeaderMatch, Request};
use mesh_core::route::{
    Action, Addition, AppendAction, CookieMatch, Forward, HeaderEdits, HostRewrite, Mutation, PathMatch, PathRewrite,
    QueryCondition, QueryMatch, Redirect, RedirectPath, Route, RouteConfig, RouteMatch, RouteTable, Template, Unrouted,
    VirtualHost,
};
use mesh_core::string_match::{Pattern, Regex, Substitution};

use crate::{Target, http as heads};

pub(crate) const ROUTING: Target = Target { name: "routing", run: routing, seeds };

/// Whatever a request says: the index finds the first route that matches; what is made of its head can be sent, and ends no
/// line that it did not begin.
fn routing(bytes: &[u8]) {
    let Some(parts) = heads::admitted(bytes) else { return };
    let authority = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let request = Request::new(&parts.method, authority, target, &parts.headers);
    let table = table();
    for random in [0, u64::MAX] {
        let found = table.find(&request, random);
        let first = table
            .host(&request)
            .map(|host| host.routes.iter().find(|route| route.matcher.is_match(&request, request.path(), random)));
        let selected = match (found, first) {
            (Err(Unrouted::NoHost), None) | (Err(Unrouted::NoRoute), Some(None)) => continue,
            (Ok(selected), Some(Some(first))) if std::ptr::eq(selected.route, first) => selected,
            (found, first) => panic!("found {found:?}, and the first that matches is {first:?}"),
        };
        let mut headers = parts.headers.clone();
        selected.edit_request(&request.head, &mut headers);
        assert!(!headers.contains_key("x-secret") && headers.get_all("x-set").iter().count() <= 1, "{headers:?}");
        let mut response = HeaderMap::new();
        selected.edit_response(&request, &mut response);
        if let Some(location) = selected.location(&request) {
            let value = HeaderValue::from_str(&location);
            assert!(value.is_ok() || !parts.uri.path().is_ascii() || !authority.is_ascii(), "{location:?}");
        }
        if let Some(rewritten) = selected.target(&request) {
            let question = |text: &str| text.split_once('?').map(|(_, query)| query.to_owned());
            assert_eq!(question(&rewritten), question(target), "`{target}` became `{rewritten}`");
            assert!(PathAndQuery::try_from(rewritten.as_str()).is_ok(), "`{target}` became `{rewritten}`");
        }
        if let Some(rewritten) = selected.authority(&request, Some("endpoint.test")) {
            let sent = Authority::try_from(rewritten.as_ref()).is_ok();
            assert!(sent || matches!(selected.forward(), Some(Forward { host: Some(HostRewrite::Header(_)), .. })));
        }
    }
}

/// One route of each kind that looks at requests in a way of its own.
#[expect(clippy::expect_used, reason = "the table is written here")]
fn table() -> &'static RouteTable {
    static TABLE: OnceLock<RouteTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let regex = |text| Regex::new(text).expect("an expression");
        let substitution = |text, with| Substitution::new(text, with).expect("a substitution");
        let forward = |path: Option<PathRewrite>, host: Option<HostRewrite>| {
            Action::Forward(Box::new(Forward { path, host, ..Forward::to("shop") }))
        };
        let field = |text: &str| text.parse::<Field>().expect("a name");
        let of_header = |condition| {
            let headers = vec![HeaderMatch::new(field("x-tenant"), condition)];
            RouteMatch { headers, ..RouteMatch::new(PathMatch::prefix("/tenants")) }
        };
        let of_query = |condition| {
            let query = vec![QueryMatch { name: "q".into(), condition }];
            RouteMatch { query, ..RouteMatch::new(PathMatch::prefix("/")) }
        };
        let cookies = vec![CookieMatch { name: "user".into(), pattern: Pattern::exact("beta"), invert: false }];
        let routes = vec![
            Route::new(
                RouteMatch::new(PathMatch::exact("/exact")),
                forward(Some(PathRewrite::Prefix("/other".into())), None),
            ),
            Route::new(
                RouteMatch::new(PathMatch::Separated { prefix: "/api".into(), ignore_case: true }),
                forward(Some(PathRewrite::Prefix("/v1".into())), Some(HostRewrite::Upstream)),
            ),
            Route::new(
                RouteMatch::new(PathMatch::Regex(regex("/items/[0-9]+(/.*)?"))),
                forward(Some(PathRewrite::Substitute(substitution("/([0-9]+)", "/id-\\1"))), None),
            ),
            Route::new(
                of_header(Condition::Text(Pattern::Regex(regex("a|b+")))),
                forward(None, Some(HostRewrite::Header(field("x-tenant")))),
            ),
            Route::new(of_header(Condition::Present(true)), Action::Redirect(Redirect::to_https())),
            Route::new(
                of_query(QueryCondition::Text(Pattern::prefix("old"))),
                Action::Redirect(Redirect {
                    path: Some(RedirectPath::Rewrite(PathRewrite::Prefix("/new/".into()))),
                    port: Some(8443),
                    ..Redirect::default()
                }),
            ),
            Route::new(
                RouteMatch { cookies, ..RouteMatch::new(PathMatch::prefix("/")) },
                forward(None, Some(HostRewrite::Literal("beta.test".into()))),
            ),
            Route::new(RouteMatch::new(PathMatch::prefix("/")), forward(None, None)),
        ];
        let add = |name: &'static str, value: &str, action| Addition {
            name: HeaderName::from_static(name),
            value: Template::new(value).expect("a template"),
            action,
            keep_empty: false,
        };
        let request = Mutation {
            remove: vec![HeaderName::from_static("x-secret")],
            add: vec![
                add("x-set", "%REQ(:path)%", AppendAction::OverwriteIfExistsOrAdd),
                add("x-more", "%REQ(x-tenant)% of %REQ(:authority)%", AppendAction::AppendIfExistsOrAdd),
            ],
        };
        let response = Mutation {
            remove: Vec::new(),
            add: vec![add("x-asked", "%REQ(:method)% %REQ(:path)%", AppendAction::AddIfAbsent)],
        };
        let host = |domain: &str| VirtualHost {
            name: domain.into(),
            domains: vec![domain.into()],
            routes: routes.clone(),
            headers: HeaderEdits { request: request.clone(), response: response.clone() },
            ..VirtualHost::default()
        };
        let hosts = vec![host("shop.test"), host("*.shop.test"), host("shop.*")];
        RouteTable::new(RouteConfig { hosts, ignore_port: true, ..RouteConfig::default() }).expect("a table")
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "GET /exact?q=1 1\nhost:shop.test",
        "GET /API/x/../y?q=old 1\nhost:a.shop.test:8080\nx-secret:1",
        "GET /items/17/parts 2\nhost:shop.internal\nx-set:a\nx-set:b",
        "POST /tenants/a 1\nhost:shop.test\nx-tenant:bb",
        "GET /tenants 1\nhost:shop.test\nx-tenant:c d",
        "GET /?q=older&q=x 1\nhost:shop.test",
        "GET / 1\nhost:shop.test\ncookie:a=b; user=beta",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
