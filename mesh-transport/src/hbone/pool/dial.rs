use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_identity::tls::Identity;
use rustls::pki_types::CertificateDer;

use super::Key;
use crate::hbone::secure::{Secured, secure};
use crate::hbone::{Client, Error};
use crate::socket::Sockets;

/// Runs a connection. Boxed once per connection, so that the pool does not depend on what it runs over.
pub type Drive = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection as a dialler makes it.
pub struct Dialed {
    /// Opens streams on it.
    pub client: Client,
    /// Who is at the other end, verified.
    pub peer: SpiffeId,
    /// The certificates by which it was verified, to be judged again when trust changes.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// Must be run for it to make progress.
    pub drive: Drive,
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed").field("peer", &self.peer.to_string()).finish_non_exhaustive()
    }
}

/// Makes connections for a pool.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// Connects as `identity`, to one of the expected identities only.
    fn dial<'a>(
        &'a self,
        identity: &'a Identity,
        key: &'a Key,
    ) -> Pin<Box<dyn Future<Output = Result<Dialed, Error>> + Send + 'a>>;
}

/// Dials over TCP and mutual TLS, each step with a deadline.
#[derive(Debug, Clone)]
pub struct TlsDialer {
    sockets: Sockets,
}

impl TlsDialer {
    /// A dialler over these sockets.
    #[must_use]
    pub fn new(sockets: Sockets) -> Self {
        Self { sockets }
    }

    async fn connect(&self, identity: &Identity, key: &Key) -> Result<Dialed, Error> {
        let to = key.to;
        let tcp = self.sockets.connect(to).await.map_err(|source| Error::Connect { to, source })?;
        let Secured { client, driver, peer, chain } = secure(identity, key.expected.clone(), to, tcp).await?;
        let drive = Box::pin(async move {
            if let Err(error) = driver.run().await {
                tracing::debug!(%to, %error, "HBONE connection ended");
            }
        });
        Ok(Dialed { client, peer, chain, drive })
    }
}

impl Dial for TlsDialer {
    fn dial<'a>(
        &'a self,
        identity: &'a Identity,
        key: &'a Key,
    ) -> Pin<Box<dyn Future<Output = Result<Dialed, Error>> + Send + 'a>> {
        Box::pin(self.connect(identity, key))
    }
}
