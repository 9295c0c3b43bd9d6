use std::time::Duration;

use http::{HeaderName, Method};
use mesh_core::gateway::virtual_service::{
    self as vs, Destination, HeaderEdit, Headers, RedirectPort, RouteAction, TextMatch, UriRewrite, VirtualService,
    gateway_routes, waypoint_routes,
};
use mesh_core::gateway::{
    Backend, BackendRef, Cors, Entry, Filter, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRule, HeaderCondition,
    HeaderModifier, HttpMatch, HttpPath, HttpRoute, HttpRule, Listener, MeshService, PathModifier, Persistence,
    QueryCondition, RequestMirror, RequestRedirect, Retry, RouteId, RuleTimeouts, UrlRewrite, ValueMatch,
    listener_routes, service_routes,
};
use mesh_core::name::Text;
use mesh_core::route::{
    DirectResponse, Fault, FaultAbort, FaultStatus, Fraction, RedirectStatus, RouteConfig, Template,
};
use mesh_core::string_match::{Regex, Substitution};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap()
    }

    pub(crate) fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    fn maybe<T>(&mut self, percent: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}

pub(crate) const PATHS: [&str; 10] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/foo", "/foo/bar", "/b", "/a.b/c"];

const HOSTS: [&str; 6] = ["a.com", "x.a.com", "*.a.com", "*.x.a.com", "*.com", "b.com"];

const EDITED: HeaderName = HeaderName::from_static("x-edit");

/// The table of some objects.
pub(crate) fn table(random: &mut Random) -> RouteConfig {
    match random.below(4) {
        0 => of_virtual_services(random),
        1 => of_grpc(random),
        2 => of_service(random),
        _ => of_listeners(random),
    }
}

fn regex(source: &str) -> Regex {
    Regex::new(source).unwrap()
}

fn of_listeners(random: &mut Random) -> RouteConfig {
    let routes = http_routes(random);
    let hostname = random.maybe(30, |random| random.of(&HOSTS).parse().unwrap());
    let mut listeners = vec![Listener { hostname, http: routes.iter().collect(), grpc: vec![] }];
    if random.chance(40) {
        let hostname = Some(random.of(&HOSTS).parse().unwrap());
        listeners.push(Listener { hostname, http: routes.iter().take(1).collect(), grpc: vec![] });
    }
    listener_routes("http", Entry::http(random.of(&[80, 8080])), &listeners)
}

fn of_service(random: &mut Random) -> RouteConfig {
    let routes = http_routes(random);
    let service = MeshService { namespace: "ns".into(), cluster: "c0".into() };
    service_routes("service", Entry::http(random.of(&[80, 8080])), &service, &routes.iter().collect::<Vec<_>>(), &[])
}

fn http_routes(random: &mut Random) -> Vec<HttpRoute> {
    let mut routes = Vec::new();
    for at in 0..random.below(8) {
        // Names in another order than the list; routes of another namespace are for no client that is not known.
        let namespace = if random.chance(20) { "other" } else { "ns" };
        let mut route = HttpRoute::new(RouteId::new(namespace, &format!("r{}", at * 5 % 8)));
        route.hostnames = (0..random.below(3)).map(|_| random.of(&HOSTS).parse().unwrap()).collect();
        route.rules = (0..=random.below(3)).map(|rule| http_rule(random, at + rule)).collect();
        routes.push(route);
    }
    routes
}

fn http_rule(random: &mut Random, at: usize) -> HttpRule {
    let mut rule =
        HttpRule { matches: (0..random.below(3)).map(|_| http_match(random)).collect(), ..HttpRule::default() };
    if random.chance(15) {
        rule.filters = vec![Filter::Redirect(redirect(random))];
        return rule;
    }
    rule.filters = filters(random, "rule");
    let mut backend = match random.below(10) {
        0 => BackendRef::invalid(1),
        1 => BackendRef::to("c0", 0),
        _ => BackendRef::to(&format!("c{}", at % 4), 3),
    };
    if random.chance(40) {
        backend.filters = filters(random, "backend");
    } else if random.chance(5) {
        backend.filters = vec![Filter::Redirect(redirect(random))];
    }
    rule.backends = vec![backend, BackendRef::to("c0", 0)];
    let seconds = Duration::from_secs;
    rule.timeouts.backend_request = random.maybe(20, |_| seconds(9));
    rule.timeouts = RuleTimeouts { request: random.maybe(20, |_| seconds(20)), ..rule.timeouts };
    rule.retry = random.maybe(20, |_| Retry { codes: vec![503], attempts: Some(1), back_off: Some(seconds(1)) });
    rule.session = random.maybe(10, |_| Persistence::Cookie { name: None, path: None, permanent: Some(seconds(60)) });
    rule
}

