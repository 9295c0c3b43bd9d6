//! Where the requests of a port go.

use mesh_core::route::{
    Action, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch, RouteTable, TableError,
    VirtualHost,
};

use super::cluster::{Maker, Spoken, TO_WORKLOADS, inbound};
use mesh_core::service::{Service, ServicePort};

/// The routes of a port: to its own endpoints.
pub(super) fn table(maker: &Maker<'_, '_>, service: &Service, port: &ServicePort) -> Result<RouteTable, TableError> {
    let cluster = inbound(service, port.service_port, Spoken::Http, None);
    let mut forward = plain(&cluster);
    forward.hash = maker.settings(service, port.service_port, None).hash();
    let routes = vec![route("default", forward)];
    config(&cluster, port.service_port, routes)
}

/// The routes of what is addressed to workloads: to where it is addressed to.
pub(super) fn to_workloads() -> Result<RouteTable, TableError> {
    config(TO_WORKLOADS, 0, vec![route("default", plain(TO_WORKLOADS))])
}

fn config(name: &str, port: u16, routes: Vec<Route>) -> Result<RouteTable, TableError> {
    let host = VirtualHost {
        name: format!("inbound|http|{port}").into(),
        domains: vec!["*".into()],
        routes,
        ..VirtualHost::default()
    };
    RouteTable::new(RouteConfig { name: name.into(), hosts: vec![host], ..RouteConfig::default() })
}

fn route(name: &str, forward: Forward) -> Route {
    let matcher = RouteMatch::new(PathMatch::prefix("/"));
    Route { name: name.into(), ..Route::new(matcher, Action::Forward(Box::new(forward))) }
}

/// As long as it takes, and once more where nothing was sent.
fn plain(cluster: &str) -> Forward {
    let mut forward = Forward::to(cluster);
    forward.timeout = Some(std::time::Duration::ZERO);
    forward.retry = Some(RetryPolicy { on: RetryOn::RESET_BEFORE_REQUEST, ..RetryPolicy::default() });
    forward
}
