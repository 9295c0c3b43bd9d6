use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::chain::FilterChain;
use super::matcher::{FilterChainMatch, SourceType, TransportProtocol};
use super::socket::SocketListener;
use crate::name::{Hostname, Text};

/// What is known of a connection when its chain is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFacts<'a> {
    /// Where it leads: the local address, or the one it was redirected from.
    pub destination: SocketAddr,
    /// The client: the other end of the socket, unless a PROXY header names another.
    pub source: SocketAddr,
    /// The other end of the socket.
    pub direct_source: IpAddr,
    /// The server name asked for in TLS.
    pub server_name: Option<&'a str>,
    /// What it begins with.
    pub transport_protocol: TransportProtocol,
    /// Application protocols offered in TLS, or found in plaintext; in the client's order.
    pub application_protocols: &'a [&'a str],
}

impl ConnectionFacts<'_> {
    /// A connection that nothing was found in.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            destination,
            source,
            direct_source: source.ip(),
            server_name: None,
            transport_protocol: TransportProtocol::RawBuffer,
            application_protocols: &[],
        }
    }
}

/// How well a field of a chain fits a connection: the larger the more specific, 0 for a field without a condition, `None`
/// when it does not fit.
type Fit = Option<usize>;

impl SocketListener {
    /// Whether there is a chain for some connection to this address.
    #[must_use]
    pub fn serves(&self, destination: SocketAddr) -> bool {
        let leads_here = |chain: &FilterChain| {
            let port = chain.matcher.destination_port;
            port.is_none_or(|port| port == destination.port())
                && fit_ranges(&chain.matcher.destination_ranges, destination.ip()).is_some()
        };
        self.default_chain.is_some() || self.chains.iter().any(leads_here)
    }

    /// The chain for a connection; `None` when it is to be closed without a byte.
    ///
    /// Field by field, in Envoy's order, only the chains stay whose field fits best. There is no way back: a chain that fits
    /// less well in an early field is not taken although the better one does not fit in a later field.
    #[must_use]
    pub fn choose_chain(&self, facts: &ConnectionFacts<'_>) -> Option<&FilterChain> {
        let steps: [fn(&FilterChainMatch, &ConnectionFacts<'_>) -> Fit; 9] = [
            |chain, facts| fit_option(chain.destination_port, facts.destination.port()),
            |chain, facts| fit_ranges(&chain.destination_ranges, facts.destination.ip()),
            |chain, facts| fit_server_name(&chain.server_names, facts.server_name),
            |chain, facts| fit_option(chain.transport_protocol, facts.transport_protocol),
            |chain, facts| fit_application_protocol(&chain.application_protocols, facts.application_protocols),
            |chain, facts| fit_ranges(&chain.direct_source_ranges, facts.direct_source),
            |chain, facts| fit_source_type(chain.source_type, facts),
            |chain, facts| fit_ranges(&chain.source_ranges, facts.source.ip()),
            |chain, facts| fit_source_port(&chain.source_ports, facts.source.port()),
        ];
        let mut left: Vec<&FilterChain> = self.chains.iter().collect();
        for step in steps {
            let best = left.iter().filter_map(|chain| step(&chain.matcher, facts)).max();
            left.retain(|chain| best.is_some() && step(&chain.matcher, facts) == best);
        }
        left.first().copied().or(self.default_chain.as_ref())
    }
}

fn fit_option<T: PartialEq>(wanted: Option<T>, value: T) -> Fit {
    match wanted {
        None => Some(0),
        Some(wanted) => (wanted == value).then_some(1),
    }
}

/// The longest prefix fits best. An IPv4 address is the same when a socket of both families wraps it into IPv6.
fn fit_ranges(ranges: &BTreeSet<IpNet>, address: IpAddr) -> Fit {
    let address = address.to_canonical();
    let fitting = ranges.iter().filter(|range| range.contains(&address));
    fit_set(ranges, fitting.map(|range| usize::from(range.prefix_len())).max())
}

/// The exact name fits best, then the wildcard with the longest end.
fn fit_server_name(names: &BTreeSet<Hostname>, asked: Option<&str>) -> Fit {
    let asked = asked.unwrap_or_default();
    let fit = |name: &Hostname| match name.as_str().strip_prefix('*') {
        None => name.as_str().eq_ignore_ascii_case(asked).then_some(usize::MAX - 1),
        Some(end) => {
            let at = asked.len().checked_sub(end.len()).filter(|at| *at > 0)?;
            let tail = asked.as_bytes().get(at..)?;
            tail.eq_ignore_ascii_case(end.as_bytes()).then_some(end.len())
        }
    };
    fit_set(names, names.iter().filter_map(fit).max())
}

/// The client's first protocol that any chain has fits best.
fn fit_application_protocol(protocols: &BTreeSet<Text>, offered: &[&str]) -> Fit {
    let first = offered.iter().position(|offered| protocols.contains(*offered));
    fit_set(protocols, first.map(|at| offered.len() - at))
}

fn fit_source_type(wanted: SourceType, facts: &ConnectionFacts<'_>) -> Fit {
    let source = facts.source.ip().to_canonical();
    let local = source.is_loopback() || source == facts.destination.ip().to_canonical();
    match wanted {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

fn fit_source_port(ports: &BTreeSet<u16>, port: u16) -> Fit {
    fit_set(ports, ports.contains(&port).then_some(0))
}

/// A field with a condition that fits is more specific than one without, whatever fits.
fn fit_set<T>(values: &BTreeSet<T>, fit: Fit) -> Fit {
    if values.is_empty() { Some(0) } else { fit.map(|fit| fit + 1) }
}
