use std::collections::BTreeMap;

use super::action::{cors_policy, edits, forward, redirect};
use super::matcher::route_match;
use super::{HttpMatch, HttpRoute, RouteAction, VirtualService};
use crate::gateway::{Entry, filter_name};
use crate::name::Text;
use crate::route::{
    Action, FilterOverride, FilterOverrides, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch,
    VirtualHost,
};

/// The table of a gateway, whose name is `namespace/name`, for requests that come in by one of its ports.
///
/// Where several objects are for one host, the routes of the older go first, then of the first by `namespace/name`.
#[must_use]
pub fn gateway_routes(name: &str, entry: Entry, gateway: &str, services: &[&VirtualService]) -> RouteConfig {
    let mut hosts: BTreeMap<String, Vec<&VirtualService>> = BTreeMap::new();
    for service in in_order(services) {
        let mut named: Vec<_> = service.hosts.iter().map(|host| host.as_str().to_ascii_lowercase()).collect();
        named.sort_unstable();
        named.dedup();
        for host in named {
            hosts.entry(host).or_default().push(service);
        }
    }
    let host = |(domain, services): (String, Vec<&VirtualService>)| {
        let (domain, routes) = (Text::from(domain), routes(entry, gateway, &services));
        VirtualHost { name: domain.clone(), domains: vec![domain], routes, ..VirtualHost::default() }
    };
    table(name, hosts.into_iter().map(host).collect())
}

/// The table of one port of a service at its waypoint, whatever host a request asks for. `cluster` is that of the service's own
/// endpoints: without any object for the service, requests go there.
#[must_use]
pub fn waypoint_routes(name: &str, entry: Entry, cluster: &str, services: &[&VirtualService]) -> RouteConfig {
    let routes = match services {
        [] => vec![to_itself(cluster)],
        services => routes(entry, "mesh", &in_order(services)),
    };
    let host = VirtualHost { name: "*".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    table(name, vec![host])
}

fn in_order<'s>(services: &[&'s VirtualService]) -> Vec<&'s VirtualService> {
    let mut services = services.to_vec();
    services.sort_by_cached_key(|VirtualService { id, .. }| (id.created, format!("{}/{}", id.namespace, id.name)));
    services
}

fn table(name: &str, hosts: Vec<VirtualHost>) -> RouteConfig {
    RouteConfig { name: name.into(), hosts, ignore_port: true, ..RouteConfig::default() }
}

/// The routes of several objects, up to the first that takes everything.
fn routes(entry: Entry, gateway: &str, services: &[&VirtualService]) -> Vec<Route> {
    let mut all = Vec::new();
    for route in services.iter().flat_map(|service| &service.routes) {
        let default = route.matches.is_empty().then(HttpMatch::default);
        for one in default.iter().chain(&route.matches) {
            let Some(matcher) = route_match(one, entry, gateway) else { continue };
            let last = matcher == RouteMatch::new(PathMatch::prefix("/"));
            all.push(compiled(route, one, matcher, entry));
            if last {
                return all;
            }
        }
    }
    all
}

fn compiled(route: &HttpRoute, one: &HttpMatch, matcher: RouteMatch, entry: Entry) -> Route {
    let action = match &route.action {
        RouteAction::Route(destinations) => Action::Forward(Box::new(forward(route, destinations))),
        RouteAction::Redirect(wanted) => Action::Redirect(redirect(wanted, entry)),
        RouteAction::Respond(answer) => Action::Respond(answer.clone()),
    };
    let name = match (route.name.as_str(), one.name.as_str()) {
        (name, "") => name.into(),
        (name, of_match) => format!("{name}.{of_match}").into(),
    };
    let mut filters = FilterOverrides::new();
    let mut set = |name: &str, setting| drop(filters.insert(name.into(), setting));
    if let Some(fault) = &route.fault {
        set(filter_name::FAULT, FilterOverride::Fault(fault.clone()));
    }
    if let Some(cors) = &route.cors {
        set(filter_name::CORS, FilterOverride::Cors(cors_policy(cors)));
    }
    Route { name, headers: edits(&route.headers), filters, ..Route::new(matcher, action) }
}

fn to_itself(cluster: &str) -> Route {
    let retry = RetryPolicy { on: RetryOn::RESET_BEFORE_REQUEST, ..RetryPolicy::default() };
    let forward = Forward { timeout: Some(std::time::Duration::ZERO), retry: Some(retry), ..Forward::to(cluster) };
    Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)))
}
