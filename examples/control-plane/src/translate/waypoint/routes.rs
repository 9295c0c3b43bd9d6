//! Where the requests of a port go.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_core::gateway::virtual_service::{VirtualService, waypoint_routes};
use mesh_core::gateway::{Entry, GrpcRoute, HttpRoute, MeshService, filter_name, service_routes};
use mesh_core::listener::{HttpFilter, HttpFilterKind};
use mesh_core::name::Text;
use mesh_core::route::{
    Action, ClusterChoice, ClusterName, FilterOverride, Forward, HashPolicy, PathMatch, RetryOn, RetryPolicy, Route,
    RouteConfig, RouteMatch, RouteTable, TableError, VirtualHost,
};
use mesh_core::service::{Service, ServicePort};

use super::attached::{self, Backends, OfPort};
use super::cluster::TO_WORKLOADS;

/// The routes of a port: those that are attached to it, else to its own endpoints.
pub(in crate::translate) fn table(
    backends: &mut Backends<'_, '_>,
    service: &Service,
    port: &ServicePort,
) -> Result<RouteTable, TableError> {
    let own = backends.cluster(service, port);
    let OfPort { http, grpc, virtual_services } = attached::of(backends, service, port);
    let entry = Entry::http(port.service_port);
    let mut config = if http.is_empty() && grpc.is_empty() {
        let virtual_services: Vec<&VirtualService> = virtual_services.iter().collect();
        let config = waypoint_routes(own.as_str(), entry, own.as_str(), &virtual_services);
        // As Istio has it, objects of which no route is for the port are none.
        let has_routes = config.hosts.iter().any(|host| !host.routes.is_empty());
        if !virtual_services.is_empty() && has_routes { config } else { single(own.as_str(), vec![to(own.as_str())]) }
    } else {
        let http: Vec<&HttpRoute> = http.iter().collect();
        let grpc: Vec<&GrpcRoute> = grpc.iter().collect();
        let parent = MeshService { namespace: service.key.namespace.clone(), cluster: own.clone() };
        service_routes(own.as_str(), entry, &parent, &http, &grpc)
    };
    hash(&mut config, &backends.hashes);
    RouteTable::new(config)
}

/// The one route of a port whose requests all go to one cluster.
pub(in crate::translate) fn to_itself(cluster: &str) -> Result<RouteTable, TableError> {
    RouteTable::new(single(cluster, vec![to(cluster)]))
}

/// The routes of what is addressed to workloads: to where it is addressed to.
pub(super) fn to_workloads() -> Result<RouteTable, TableError> {
    to_itself(TO_WORKLOADS)
}

fn single(name: &str, routes: Vec<Route>) -> RouteConfig {
    let host = VirtualHost { name: "*".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    RouteConfig { name: name.into(), hosts: vec![host], ..RouteConfig::default() }
}

/// As long as it takes, and once more where nothing was sent.
fn to(cluster: &str) -> Route {
    let forward = Forward {
        timeout: Some(Duration::ZERO),
        retry: Some(RetryPolicy { on: RetryOn::RESET_BEFORE_REQUEST, ..RetryPolicy::default() }),
        ..Forward::to(cluster)
    };
    let matcher = RouteMatch::new(PathMatch::prefix("/"));
    Route { name: "default".into(), ..Route::new(matcher, Action::Forward(Box::new(forward))) }
}

/// The filters that routes of a table have settings for; they do nothing by themselves. In the order in which Istio's
/// waypoints have them.
pub(in crate::translate) fn filters(table: &RouteTable) -> Vec<HttpFilter> {
    let routes = || table.config().hosts.iter().flat_map(|host| &host.routes);
    let of_clusters = routes().flat_map(|route| match &route.action {
        Action::Forward(forward) => match &forward.cluster {
            ClusterChoice::Weighted(weighted) => weighted.clusters.as_slice(),
            ClusterChoice::Named(_) | ClusterChoice::Header(_) => &[],
        },
        _ => &[],
    });
    let overrides: Vec<(&Text, &FilterOverride)> =
        routes().flat_map(|route| &route.filters).chain(of_clusters.flat_map(|cluster| &cluster.filters)).collect();
    let kinds = [
        (filter_name::FAULT, HttpFilterKind::Fault(Box::default())),
        (filter_name::CORS, HttpFilterKind::Cors),
        (filter_name::SESSION, HttpFilterKind::Session(None)),
    ];
    let used = kinds.into_iter().filter(|(name, _)| overrides.iter().any(|(of, _)| of.as_str() == *name));
    used.map(|(name, kind)| HttpFilter { name: name.into(), kind, disabled: false }).collect()
}

/// Adds what requests are hashed by: that of the first cluster of a route that chooses by a hash.
pub(in crate::translate) fn hash(config: &mut RouteConfig, hashes: &BTreeMap<Text, Vec<HashPolicy>>) {
    for route in config.hosts.iter_mut().flat_map(|host| &mut host.routes) {
        let Action::Forward(forward) = &mut route.action else { continue };
        let names: Vec<&str> = match &forward.cluster {
            ClusterChoice::Named(name) => vec![name.as_str()],
            ClusterChoice::Header(_) => Vec::new(),
            ClusterChoice::Weighted(weighted) => {
                let named = weighted.clusters.iter().filter_map(|one| match &one.cluster {
                    ClusterName::Named(name) => Some(name.as_str()),
                    ClusterName::Header(_) => None,
                });
                named.collect()
            }
        };
        let first = names.iter().filter_map(|name| hashes.get(*name)).find(|policies| !policies.is_empty());
        if let Some(policies) = first {
            forward.hash.clone_from(policies);
        }
    }
}