fn http_match(random: &mut Random) -> HttpMatch {
    let path = match random.below(5) {
        0 | 1 => HttpPath::Prefix(random.of(&["/", "/a", "/a/", "/a/b", "/foo", "/a.b"]).into()),
        2 | 3 => HttpPath::Exact(random.of(&PATHS).into()),
        _ => HttpPath::Regex(regex(random.of(&["/a.*", "/.*", "/[ab]/b"]))),
    };
    let mut headers = Vec::new();
    for (name, text) in [("x-a", "1"), ("x-b", "2"), ("host", "a.com")] {
        headers.extend(random.maybe(20, |random| HeaderCondition {
            name: HeaderName::from_static(name),
            value: random.of(&[ValueMatch::Exact(text.into()), ValueMatch::Regex(regex("[12]|a.*"))]),
        }));
    }
    let query = random.maybe(25, |random| QueryCondition {
        name: "q".into(),
        value: random.of(&[ValueMatch::Exact("1".into()), ValueMatch::Regex(regex("[23]"))]),
    });
    let method = random.maybe(25, |random| random.of(&[Method::GET, Method::POST]));
    HttpMatch { path, headers, query: query.into_iter().collect(), method }
}

fn path_modifier(random: &mut Random) -> PathModifier {
    random.of(&[
        PathModifier::Prefix("/xyz".into()),
        PathModifier::Prefix("/x%1\\1/".into()),
        PathModifier::Prefix("/".into()),
        PathModifier::Prefix("".into()),
        PathModifier::Full("/full/%41/\\1".into()),
        PathModifier::Full("".into()),
    ])
}

fn redirect(random: &mut Random) -> RequestRedirect {
    RequestRedirect {
        scheme: random.maybe(40, |random| random.of(&["http", "https"]).into()),
        hostname: random.maybe(30, |_| "elsewhere.com".parse().unwrap()),
        port: random.maybe(40, |random| random.of(&[80, 443, 8443])),
        path: random.maybe(50, path_modifier),
        status: random.of(&[
            RedirectStatus::Found,
            RedirectStatus::MovedPermanently,
            RedirectStatus::PermanentRedirect,
        ]),
    }
}

fn filters(random: &mut Random, level: &str) -> Vec<Filter> {
    let mut all = Vec::new();
    all.extend(random.maybe(30, |random| {
        let hostname = random.maybe(50, |_| format!("{level}.com").parse().unwrap());
        Filter::Rewrite(UrlRewrite { hostname, path: random.maybe(70, path_modifier) })
    }));
    all.extend(random.maybe(30, |random| Filter::RequestHeaders(header_modifier(random, level))));
    all.extend(random.maybe(30, |random| Filter::ResponseHeaders(header_modifier(random, level))));
    all.extend(random.maybe(15, |random| {
        let fraction = random.of(&[None, Some(Fraction::percent(0))]);
        Filter::Mirror(RequestMirror { backend: Backend::Cluster("mirror".into()), fraction })
    }));
    all.extend(random.maybe(10, |_| {
        let origins = ["*", "https://*.a.com", "https://b.com"].map(Text::from).to_vec();
        Filter::Cors(Cors { origins, methods: vec!["GET".into()], credentials: true, ..Cors::default() })
    }));
    all
}

fn header_modifier(random: &mut Random, level: &str) -> HeaderModifier {
    let pair = || vec![(EDITED, format!("{level} 100%,%REQ(x)%").into())];
    match random.below(3) {
        0 => HeaderModifier { set: pair(), ..HeaderModifier::default() },
        1 => HeaderModifier { add: pair(), ..HeaderModifier::default() },
        _ => HeaderModifier { remove: vec![EDITED], ..HeaderModifier::default() },
    }
}

fn of_grpc(random: &mut Random) -> RouteConfig {
    let mut routes = Vec::new();
    for at in 0..=random.below(4) {
        let mut route = GrpcRoute::new(RouteId::new("ns", &format!("g{at}")));
        for rule in 0..=random.below(3) {
            let backends = match random.below(5) {
                0 => vec![],
                1 => vec![BackendRef::invalid(1), BackendRef::to("c0", 0)],
                _ => vec![BackendRef::to(&format!("c{}", (at + rule) % 4), 1)],
            };
            route.rules.push(GrpcRule { matches: vec![grpc_match(random)], backends, ..GrpcRule::default() });
        }
        routes.push(route);
    }
    let listener = Listener { grpc: routes.iter().collect(), ..Listener::default() };
    listener_routes("grpc", Entry::http(80), &[listener])
}

fn grpc_match(random: &mut Random) -> GrpcMatch {
    let (service, method): (&str, &str) = (random.of(&["p.A", "p.B"]), random.of(&["Do", "Undo"]));
    let method = match random.below(5) {
        0 => Some(GrpcMethod::Service(service.into())),
        1 => Some(GrpcMethod::Method(method.into())),
        2 => Some(GrpcMethod::Exact { service: service.into(), method: method.into() }),
        3 => Some(GrpcMethod::regex(random.of(&[None, Some("p\\..*|r")]), Some("D.*|x")).unwrap()),
        _ => None,
    };
    let header = || HeaderCondition { name: HeaderName::from_static("x-a"), value: ValueMatch::Exact("1".into()) };
    GrpcMatch { method, headers: random.maybe(40, |_| header()).into_iter().collect() }
}

