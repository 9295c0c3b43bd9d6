//! Connections that are passed on unread, or with only their TLS ended.

use std::collections::BTreeSet;

use mesh_core::gateway::{Backend, INVALID_BACKEND, intersection};
use mesh_core::listener::{TcpProxy, TcpTarget, Terminal, WeightedTarget};
use mesh_core::name::{Hostname, Text};

use super::attach::{self, Attached, Route};
use super::listeners::Entry;
use super::port::At;
use crate::resource::StreamRouteRule;
use crate::translate::waypoint::Spoken;

/// Where the connections of a listener of TCP go: by the oldest route; `None` if there is none.
pub(super) fn tcp(at: &mut At<'_, '_>, entry: &Entry) -> Option<Terminal> {
    let routes = attach::routes(at.backends.reader, entry);
    let Attached { id, route: Route::Tcp(route), .. } = routes.first()? else { return None };
    at.kind.set(id.kind);
    Some(proxy(at, id.name.namespace.as_str(), &route.spec.rules))
}

/// Where those of a listener of TLS go, by server name; of several routes for one name the oldest counts.
pub(super) fn tls(at: &mut At<'_, '_>, entry: &Entry, secured: &[&Entry]) -> Vec<(Option<Hostname>, Terminal)> {
    let mut taken: BTreeSet<Option<Hostname>> = BTreeSet::new();
    let mut found = Vec::new();
    for Attached { id, route, hostnames, .. } in attach::routes(at.backends.reader, entry) {
        let Route::Tls(route) = route else { continue };
        let served: Vec<Option<Hostname>> = match hostnames.as_slice() {
            [] => vec![entry.hostname.clone()],
            names => names.iter().filter_map(|name| intersection(entry.hostname.as_ref(), name)).map(Some).collect(),
        };
        let own = served.into_iter().filter(|host| attach::is_for(entry, secured.iter().copied(), host.as_ref()));
        let own: Vec<_> = own.filter(|host| taken.insert(host.clone())).collect();
        if own.is_empty() {
            continue;
        }
        at.kind.set(id.kind);
        let terminal = proxy(at, id.name.namespace.as_str(), &route.spec.rules);
        found.extend(own.into_iter().map(|host| (host, terminal.clone())));
    }
    found
}

/// The share of a backend that is invalid finds nobody, and its connections are closed.
fn proxy(at: &mut At<'_, '_>, namespace: &str, rules: &[StreamRouteRule]) -> Terminal {
    let references = rules.first().map(|rule| rule.backend_refs.as_slice()).unwrap_or_default();
    let mut targets: Vec<WeightedTarget> = Vec::new();
    for reference in references {
        let weight = reference.weight.unwrap_or(1);
        let cluster: Text = match at.backends.backend(namespace, reference, Spoken::Tcp) {
            Backend::Cluster(name) => name,
            Backend::Invalid => INVALID_BACKEND.into(),
        };
        if weight > 0 {
            targets.push(WeightedTarget { cluster, weight });
        }
    }
    let mut proxy = TcpProxy::to(INVALID_BACKEND);
    proxy.target = match targets.as_slice() {
        [] => return Terminal::Close,
        [one] => TcpTarget::Cluster(one.cluster.clone()),
        _ => TcpTarget::Weighted(targets),
    };
    Terminal::Tcp(proxy)
}
