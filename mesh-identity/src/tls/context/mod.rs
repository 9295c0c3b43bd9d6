//! TLS as a configuration says it ([`UpstreamTls`], [`DownstreamTls`]), at work: with the secrets that it names, and with the
//! identity of the workload itself where it names that.
//!
//! What cannot be honoured refuses connections, with the reason ([`ContextError`]); nothing goes in plaintext instead. Sessions
//! are never resumed, however many a configuration allows: a ticket would let a peer skip the verification of its chain.
//!
//! ```
//! use mesh_core::live::Live;
//! use mesh_core::tls::{UpstreamTls, ValidationSource};
//! use mesh_identity::tls::{ContextError, Credentials, Origination, Secrets};
//!
//! let credentials = Credentials::new(None, Live::constant(Secrets::new()));
//! let tls = Origination::new(UpstreamTls::new(ValidationSource::Secret("roots".into())), credentials);
//! assert!(matches!(tls.ready(), Err(ContextError::SecretMissing(name)) if name == "roots"));
//! ```
//!
//! [`UpstreamTls`]: mesh_core::tls::UpstreamTls
//! [`DownstreamTls`]: mesh_core::tls::DownstreamTls

mod credentials;
mod error;
mod kept;
mod names;
mod origination;
mod parameters;
mod rules;
mod shown;
mod termination;

pub use credentials::{Credentials, Secrets};
pub use error::{ContextError, HandshakeError};
pub(crate) use names::{ALL, DEFAULT, ROOTCA};
pub use origination::{Offer, Origination};
pub use termination::{Termination, TlsPeer};
