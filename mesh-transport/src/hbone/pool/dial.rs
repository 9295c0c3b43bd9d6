use std::fmt;
use std::future::Future;
use std::pin::Pin;

use mesh_core::name::SpiffeId;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Expected, Purpose};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Key;
use crate::hbone::client::{handshake, within};
use crate::hbone::limits::HANDSHAKE_TIMEOUT;
use crate::hbone::{ALPN, Client, Error};
use crate::socket;

/// Runs a connection. Boxed once per connection, so that the pool does not depend on what it runs over.
pub type Drive = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection as a dialler makes it.
pub struct Dialed {
    /// Opens streams on it.
    pub client: Client,
    /// Who is at the other end, verified.
    pub peer: SpiffeId,
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
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsDialer;

impl Dial for TlsDialer {
    fn dial<'a>(
        &'a self,
        identity: &'a Identity,
        key: &'a Key,
    ) -> Pin<Box<dyn Future<Output = Result<Dialed, Error>> + Send + 'a>> {
        Box::pin(dial(identity, key))
    }
}

async fn dial(identity: &Identity, key: &Key) -> Result<Dialed, Error> {
    let to = key.to;
    let config = identity.client_config(Expected::Ids(key.expected.clone()), &[ALPN])?;
    let tcp = socket::connect(to).await.map_err(|source| Error::Connect { to, source })?;
    // The name is ignored by our verifier and not sent; rustls wants one.
    let name = ServerName::IpAddress(to.ip().into());
    let connecting = TlsConnector::from(config).connect(name, tcp);
    let tls = within(HANDSHAKE_TIMEOUT, to, "TLS handshake", connecting).await?.map_err(|source| Error::Tls {
        to,
        reason: verify::rejection(&source).cloned(),
        source,
    })?;
    let session = tls.get_ref().1;
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Error::NotHttp2(to));
    }
    let peer = verify::peer(session.peer_certificates(), &identity.bundles().load(), Purpose::Server, identity.now())
        .map_err(|reason| Error::Tls {
        to,
        reason: Some(reason),
        source: std::io::Error::from(std::io::ErrorKind::PermissionDenied),
    })?;
    let (client, driver) = within(HANDSHAKE_TIMEOUT, to, "HTTP/2 handshake", handshake(tls)).await??;
    let drive = Box::pin(async move {
        if let Err(error) = driver.run().await {
            tracing::debug!(%to, %error, "HBONE connection ended");
        }
    });
    Ok(Dialed { client, peer: peer.id().clone(), drive })
}
