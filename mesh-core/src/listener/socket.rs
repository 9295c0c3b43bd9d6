use std::net::SocketAddr;
use std::time::Duration;

use super::chain::FilterChain;
use super::http::HttpManager;
use crate::name::Text;

/// Where connections or calls enter. Envoy's `Listener`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Text,
    /// What it is.
    pub kind: ListenerKind,
}

impl Listener {
    /// What is said of the connections that it gets; `None` if it gets none, but stands for what clients call.
    #[must_use]
    pub fn socket(&self) -> Option<&SocketListener> {
        match &self.kind {
            ListenerKind::Socket(socket) | ListenerKind::Internal(socket) => Some(socket),
            ListenerKind::Api(_) => None,
        }
    }
}

/// What a [`Listener`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum ListenerKind {
    /// It accepts connections.
    Socket(Box<SocketListener>),
    /// It gets the streams that something else in the process has taken out of their tunnels, with the addresses they were
    /// meant for. It has no addresses of its own, and binds none.
    Internal(Box<SocketListener>),
    /// It stands for what a client without a proxy calls by the listener's name (gRPC's proposal A27).
    Api(Box<HttpManager>),
}

/// A listener that accepts connections.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketListener {
    /// Where it listens, at least one address; none for a [`ListenerKind::Internal`].
    pub addresses: Vec<SocketAddr>,
    /// Whether it binds its addresses. One that does not gets the connections that others hand over.
    pub bind_to_port: bool,
    /// Whether a connection is handed over to the listener of the address it was redirected from, if there is one.
    pub use_original_dst: bool,
    /// Whether the socket is transparent; `None` leaves it as it is.
    pub transparent: Option<bool>,
    /// Whether an address may be bound that the machine does not have; `None` leaves it as it is.
    pub freebind: Option<bool>,
    /// Which way connections go.
    pub direction: Direction,
    /// What is found out of a connection before its chain is chosen, in this order.
    pub inspectors: Vec<ListenerFilter>,
    /// How long that may take; `None` for no limit. Default: 15 s.
    pub inspection_timeout: Option<Duration>,
    /// Whether a connection goes on, with what was found so far, when it took longer; otherwise it is closed.
    pub continue_after_timeout: bool,
    /// Chains, of which no two clash.
    pub chains: Vec<FilterChain>,
    /// The chain for connections that no other is for; without one they are closed.
    pub default_chain: Option<FilterChain>,
    /// How much may be buffered per connection and direction, in bytes. Default: 1 MiB.
    pub buffer_bytes: u32,
    /// When its connections are drained.
    pub drain: Drain,
}

impl SocketListener {
    /// A listener without chains.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { addresses: vec![address], bind_to_port: true, ..Self::internal() }
    }

    /// A listener without chains for a [`ListenerKind::Internal`].
    #[must_use]
    pub fn internal() -> Self {
        Self {
            addresses: Vec::new(),
            bind_to_port: false,
            use_original_dst: false,
            transparent: None,
            freebind: None,
            direction: Direction::Unspecified,
            inspectors: Vec::new(),
            inspection_timeout: Some(Duration::from_secs(15)),
            continue_after_timeout: false,
            chains: Vec::new(),
            default_chain: None,
            buffer_bytes: 1024 * 1024,
            drain: Drain::Default,
        }
    }

    /// Whether the beginning of a connection is looked at for a TLS handshake: when an inspector says so, and, as in Envoy,
    /// when a chain asks for what only a handshake tells.
    #[must_use]
    pub fn inspects_tls(&self) -> bool {
        let inspector = |filter: &ListenerFilter| matches!(filter, ListenerFilter::TlsInspector { .. });
        self.inspectors.iter().any(inspector) || self.chains.iter().any(|chain| chain.matcher.needs_tls_inspection())
    }

    /// Whether the address that a connection was redirected from is found out: when an inspector says so, or when
    /// connections are handed over by it.
    #[must_use]
    pub fn restores_original_dst(&self) -> bool {
        self.use_original_dst || self.inspectors.contains(&ListenerFilter::OriginalDst)
    }
}

/// Which way the connections of a listener go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not said.
    #[default]
    Unspecified,
    /// To a workload here.
    Inbound,
    /// From a workload here.
    Outbound,
}

/// When connections of a listener are drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Drain {
    /// When it changes or goes, when health checks are made to fail, when the process ends.
    #[default]
    Default,
    /// Only when it changes or goes.
    ModifyOnly,
}

/// Finds something out of a connection before its chain is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenerFilter {
    /// Server name and application protocols of a TLS handshake.
    TlsInspector {
        /// Whether a connection is closed that begins like TLS but cannot be read.
        close_on_error: bool,
        /// Largest hello that is read, in bytes; `None` for the implementation's choice.
        max_hello_bytes: Option<u32>,
    },
    /// The protocol of a plaintext connection: HTTP/1.0, HTTP/1.1 or HTTP/2.
    HttpInspector,
    /// The address a connection was redirected from.
    OriginalDst,
    /// The PROXY header, whose sender must be trusted.
    ProxyProtocol {
        /// Whether connections without a header are let through.
        optional: bool,
        /// Whether version 1 is understood.
        v1: bool,
        /// Whether version 2 is understood.
        v2: bool,
    },
}
