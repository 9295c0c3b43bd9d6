use std::time::Duration;

use super::http::HttpManager;
use super::matcher::FilterChainMatch;
use super::tcp::TcpProxy;
use crate::authz::rbac::RbacFilter;
use crate::name::Text;
use crate::tls::DownstreamTls;

/// What is done with some of the connections of a listener. Envoy's `FilterChain`.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    /// Its name, for logs; may be empty.
    pub name: Text,
    /// Which connections. Without effect on a default chain.
    pub matcher: FilterChainMatch,
    /// How they are secured; `None` for plaintext.
    pub tls: Option<DownstreamTls>,
    /// How long a handshake may take; `None` for no limit.
    pub handshake_timeout: Option<Duration>,
    /// Access control on connections; all must let a connection pass.
    pub rbac: Vec<NetworkRbac>,
    /// What happens to connections that pass.
    pub terminal: Terminal,
}

impl FilterChain {
    /// A chain for any connection, in plaintext.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        Self {
            name: Text::default(),
            matcher: FilterChainMatch::default(),
            tls: None,
            handshake_timeout: None,
            rbac: Vec::new(),
            terminal,
        }
    }
}

/// The last filter of a chain.
#[derive(Debug, Clone, PartialEq)]
pub enum Terminal {
    /// Bytes are passed on.
    Tcp(TcpProxy),
    /// Requests are read and routed.
    Http(Box<HttpManager>),
    /// There is none: the connection is closed.
    Close,
}

/// Access control on connections. Envoy's `envoy.extensions.filters.network.rbac.v3.RBAC`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkRbac {
    /// The rules; none of their conditions is on requests.
    pub filter: RbacFilter,
    /// When they are evaluated.
    pub enforcement: Enforcement,
    /// How long a connection that is denied is kept open without being read; `None` closes it at once.
    pub delay_deny: Option<Duration>,
}

/// When rules on connections are evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// When the first byte arrives.
    #[default]
    OnFirstByte,
    /// Whenever bytes arrive.
    Continuous,
}
