//! The listener `main_internal`: a chain for each port of each service, and for what is addressed to workloads.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mesh_core::listener::{
    ClientCertHeader, Direction, FilterChain, FilterChainMatch, HttpManager, Listener, ListenerFilter, ListenerKind,
    NetworkRbac, PathNormalization, RouteSource, ServerHeader, SocketListener, TcpProxy, TcpTarget, Terminal,
    UpgradeSupport,
};
use mesh_core::route::RouteTable;
use mesh_core::service::{AppProtocol, Service, ServicePort};

use super::cluster::{Spoken, TO_WORKLOADS, inbound};
use super::destination::Settings;
use super::policy::Policies;
use super::routes;
use crate::translate::Place;

/// The listener that gets the streams of tunnels that end here.
pub(crate) const MAIN: &str = "main_internal";

/// Chains for what is addressed to workloads themselves.
pub(crate) const DIRECT_HTTP: &str = "direct-http";
pub(crate) const DIRECT_TCP: &str = "direct-tcp";

/// What HTTP looks like where nobody says what is spoken.
const HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// Gathers the chains of a listener.
#[derive(Default)]
pub(super) struct Chains {
    chains: Vec<FilterChain>,
    /// Ports and addresses that are taken.
    taken: BTreeSet<(u16, IpNet)>,
}

/// The addresses of a service in a network.
pub(in crate::translate) fn ranges(service: &Service, place: &Place) -> BTreeSet<IpNet> {
    let here = service.vips.iter().filter(|(network, _)| *network == *place.network);
    here.map(|(_, range)| range.trunc()).collect()
}

/// A chain for the HTTP of a port, at no address yet.
pub(super) fn http(service: &Service, port: &ServicePort, table: RouteTable, policies: &Policies) -> FilterChain {
    let sniffed = port.protocol == AppProtocol::Unknown;
    FilterChain {
        name: inbound(service, port.service_port, Spoken::Http, None).into(),
        matcher: matcher(Some(port.service_port), &BTreeSet::new(), sniffed),
        ..FilterChain::new(manager(table, policies))
    }
}

/// A chain for the TCP of a port, at no address yet.
pub(super) fn tcp(
    service: &Service,
    port: &ServicePort,
    settings: &Settings<'_>,
    target: Option<TcpTarget>,
    rbac: Vec<NetworkRbac>,
) -> FilterChain {
    let name = inbound(service, port.service_port, Spoken::Tcp, None);
    let mut proxy = TcpProxy::to(&name);
    proxy.target = target.unwrap_or(proxy.target);
    let (idle, longest) = settings.tcp_times();
    proxy.idle_timeout = idle.or(proxy.idle_timeout);
    proxy.max_duration = longest;
    proxy.hash_source_ip = settings.hashes_source();
    FilterChain {
        name: name.into(),
        matcher: matcher(Some(port.service_port), &BTreeSet::new(), false),
        rbac,
        ..FilterChain::new(Terminal::Tcp(proxy))
    }
}

impl Chains {
    /// The addresses that a chain of a port may have: those that no service has had before.
    pub(super) fn take(&mut self, port: u16, ranges: &BTreeSet<IpNet>) -> BTreeSet<IpNet> {
        ranges.iter().filter(|range| self.taken.insert((port, **range))).copied().collect()
    }

    /// Adds a chain at addresses.
    pub(super) fn push(&mut self, chain: &FilterChain, ranges: &BTreeSet<IpNet>) {
        let mut chain = chain.clone();
        chain.matcher.destination_ranges.clone_from(ranges);
        self.chains.push(chain);
    }

    /// Chains for what is addressed to workloads.
    ///
    /// A chain without a port is not looked at for a port that another chain has, whatever the address; so there is one for
    /// each of these ports too.
    pub(super) fn workloads(&mut self, ranges: &BTreeSet<IpNet>, table: &RouteTable, policies: &Policies) {
        if ranges.is_empty() {
            return;
        }
        let of_services: BTreeSet<Option<u16>> =
            self.chains.iter().map(|chain| chain.matcher.destination_port).collect();
        for port in [None].into_iter().chain(of_services) {
            let name = |kind: &str| port.map_or_else(|| kind.to_owned(), |port| format!("{kind}|{port}"));
            self.chains.push(FilterChain {
                name: name(DIRECT_HTTP).into(),
                matcher: matcher(port, ranges, true),
                ..FilterChain::new(manager(table.clone(), policies))
            });
            self.chains.push(FilterChain {
                name: name(DIRECT_TCP).into(),
                matcher: matcher(port, ranges, false),
                rbac: policies.connections(),
                ..FilterChain::new(Terminal::Tcp(TcpProxy::to(TO_WORKLOADS)))
            });
        }
    }

    /// The listener; none without a chain, as Envoy has none either.
    pub(super) fn finish(self) -> Option<Listener> {
        if self.chains.is_empty() {
            return None;
        }
        let mut listener = SocketListener::internal();
        listener.direction = Direction::Inbound;
        // What a stream was meant for is found in what came along with it.
        listener.inspectors.push(ListenerFilter::OriginalDst);
        if self.chains.iter().any(|chain| !chain.matcher.application_protocols.is_empty()) {
            listener.inspectors.push(ListenerFilter::HttpInspector);
        }
        listener.continue_after_timeout = true;
        listener.chains = self.chains;
        Some(Listener { name: MAIN.into(), kind: ListenerKind::Internal(Box::new(listener)) })
    }
}

fn matcher(port: Option<u16>, ranges: &BTreeSet<IpNet>, sniffed: bool) -> FilterChainMatch {
    FilterChainMatch {
        destination_port: port,
        destination_ranges: ranges.clone(),
        application_protocols: HTTP.iter().filter(|_| sniffed).map(|name| (*name).into()).collect(),
        ..FilterChainMatch::default()
    }
}

fn manager(table: RouteTable, policies: &Policies) -> Terminal {
    let filters = routes::filters(&table);
    let mut manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
    manager.filters = policies.requests();
    manager.filters.extend(filters);
    // A stream may be silent for as long as both ends like.
    manager.timeouts.stream_idle = None;
    // Policies are about paths as servers understand them.
    manager.path = PathNormalization { normalize: true, ..PathNormalization::default() };
    manager.server_header = ServerHeader::PassThrough;
    manager.client_cert = ClientCertHeader::Sanitize;
    manager.upgrades = vec![UpgradeSupport { protocol: "websocket".into(), enabled: true }];
    Terminal::Http(Box::new(manager))
}
