//! In which order a client is told of a change, so that it breaks nothing on the way: the order that the service gives to its
//! types, and of Envoy's own types which wait until the client has accepted others (make before break).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::visible::Visible;

pub(super) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(super) const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const SCOPED_ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";

/// Clusters before what routes to them; each type but endpoints waits until the client has accepted those before it.
const CHAIN: [&str; 4] = [CLUSTER, ENDPOINTS, LISTENER, ROUTE];

/// Types whose answers hold every resource in the state-of-the-world protocol, so that one that is absent is gone.
pub(super) fn is_full_state(type_url: &str) -> bool {
    [CLUSTER, LISTENER, SCOPED_ROUTE].contains(&type_url)
}

/// Whether a type is one of those that wait for each other, and whose removals come last.
pub(super) fn is_chained(type_url: &str) -> bool {
    CHAIN.contains(&type_url)
}

/// What is asked of a subscription, in either variant of the protocol.
pub(super) trait Subscribed {
    /// Whether the client has yet to accept or reject what it was sent last.
    fn is_waiting(&self) -> bool;
    /// Whether the client was sent a resource and not told that it is gone.
    fn has(&self, name: &str) -> bool;
    /// Whether something that the client has is gone, and it was not told yet.
    fn loses(&self) -> bool;
    /// Of clusters: names that were sent for the first time, so that the client will want their endpoints.
    fn introduced(&self) -> &BTreeSet<Arc<str>>;
}

/// The subscriptions of one stream.
pub(super) type Types<S> = BTreeMap<String, S>;

/// The types that are subscribed to: those of the order, then the others.
pub(super) fn sorted<S>(types: &Types<S>, order: &[&str]) -> Vec<String> {
    let ordered = order.iter().filter(|url| types.contains_key(**url)).map(|url| (*url).to_owned());
    let others = types.keys().filter(|url| !order.contains(&url.as_str())).cloned();
    ordered.chain(others).collect()
}

/// Whether what is new of a type waits until the client has accepted what comes before it. Endpoints never do: Envoy does not
/// accept new clusters before it has their endpoints.
pub(super) fn must_wait<S: Subscribed>(types: &Types<S>, type_url: &str, endpoints: Visible<'_>) -> bool {
    let at = CHAIN.iter().position(|url| *url == type_url).unwrap_or(0);
    let before = &CHAIN[..at];
    type_url != ENDPOINTS
        && !before.is_empty()
        && (before.iter().any(|url| is_waiting(types, url)) || lacks_endpoints(types, endpoints))
}

/// Whether what is gone of a type waits until the client refers to it no longer; `holding`: something new waits already.
pub(super) fn must_stay<S: Subscribed>(
    types: &Types<S>,
    type_url: &str,
    endpoints: Visible<'_>,
    holding: bool,
) -> bool {
    is_chained(type_url)
        && (holding || CHAIN.iter().any(|url| is_waiting(types, url)) || lacks_endpoints(types, endpoints))
}

fn is_waiting<S: Subscribed>(types: &Types<S>, type_url: &str) -> bool {
    types.get(type_url).is_some_and(Subscribed::is_waiting)
}

/// Whether the client has yet to be sent the endpoints of a new cluster.
fn lacks_endpoints<S: Subscribed>(types: &Types<S>, endpoints: Visible<'_>) -> bool {
    let Some(clusters) = types.get(CLUSTER) else { return false };
    let known = types.get(ENDPOINTS);
    let lacks = |name: &Arc<str>| endpoints.get(name).is_some() && !known.is_some_and(|known| known.has(name));
    clusters.introduced().iter().any(lacks)
}
