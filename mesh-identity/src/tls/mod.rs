//! TLS configurations that follow a live SVID and live bundles: made once, they present the newest certificate and
//! judge by the newest trust in every handshake.
//!
//! The settings are those of HBONE: TLS 1.3, `TLS13_AES_256_GCM_SHA384` and `TLS13_AES_128_GCM_SHA256`, key exchange by
//! X25519MLKEM768, X25519, P-256 or P-384, no SNI, no resumption (a ticket would let a peer skip the verification of its
//! chain), no early data.
//!
//! Where a configuration says how connections are secured ([`mesh_core::tls`]), [`Origination`] and [`Termination`] do it.

mod config;
mod context;
mod identity;
mod resolver;
mod state;

pub use crate::crypto::PostQuantum;
pub use config::{named_server, server_authenticated_client, server_named_client, web_client};
#[cfg(unix)]
pub(crate) use context::{ALL, DEFAULT, ROOTCA};
pub use context::{ContextError, Credentials, HandshakeError, Offer, Origination, Secrets, Termination, TlsPeer};
pub use identity::Identity;
pub use state::{Cause, SvidState};

/// A TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a TLS configuration")]
pub struct Error(#[from] rustls::Error);
