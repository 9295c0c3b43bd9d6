use std::collections::BTreeMap;

use super::matcher::Match;
use super::precedence::{candidates, in_order, takes_all};
use super::rule::Place;
use super::{Entry, table};
use crate::gateway::clients::clients_of;
use crate::gateway::{GatewayRoute, GrpcRoute, HttpRoute};
use crate::name::Text;
use crate::route::{Action, DirectResponse, Forward, PathMatch, Route, RouteConfig, RouteMatch, VirtualHost};

/// A Service of the mesh that routes have as their parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshService {
    /// Its namespace.
    pub namespace: Text,
    /// The cluster of its own endpoints, where requests go for which there are no routes.
    pub cluster: Text,
}

/// The table of one port of a Service of the mesh, whatever host a request asks for: a request is governed by the address it
/// was sent to.
///
/// Routes of the Service's namespace are for all clients. Those of another namespace are for the clients of that namespace,
/// who must be known by their SPIFFE identity, and for them instead of the others. Where a client has routes and none of
/// them matches, it is answered with 404; where it has none, its requests go to the Service itself. With routes of gRPC there,
/// those of HTTP do not count.
#[must_use]
pub fn service_routes(
    name: &str,
    entry: Entry,
    service: &MeshService,
    http: &[&HttpRoute],
    grpc: &[&GrpcRoute],
) -> RouteConfig {
    let routes = if grpc.is_empty() { routes(entry, service, http) } else { routes(entry, service, grpc) };
    let host = VirtualHost { name: "*".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let mut table = table(name);
    table.hosts.push(host);
    table
}

fn routes<M: Match>(entry: Entry, service: &MeshService, all: &[&GatewayRoute<M>]) -> Vec<Route> {
    let mut groups: BTreeMap<&Text, Vec<&GatewayRoute<M>>> = BTreeMap::new();
    for route in all {
        groups.entry(&route.id.namespace).or_default().push(route);
    }
    let group = |group: &[&GatewayRoute<M>]| {
        let all = group.iter().flat_map(|route| candidates(0, route)).collect();
        in_order(all, Place { entry, host: None })
    };
    let producers = groups.remove(&service.namespace);
    let mut routes = Vec::new();
    for (namespace, consumers) in groups {
        let Some(clients) = clients_of(namespace) else { continue };
        let mut own = group(&consumers);
        if !own.iter().any(|route| takes_all(&route.matcher)) {
            own.push(unmatched());
        }
        own.iter_mut().for_each(|route| route.matcher.peer.push(clients.clone()));
        routes.extend(own);
    }
    match producers {
        Some(producers) => routes.extend(group(&producers)),
        None => routes.push(to_itself(service)),
    }
    routes
}

fn unmatched() -> Route {
    let answer = DirectResponse { status: 404, body: Vec::new() };
    Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Respond(answer))
}

fn to_itself(service: &MeshService) -> Route {
    let forward = Forward { timeout: Some(std::time::Duration::ZERO), ..Forward::to(service.cluster.as_str()) };
    Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)))
}
