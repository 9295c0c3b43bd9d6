use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Expected, Purpose};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{handshake, within};
use super::limits::HANDSHAKE_TIMEOUT;
use super::{ALPN, Client, Driver, Error};

/// The client's end of an HBONE connection over any stream, with who is at the other end.
pub(crate) struct Secured<T> {
    pub(crate) client: Client,
    pub(crate) driver: Driver<TlsStream<T>>,
    pub(crate) peer: SpiffeId,
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
}

/// Mutual TLS as `identity` with whom is `expected`, then HTTP/2; each step with a deadline. `to` is for errors.
pub(crate) async fn secure<T>(
    identity: &Identity,
    expected: Expected,
    to: SocketAddr,
    io: T,
) -> Result<Secured<T>, Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let config = identity.client_config(expected, &[ALPN])?;
    // The name is ignored by our verifier and not sent; rustls wants one.
    let name = ServerName::IpAddress(to.ip().into());
    let connecting = TlsConnector::from(config).connect(name, io);
    let tls = within(HANDSHAKE_TIMEOUT, to, "TLS handshake", connecting).await?.map_err(|source| Error::Tls {
        to,
        reason: verify::rejection(&source).cloned(),
        source,
    })?;
    let session = tls.get_ref().1;
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Error::NotHttp2(to));
    }
    let certificates = session.peer_certificates();
    let chain = certificates.unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect();
    let peer =
        verify::peer(certificates, &identity.bundles().load(), Purpose::Server, identity.now()).map_err(|reason| {
            Error::Tls { to, reason: Some(reason), source: std::io::Error::from(std::io::ErrorKind::PermissionDenied) }
        })?;
    let (client, driver) = within(HANDSHAKE_TIMEOUT, to, "HTTP/2 handshake", handshake(tls)).await??;
    Ok(Secured { client, driver, peer: peer.id().clone(), chain })
}
