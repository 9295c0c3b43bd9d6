//! Servers whose callers are known: TLS by SPIFFE, the caller's identity beside every request, and a layer that lets in only
//! whom it should. For tonic, and with feature `axum` for axum.
//!
//! ```
//! use std::sync::Arc;
//! # use std::time::Duration;
//! # use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
//! # use mesh_identity::authority::{Authority, Names, Rules};
//! # use mesh_identity::bundle::BundleSet;
//! # use mesh_identity::clock::SystemClock;
//! # use mesh_identity::source::{Identities, LocalSource};
//! use mesh_identity::serve::{Demand, Incoming};
//! use mesh_identity::verify::Expected;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = Authority::ephemeral(parse_trust_domain("td.test")?, Rules::default(), Arc::new(SystemClock))?;
//! # let bundles = BundleSet::default().with(authority.bundle());
//! # let source = LocalSource::new(Arc::new(authority), Duration::from_secs(3600), Names::default());
//! # let identities = Identities::builder(Arc::new(source), bundles).build();
//! # let me = identities.identity(&parse_spiffe_id("spiffe://td.test/db")?).await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let incoming = Incoming::new(listener, me.server_config(&[b"h2"])?, &me);
//! let web = Expected::Ids(vec![parse_spiffe_id("spiffe://td.test/web")?]);
//! let server = tonic::transport::Server::builder().layer(Demand::new(web));
//! // server.add_service(…).serve_with_incoming(incoming).await?;
//! # let _ = (server, incoming);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "axum")]
mod axum;
mod demand;
mod incoming;

use std::net::SocketAddr;

pub use demand::{Demand, Demanding};
pub use incoming::{Connection, Incoming};

use crate::verify::VerifiedPeer;

/// Who a request comes from: an extension of it.
#[derive(Debug, Clone)]
pub struct Caller {
    address: SocketAddr,
    peer: Option<VerifiedPeer>,
}

impl Caller {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it is; `None` when it presented no certificate, where that is allowed.
    #[must_use]
    pub fn peer(&self) -> Option<&VerifiedPeer> {
        self.peer.as_ref()
    }
}
