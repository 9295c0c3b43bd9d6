//! The SPIFFE Workload API: processes of a machine get their SVIDs and bundles over a Unix socket, without a secret of
//! their own; who they are the kernel says. Client and server, and Envoy's secret discovery on the same socket.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mesh_identity::clock::SystemClock;
//! use mesh_identity::verify::Expected;
//! use mesh_identity::workload_api::{Client, Endpoint};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // A SPIRE agent, or any other Workload API.
//! let endpoint: Endpoint = "unix:///run/spire/agent.sock".parse()?;
//! let source = Client::connect(&endpoint).source(Arc::new(SystemClock));
//! let identity = source.identity().await?;
//! let tls = identity.client_config(Expected::TrustDomain(identity.id().trust_domain().clone()), &[b"h2"])?;
//! # Ok(())
//! # }
//! ```

mod client;
mod endpoint;
mod listen;
mod peer;
pub mod rewrite;
mod sds;
mod server;
mod source;
mod view;
mod watch;

pub use client::{Client, ClientError, X509Stream};
pub use endpoint::{Endpoint, EndpointError};
pub use listen::{Caller, Connection, ListenError, Listener};
pub use peer::{AttestError, Peer, UnixAttestor, WorkloadAttestor};
pub use server::{Parts, WorkloadApi};
pub use source::{Message, WorkloadContext, WorkloadSource};

/// The metadata that every request carries (SPIFFE Workload Endpoint section 3). A browser or a proxy that was tricked into
/// a request does not send it.
pub(crate) const SECURITY_HEADER: &str = "workload.spiffe.io";
