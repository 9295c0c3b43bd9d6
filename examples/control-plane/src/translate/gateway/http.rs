//! Requests: which routes they take, and how they are read.

use mesh_core::gateway::{self, GrpcRoute, HttpRoute, filter_name, listener_routes};
use mesh_core::listener::{
    ClientCertDetails, ClientCertHeader, ForwardedFor, HttpManager, PathNormalization, RouteSource, ServerHeader,
    Terminal, UpgradeSupport,
};
use mesh_core::name::{Hostname, Text};
use mesh_core::route::{Action, DirectResponse, PathMatch, Route, RouteConfig, RouteMatch, RouteTable};

use super::attach::{self, Attached};
use super::listeners::Entry;
use super::port::At;
use crate::resource::Kind;
use crate::translate::waypoint::{self, Policies, Spoken};

/// The routes of one listener.
#[derive(Default)]
struct OfListener {
    http: Vec<HttpRoute>,
    grpc: Vec<GrpcRoute>,
}

/// The routes of listeners without TLS that share a port.
pub(super) fn plain(at: &mut At<'_, '_>, port: u16, entries: &[&Entry]) -> Option<RouteTable> {
    let routes: Vec<OfListener> = entries.iter().map(|entry| of_listener(at, entry)).collect();
    let listeners: Vec<_> = entries.iter().zip(&routes).map(|(entry, routes)| listener(entry, Some(routes))).collect();
    let name = format!("http.{port}");
    table(at, listener_routes(&name, gateway::Entry::http(port), &listeners))
}

/// The routes of a listener with TLS. A request that belongs to another one of the port is told to go there.
pub(super) fn secure(at: &mut At<'_, '_>, entry: &Entry, entries: &[&Entry]) -> Option<RouteTable> {
    let routes = of_listener(at, entry);
    let is_own = |other: &Entry| (&other.owner, &other.name) == (&entry.owner, &entry.name);
    let listeners: Vec<_> = entries.iter().map(|other| listener(other, is_own(other).then_some(&routes))).collect();
    let mut config = listener_routes(&name(entry), gateway::Entry::https(entry.port), &listeners);
    for host in &mut config.hosts {
        let domain = host.domains.first().filter(|domain| **domain != *"*");
        let domain = domain.and_then(|domain| Hostname::parse(domain.as_str()).ok());
        if !attach::is_for(entry, entries.iter().copied(), domain.as_ref()) {
            host.routes = vec![misdirected()];
        }
    }
    table(at, config)
}

/// The name of the table of a listener with TLS.
pub(super) fn name(entry: &Entry) -> String {
    let owner = &entry.owner.name;
    format!("https.{}.{}.{}.{}", entry.port, entry.name, owner.name, owner.namespace)
}

/// Reads requests, and has them take the routes of a table.
pub(super) fn manager(table: &RouteTable, policies: &Policies, verifies_clients: bool) -> Terminal {
    let mut manager = HttpManager::new(RouteSource::Rds(table.config().name.clone()));
    let (before, after): (Vec<_>, Vec<_>) =
        waypoint::filters(table).into_iter().partition(|filter| filter.name == *filter_name::CORS);
    manager.filters = before;
    manager.filters.extend(policies.requests());
    manager.filters.extend(after);
    // A stream may be silent for as long as both ends like.
    manager.timeouts.stream_idle = None;
    // Policies are about paths as servers understand them.
    manager.path = PathNormalization { normalize: true, ..PathNormalization::default() };
    // Who comes from outside is not believed about where it comes from.
    manager.forwarded_for = ForwardedFor { use_remote_address: true, ..ForwardedFor::default() };
    manager.server_header = ServerHeader::PassThrough;
    manager.client_cert = match verifies_clients {
        true => ClientCertHeader::SanitizeSet(ClientCertDetails {
            subject: true,
            dns_names: true,
            uri: true,
            ..ClientCertDetails::default()
        }),
        false => ClientCertHeader::Sanitize,
    };
    manager.upgrades = vec![UpgradeSupport { protocol: "websocket".into(), enabled: true }];
    Terminal::Http(Box::new(manager))
}

fn of_listener(at: &mut At<'_, '_>, entry: &Entry) -> OfListener {
    let mut routes = OfListener::default();
    for Attached { id, route, hostnames, .. } in attach::routes(at.backends.reader, entry) {
        at.kind.set(id.kind);
        at.backends.spoken = if id.kind == Kind::GrpcRoute { Spoken::Grpc } else { Spoken::Http };
        match route {
            attach::Route::Http(route) => {
                let made = waypoint::http_route(route, &mut at.backends);
                routes.http.push(HttpRoute { hostnames, ..made });
            }
            attach::Route::Grpc(route) => {
                let made = waypoint::grpc_route(route, &mut at.backends);
                routes.grpc.push(GrpcRoute { hostnames, ..made });
            }
            attach::Route::Tls(_) | attach::Route::Tcp(_) => {}
        }
    }
    routes
}

fn listener<'r>(entry: &Entry, routes: Option<&'r OfListener>) -> gateway::Listener<'r> {
    gateway::Listener {
        hostname: entry.hostname.clone(),
        http: routes.iter().flat_map(|routes| &routes.http).collect(),
        grpc: routes.iter().flat_map(|routes| &routes.grpc).collect(),
    }
}

fn table(at: &At<'_, '_>, mut config: RouteConfig) -> Option<RouteTable> {
    waypoint::hash(&mut config, &at.backends.hashes);
    RouteTable::new(config).ok()
}

fn misdirected() -> Route {
    let answer = DirectResponse { status: 421, body: Vec::new() };
    let name: Text = "misdirected".into();
    Route { name, ..Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Respond(answer)) }
}
