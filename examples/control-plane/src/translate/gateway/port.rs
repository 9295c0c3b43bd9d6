//! One port of a Gateway: its listener, and what that leads to. It depends on nothing that other ports are about, and not on
//! endpoints.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::listener::{
    Direction, FilterChain, FilterChainMatch, Listener, ListenerFilter, ListenerKind, SocketListener, Terminal,
    TransportProtocol,
};
use mesh_core::name::{Hostname, NamespacedName, Text};
use mesh_core::route::RouteTable;
use mesh_core::service::{Service, ServicePort};
use mesh_core::tls::{ClientCertificate, DownstreamTls};

use super::listeners::{Entry, Frame, Protocol};
use super::{backend_tls, http, stream};
use crate::resource::{BackendRef, Kind};
use crate::translate::facts::Reader;
use crate::translate::waypoint::{self, Backends, Policies, Spec, Specs};

/// How long a handshake may take, as Istio has it.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// What a Gateway has for a port.
#[derive(Debug, PartialEq)]
pub(in crate::translate) struct Port {
    pub(super) listener: Option<Listener>,
    pub(super) routes: BTreeMap<Text, Arc<RouteTable>>,
    pub(super) clusters: Specs,
}

/// Where routes are being read.
pub(super) struct At<'a, 'r> {
    pub(super) backends: Backends<'a, 'r>,
    /// The kind of the route whose backends are looked for.
    pub(super) kind: &'r Cell<Kind>,
}

/// A port of a Gateway.
pub(in crate::translate) fn port(reader: &Reader<'_>, key: &NamespacedName, frame: &Frame, number: u16) -> Port {
    let kind = Cell::new(Kind::HttpRoute);
    let permits = |namespace: &str, reference: &BackendRef, service: &Service, port: &ServicePort| {
        is_permitted(reader, (kind.get(), namespace), reference)
            && backend_tls::of(reader, key, &service.key, port.service_port).is_none_or(|tls| tls.is_ok())
    };
    let mut backends = Backends::within(reader, key.namespace.as_str());
    backends.permits = Some(&permits);
    let policies = waypoint::of_gateway(&mut backends, key, &frame.labels);
    let mut at = At { backends, kind: &kind };
    let mut made = Chains::default();
    made.of(&mut at, frame.of_port(number), number, &policies);
    let mut clusters = at.backends.specs;
    clusters.extend(policies.keys.iter().map(|keys| (keys.name().into(), Spec::Keys(keys.clone()))));
    let Chains { chains, routes } = made;
    Port { listener: listener(frame, number, chains), routes, clusters }
}

/// Whether a route may refer to an object.
fn is_permitted(reader: &Reader<'_>, (kind, namespace): (Kind, &str), reference: &BackendRef) -> bool {
    let to = NamespacedName::new(reference.namespace.as_deref().unwrap_or(namespace), reference.name.as_str());
    let group = reference.group.as_deref().filter(|group| *group != "core").unwrap_or_default();
    reader.permits((kind, namespace), (group, reference.kind.as_deref().unwrap_or("Service"), &to))
}

/// The listener at all addresses; none without a chain.
fn listener(frame: &Frame, port: u16, chains: Vec<FilterChain>) -> Option<Listener> {
    let mut addresses = frame.addresses(port);
    if chains.is_empty() || addresses.is_empty() {
        return None;
    }
    let mut socket = SocketListener::new(addresses.remove(0));
    socket.addresses.append(&mut addresses);
    socket.direction = Direction::Outbound;
    if chains.iter().any(|chain| chain.matcher.transport_protocol.is_some()) {
        socket.inspectors.push(ListenerFilter::TlsInspector { close_on_error: false, max_hello_bytes: None });
    }
    socket.chains = chains;
    Some(Listener { name: format!("0.0.0.0_{port}").into(), kind: ListenerKind::Socket(Box::new(socket)) })
}

/// The chains of a port, and the routes that they name.
#[derive(Default)]
struct Chains {
    chains: Vec<FilterChain>,
    routes: BTreeMap<Text, Arc<RouteTable>>,
}

impl Chains {
    fn of(&mut self, at: &mut At<'_, '_>, entries: &[Entry], number: u16, policies: &Policies) {
        let of = |wanted: fn(&Protocol) -> bool| entries.iter().filter(move |entry| wanted(&entry.protocol));
        let plain: Vec<&Entry> = of(|protocol| *protocol == Protocol::Http).collect();
        if !plain.is_empty() {
            let terminal = self.requests(http::plain(at, number, &plain), policies, false);
            self.push(format!("http.{number}"), FilterChain::new(terminal));
        }
        let https: Vec<&Entry> = of(|protocol| matches!(protocol, Protocol::Https(_))).collect();
        let secured: Vec<&Entry> = of(|protocol| !matches!(protocol, Protocol::Http | Protocol::Tcp)).collect();
        for entry in entries {
            match &entry.protocol {
                Protocol::Http => {}
                Protocol::Https(tls) => {
                    let verifies = tls.client != ClientCertificate::NotAsked;
                    let terminal = self.requests(http::secure(at, entry, &https), policies, verifies);
                    self.secured(http::name(entry), entry.hostname.clone(), Some(tls), terminal, policies);
                }
                Protocol::Tls(_) | Protocol::Passthrough => {
                    let tls = match &entry.protocol {
                        Protocol::Tls(tls) => Some(&**tls),
                        _ => None,
                    };
                    for (host, terminal) in stream::tls(at, entry, &secured) {
                        let shown = host.as_ref().map_or("*", Hostname::as_str);
                        let name = format!("tls.{number}.{}.{shown}", entry.name);
                        self.secured(name, host, tls, terminal, policies);
                    }
                }
                Protocol::Tcp => {
                    let terminal = stream::tcp(at, entry).map(FilterChain::new);
                    let chain = terminal.map(|chain| FilterChain { rbac: policies.connections(), ..chain });
                    chain.into_iter().for_each(|chain| self.push(format!("tcp.{number}"), chain));
                }
            }
        }
    }

    /// Adds a chain for TLS that asks for a name, or for any.
    fn secured(
        &mut self,
        name: String,
        host: Option<Hostname>,
        tls: Option<&DownstreamTls>,
        terminal: Terminal,
        policies: &Policies,
    ) {
        let matcher = FilterChainMatch {
            server_names: host.into_iter().collect::<BTreeSet<_>>(),
            transport_protocol: Some(TransportProtocol::Tls),
            ..FilterChainMatch::default()
        };
        let rbac = if matches!(terminal, Terminal::Http(_)) { Vec::new() } else { policies.connections() };
        let handshake_timeout = tls.map(|_| HANDSHAKE);
        let chain = FilterChain { matcher, tls: tls.cloned(), handshake_timeout, rbac, ..FilterChain::new(terminal) };
        self.push(name, chain);
    }

    fn push(&mut self, name: String, chain: FilterChain) {
        self.chains.push(FilterChain { name: name.into(), ..chain });
    }

    /// Has requests take the routes of a table. A table that cannot be closes connections.
    fn requests(&mut self, table: Option<RouteTable>, policies: &Policies, verifies_clients: bool) -> Terminal {
        let Some(table) = table else { return Terminal::Close };
        let terminal = http::manager(&table, policies, verifies_clients);
        self.routes.insert(table.config().name.clone(), Arc::new(table));
        terminal
    }
}
