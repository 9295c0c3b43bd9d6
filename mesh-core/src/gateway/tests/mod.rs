mod answers;
mod backends;
mod filters;
mod hosts;
mod mesh;
mod precedence;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::request::Request;
use crate::route::{Action, RouteConfig, RouteTable, Selected};

fn http_route(namespace: &str, name: &str, hostnames: &[&str], rules: Vec<HttpRule>) -> HttpRoute {
    let hostnames = hostnames.iter().map(|name| name.parse().unwrap()).collect();
    HttpRoute { id: RouteId::new(namespace, name), hostnames, rules }
}

/// A route of one rule.
fn one(name: &str, rule: HttpRule) -> HttpRoute {
    http_route("ns", name, &[], vec![rule])
}

/// A rule that sends what matches to a cluster.
fn to<M>(cluster: &str, matches: Vec<M>) -> Rule<M> {
    Rule { matches, backends: vec![BackendRef::to(cluster, 1)], ..Rule::default() }
}

fn exact(path: &str) -> HttpMatch {
    HttpMatch { path: HttpPath::Exact(path.into()), ..HttpMatch::default() }
}

fn prefix(path: &str) -> HttpMatch {
    HttpMatch { path: HttpPath::Prefix(path.into()), ..HttpMatch::default() }
}

fn with_header(one: HttpMatch, name: &'static str, value: &str) -> HttpMatch {
    let mut headers = one.headers;
    headers.push(HeaderCondition { name: HeaderName::from_static(name), value: ValueMatch::Exact(value.into()) });
    HttpMatch { headers, ..one }
}

fn with_query(one: HttpMatch, name: &str, value: &str) -> HttpMatch {
    let mut query = one.query;
    query.push(QueryCondition { name: name.into(), value: ValueMatch::Exact(value.into()) });
    HttpMatch { query, ..one }
}

fn with_method(one: HttpMatch, method: Method) -> HttpMatch {
    HttpMatch { method: Some(method), ..one }
}

/// The table of one listener.
fn config(entry: Entry, hostname: Option<&str>, http: &[HttpRoute]) -> RouteConfig {
    let hostname = hostname.map(|name| name.parse().unwrap());
    let listener = Listener { hostname, http: http.iter().collect(), grpc: vec![] };
    listener_routes("test", entry, &[listener])
}

/// The table of a listener for all hosts on port 80.
fn table(http: &[HttpRoute]) -> RouteTable {
    RouteTable::new(config(Entry::http(80), None, http)).unwrap()
}

fn grpc_table(grpc: &[GrpcRoute]) -> RouteTable {
    let listener = Listener { grpc: grpc.iter().collect(), ..Listener::default() };
    RouteTable::new(listener_routes("test", Entry::http(80), &[listener])).unwrap()
}

pub(super) fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// A request for `http://host/path`; what becomes of it is told by [`told`].
pub(super) fn get(table: &RouteTable, url: &str, list: &[(&'static str, &str)]) -> String {
    ask(table, &Method::GET, url, list, 0)
}

fn call(table: &RouteTable, path: &str, list: &[(&'static str, &str)]) -> String {
    let list: Vec<_> = list.iter().copied().chain([("content-type", "application/grpc")]).collect();
    ask(table, &Method::POST, &format!("http://a.com{path}"), &list, 0)
}

pub(super) fn ask(
    table: &RouteTable,
    method: &Method,
    url: &str,
    list: &[(&'static str, &str)],
    random: u64,
) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let list = headers(list);
    let mut request = Request::new(method, authority, target, &list);
    request.head.scheme = scheme;
    match table.find(&request, random) {
        Ok(selected) => told(&selected, &request),
        Err(_) => "404".to_owned(),
    }
}

/// The cluster with the rewritten authority and target, the status and `Location`, or the status alone.
fn told(selected: &Selected<'_>, request: &Request<'_>) -> String {
    match &selected.route.action {
        Action::Respond(answer) => answer.status.to_string(),
        Action::Redirect(redirect) => {
            format!("{} {}", redirect.status.code(), selected.location(request).unwrap())
        }
        Action::Forward(forward) => match selected.cluster(request) {
            Some(INVALID_BACKEND) => forward.missing.status().to_string(),
            cluster => {
                let parts = [
                    cluster.map(Into::into),
                    selected.authority(request, None),
                    selected.target(request).map(Into::into),
                ];
                parts.into_iter().flatten().collect::<Vec<std::borrow::Cow<'_, str>>>().join(" ")
            }
        },
        Action::NonForwarding => panic!("{selected:?}"),
    }
}