fn of_virtual_services(random: &mut Random) -> RouteConfig {
    let mut objects = Vec::new();
    for at in 0..=random.below(3) {
        objects.push(VirtualService {
            id: RouteId::new("ns", &format!("v{at}")),
            hosts: (0..=random.below(2))
                .map(|_| random.of(&["a.com", "*.a.com", "*", "b.com", "*.com"]).into())
                .collect(),
            routes: (0..=random.below(5)).map(|route| virtual_route(random, at + route)).collect(),
        });
    }
    let objects: Vec<_> = objects.iter().collect();
    match random.chance(50) {
        true => gateway_routes("gateway", Entry::http(80), "ns/g", &objects),
        false => waypoint_routes("waypoint", Entry::http(80), "c0", &objects),
    }
}

fn virtual_route(random: &mut Random, at: usize) -> vs::HttpRoute {
    let destination =
        Destination { headers: headers(random, "destination"), ..Destination::to(&format!("c{}", at % 4), 1) };
    let action = match random.below(8) {
        0 => RouteAction::Redirect(vs::Redirect {
            uri: random.maybe(50, |random| random.of(&["/n", "/n?z"]).into()),
            authority: random.maybe(50, |random| random.of(&["elsewhere.com", "elsewhere.com:99"]).into()),
            scheme: random.maybe(40, |random| random.of(&["http", "https"]).into()),
            port: random.of(&[RedirectPort::Kept, RedirectPort::Given(8443), RedirectPort::OfEntry]),
            status: RedirectStatus::Found,
        }),
        1 => RouteAction::Respond(DirectResponse { status: 418, body: b"tea".to_vec() }),
        2 => RouteAction::Route(vec![Destination { backend: Backend::Invalid, ..destination }]),
        _ => RouteAction::Route(vec![destination]),
    };
    let mut route = vs::HttpRoute::new(action);
    route.matches = (0..random.below(3)).map(|_| virtual_match(random)).collect();
    route.rewrite.authority = random.maybe(15, |_| "route.com".into());
    let swapped = || Substitution::new("^/([a-z]+)(/.*)?$", r"/s\2/\1").unwrap();
    route.rewrite.uri = random.maybe(40, |random| match random.below(2) {
        0 => UriRewrite::Prefix(random.of(&["/", "/x", "/x/"]).into()),
        _ => UriRewrite::Regex(swapped()),
    });
    route.headers = headers(random, "route");
    route.fault = random.maybe(10, |random| {
        let fraction = Fraction::percent(random.of(&[0, 100]));
        let abort = FaultAbort { status: FaultStatus::Http(477), fraction, body: "".into() };
        Fault { abort: Some(abort), ..Fault::default() }
    });
    route.cors = random
        .maybe(10, |random| vs::Cors { origins: vec![text_match(random, &["https://a"])], ..vs::Cors::default() });
    route
}

fn virtual_match(random: &mut Random) -> vs::HttpMatch {
    let name = HeaderName::from_static("x-a");
    let asked = |random: &mut Random| (name.clone(), random.maybe(70, |random| text_match(random, &["1", "2"])));
    vs::HttpMatch {
        uri: random.maybe(80, |random| text_match(random, &PATHS)),
        ignore_uri_case: random.chance(30),
        method: random.maybe(20, |_| TextMatch::Exact("GET".into())),
        authority: random.maybe(20, |random| text_match(random, &["a.com", "x."])),
        scheme: random.maybe(5, |_| TextMatch::Exact("http".into())),
        headers: random.maybe(30, asked).into_iter().collect(),
        without_headers: random.maybe(30, asked).into_iter().collect(),
        query: random.maybe(20, |random| ("q".into(), asked(random).1)).into_iter().collect(),
        port: random.maybe(10, |random| random.of(&[80, 81])),
        source_namespace: random.maybe(5, |_| "shop".into()),
        ..vs::HttpMatch::default()
    }
}

fn text_match(random: &mut Random, values: &[&str]) -> TextMatch {
    match random.below(3) {
        0 => TextMatch::Exact(random.of(values).into()),
        1 => TextMatch::Prefix(random.of(values).into()),
        _ => TextMatch::Regex(regex(random.of(&["[12]?", "/a.*", "/[ab]/b.*", "[a-z.]*", ".*1"]))),
    }
}

fn headers(random: &mut Random, level: &str) -> Headers {
    let host = random.maybe(20, |_| (http::header::HOST, Template::literal(level)));
    let mut request = header_edit(random, level);
    request.set.extend(host);
    Headers { request, response: header_edit(random, level) }
}

fn header_edit(random: &mut Random, level: &str) -> HeaderEdit {
    let pair = || vec![(EDITED, Template::new(&format!("{level}-%REQ(x-a)%%%")).unwrap())];
    match random.below(5) {
        0 => HeaderEdit { set: pair(), ..HeaderEdit::default() },
        1 => HeaderEdit { add: pair(), ..HeaderEdit::default() },
        2 => HeaderEdit { remove: vec![EDITED], ..HeaderEdit::default() },
        _ => HeaderEdit::default(),
    }
}
