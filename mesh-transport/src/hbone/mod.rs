//! HBONE: one TCP connection, mutual TLS, HTTP/2, and one CONNECT stream per proxied connection whose DATA frames carry
//! the raw bytes. As Istio's ztunnel and Envoy speak it.

pub mod baggage;
pub(crate) mod client;
mod forwarded;
pub(crate) mod judged;
pub mod limits;
pub mod pool;
mod request;
pub(crate) mod secure;
mod server;
mod status;
mod stream;

pub use client::{Client, Driver, handshake};
pub use forwarded::{Forwarded, TraceId, traceparent};
pub use request::{
    ConnectHeaders, NETWORK_HEADER, RequestError, SOURCE_HEADER, WAYPOINT, connect_request, destination,
};
pub use server::{Connect, Server};
pub use status::{REASON_HEADER, Refused};
pub use stream::{HboneStream, ReadHalf, WriteHalf};

/// The application protocol of HBONE in TLS.
pub const ALPN: &[u8] = b"h2";

/// Why a tunnel could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TCP connection failed.
    #[error("cannot connect to {to}{}", if source.kind() == std::io::ErrorKind::TimedOut { ": no answer; a network policy may block the port of tunnels" } else { "" })]
    Connect {
        /// Where to.
        to: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {to} failed{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Tls {
        /// With whom.
        to: std::net::SocketAddr,
        /// Our own verdict on the peer's certificate, if that was it.
        reason: Option<mesh_identity::verify::Error>,
        /// Why.
        source: std::io::Error,
    },
    /// No TLS configuration could be made.
    #[error("no TLS configuration")]
    Config(#[from] mesh_identity::tls::Error),
    /// The other end answered no step of the handshake in time.
    #[error("{0} did not complete the {1} in time")]
    Timeout(std::net::SocketAddr, &'static str),
    /// HTTP/2 failed.
    #[error("HTTP/2 failed")]
    Http2(#[from] h2::Error),
    /// The other end does not speak HTTP/2.
    #[error("{0} does not speak HTTP/2")]
    NotHttp2(std::net::SocketAddr),
    /// The other end refused the CONNECT request.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The pool was shut down.
    #[error("the pool is shut down")]
    Closed,
}

#[cfg(test)]
mod tests;
