//! Where the requests of a port go.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_core::gateway::{Entry, GrpcRoute, HttpRoute, MeshService, service_routes};
use mesh_core::route::{
    Action, ClusterChoice, ClusterName, Forward, HashPolicy, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig,
    RouteMatch, RouteTable, TableError, VirtualHost,
};
use mesh_core::service::{Service, ServicePort};

use super::attached::{Attached, Backends, OfPort};
use super::cluster::TO_WORKLOADS;

/// The routes of a port: those that are attached to it, else to its own endpoints.
pub(super) fn table<'a>(
    attached: &Attached<'a>,
    backends: &mut Backends<'a, '_>,
    service: &'a Service,
    port: &ServicePort,
) -> Result<RouteTable, TableError> {
    let own = backends.cluster(service, port);
    let OfPort { http, grpc } = attached.of(backends, service, port);
    let mut config = if http.is_empty() && grpc.is_empty() {
        single(&own, vec![to(&own)])
    } else {
        let http: Vec<&HttpRoute> = http.iter().collect();
        let grpc: Vec<&GrpcRoute> = grpc.iter().collect();
        let parent = MeshService { namespace: service.key.namespace.clone(), cluster: own.as_str().into() };
        service_routes(&own, Entry::http(port.service_port), &parent, &http, &grpc)
    };
    hash(&mut config, &backends.hashes);
    RouteTable::new(config)
}

/// The routes of what is addressed to workloads: to where it is addressed to.
pub(super) fn to_workloads() -> Result<RouteTable, TableError> {
    RouteTable::new(single(TO_WORKLOADS, vec![to(TO_WORKLOADS)]))
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

/// Adds what requests are hashed by: that of the first cluster of a route that chooses by a hash.
fn hash(config: &mut RouteConfig, hashes: &BTreeMap<String, Vec<HashPolicy>>) {
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
