//! Listeners as Envoy has them: where connections are accepted, which chain of filters a connection gets, and what the
//! filters do.
//!
//! ```
//! use mesh_core::listener::{ConnectionFacts, FilterChain, FilterChainMatch, SocketListener, TcpProxy, Terminal};
//!
//! let chain = |server_name: &str, cluster| -> Result<FilterChain, mesh_core::name::Error> {
//!     let matcher = FilterChainMatch { server_names: [server_name.parse()?].into(), ..FilterChainMatch::default() };
//!     Ok(FilterChain { matcher, ..FilterChain::new(Terminal::Tcp(TcpProxy::to(cluster))) })
//! };
//! let mut listener = SocketListener::new("0.0.0.0:443".parse()?);
//! listener.chains = vec![chain("shop.example", "shop")?, chain("*.example", "rest")?];
//!
//! let facts = ConnectionFacts::new("10.0.0.1:1234".parse()?, "10.0.0.7:443".parse()?);
//! let with = |name| listener.choose_chain(&ConnectionFacts { server_name: Some(name), ..facts });
//! assert_eq!(with("shop.example"), Some(&listener.chains[0]));
//! assert_eq!(with("a.b.example"), Some(&listener.chains[1]));
//! assert_eq!(with("elsewhere"), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod choose;
mod http;
mod matcher;
mod socket;
mod tcp;

pub use chain::{Enforcement, FilterChain, NetworkRbac, Terminal};
pub use choose::ConnectionFacts;
pub use http::{
    ClientCertDetails, ClientCertHeader, Codec, ForwardedFor, HttpFilter, HttpFilterKind, HttpLimits, HttpManager,
    HttpTimeouts, RouteSource, ServerHeader, StripPort, Underscores, UpgradeSupport,
};
pub use matcher::{FilterChainMatch, SourceType, TransportProtocol};
pub use socket::{Direction, Drain, Listener, ListenerFilter, ListenerKind, SocketListener};
pub use tcp::{TcpProxy, TcpTarget, WeightedTarget};

pub use crate::path::{EscapedSlashes, PathNormalization};

#[cfg(test)]
mod tests;
