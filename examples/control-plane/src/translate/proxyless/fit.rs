//! Routes, in words that gRPC understands. What it would reject takes all routes of the port with it, and what it passes over
//! would match too much; so neither is said.

use mesh_core::name::Text;
use mesh_core::request::{Condition, Field, HeaderMatch};
use mesh_core::route::{
    Action, ClusterChoice, FilterOverride, FilterOverrides, Forward, PathMatch, RetryPolicy, Route, RouteConfig,
    RouteMatch, StreamDuration,
};

/// What every call is.
const METHOD: &str = "POST";

/// The routes for clients of a namespace.
pub(super) fn config(mut config: RouteConfig, namespace: &Text) -> RouteConfig {
    faults_only(&mut config.filters);
    for host in &mut config.hosts {
        faults_only(&mut host.filters);
        host.retry = host.retry.take().filter(is_retry);
        let routes = std::mem::take(&mut host.routes);
        host.routes = routes.into_iter().flat_map(|route| fit(route, namespace)).collect();
    }
    config
}

/// The routes by which gRPC does what a route says; none if it is not for these clients, or asks for what gRPC cannot see.
fn fit(mut route: Route, namespace: &Text) -> Vec<Route> {
    let RouteMatch { headers, query, cookies, peer, .. } = &mut route.matcher;
    // Which account of the namespace a client is does not matter to any of them.
    let client = format!("spiffe://any/ns/{namespace}/sa/any");
    let is_for_clients = peer.drain(..).all(|pattern| pattern.is_match(&client));
    headers.retain(|header| !is_met(header));
    if !is_for_clients || !query.is_empty() || !cookies.is_empty() || !headers.iter().all(is_visible) {
        return Vec::new();
    }
    faults_only(&mut route.filters);
    if let Action::Forward(forward) = &mut route.action {
        fit_forward(forward);
    }
    match &route.matcher.path {
        PathMatch::Connect => Vec::new(),
        PathMatch::Separated { prefix, ignore_case } => {
            let below = PathMatch::Prefix { prefix: format!("{prefix}/").into(), ignore_case: *ignore_case };
            let itself = PathMatch::Exact { path: prefix.clone(), ignore_case: *ignore_case };
            [itself, below].map(|path| with_path(&route, path)).into()
        }
        _ => vec![route],
    }
}

fn with_path(route: &Route, path: PathMatch) -> Route {
    Route { matcher: RouteMatch { path, ..route.matcher.clone() }, ..route.clone() }
}

fn fit_forward(forward: &mut Forward) {
    forward.retry = forward.retry.take().filter(is_retry);
    let longest = forward.timeout.filter(|timeout| !timeout.is_zero());
    if forward.stream_duration.is_none() {
        forward.stream_duration = longest.map(|max| StreamDuration { max: Some(max), ..StreamDuration::default() });
    }
    if let ClusterChoice::Weighted(weighted) = &mut forward.cluster {
        weighted.clusters.iter_mut().for_each(|one| faults_only(&mut one.filters));
    }
}

fn is_retry(policy: &RetryPolicy) -> bool {
    policy.retries > 0
}

fn faults_only(filters: &mut FilterOverrides) {
    filters.retain(|_, setting| matches!(setting, FilterOverride::Fault(_)));
}

/// Whether a condition holds of every call.
fn is_met(header: &HeaderMatch) -> bool {
    let holds = match (&header.name, &header.condition) {
        (Field::Method, Condition::Text(pattern)) => pattern.is_match(METHOD),
        (Field::Method, Condition::Present(wanted)) => *wanted,
        _ => return false,
    };
    holds != header.invert
}

/// Whether gRPC can tell whether a condition holds.
fn is_visible(header: &HeaderMatch) -> bool {
    matches!(&header.name, Field::Header(name) if !name.as_str().ends_with("-bin"))
}
