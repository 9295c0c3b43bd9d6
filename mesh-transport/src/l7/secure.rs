//! Connections that are secured before anything is read of them.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use mesh_core::filter::{Connection, PeerNames};
use mesh_core::listener::FilterChain;
use mesh_core::name::Text;
use mesh_identity::pem;
use mesh_identity::tls::{Credentials, HandshakeError, Termination, TlsPeer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::proxy::Incoming;
use crate::http::ClientCertificate;

/// How long a handshake may take where the chain says nothing: a silent client costs bounded time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Secures the connections of a chain.
#[derive(Debug)]
pub(super) struct Secured {
    termination: Termination,
    timeout: Duration,
}

/// A connection was not secured.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSecured {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no TLS handshake within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl Secured {
    /// As a chain says; `None` if it says nothing.
    pub(super) fn of(chain: &FilterChain, credentials: &Credentials) -> Option<Self> {
        let termination = Termination::new(chain.tls.clone()?, credentials.clone());
        if let Err(error) = termination.ready() {
            let error = mesh_core::report::chain(&error);
            tracing::error!(chain = %chain.name, error, "connections of the chain cannot be secured and are refused");
        }
        Some(Self { termination, timeout: chain.handshake_timeout.unwrap_or(HANDSHAKE) })
    }

    /// The connection, secured, with what is known of its client then.
    pub(super) async fn accept<I>(&self, io: I, incoming: &Incoming) -> Result<(TlsStream<I>, Incoming), NotSecured>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = tokio::time::timeout(self.timeout, self.termination.accept(io));
        let (stream, peer) = accepted.await.map_err(|_| NotSecured::Timeout(self.timeout))??;
        let certificate = certificate(&peer).map(Arc::new);
        let before = Connection::clone(&incoming.connection);
        // Whoever came through a tunnel is who the tunnel says, whatever is shown within: policies are about members.
        let connection = Connection {
            tls: true,
            server_name: peer.server_name.as_deref().map(Text::from),
            local: before.local.or_else(|| peer.local.clone()),
            peer: before.peer.or_else(|| Some(names(&peer))),
            ..before
        };
        let alpn = stream.get_ref().1.alpn_protocol().map(Bytes::copy_from_slice);
        Ok((stream, Incoming { connection: Arc::new(connection), certificate, alpn }))
    }
}

fn names(peer: &TlsPeer) -> PeerNames {
    let texts = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    PeerNames {
        uris: texts(&peer.uris),
        dns_names: texts(&peer.dns_names),
        subject: peer.subject.as_str().into(),
        certificate: peer.certificates.first().map(|der| der.to_vec().into()).unwrap_or_default(),
    }
}

/// What is told of a client's certificate, if it showed one.
fn certificate(peer: &TlsPeer) -> Option<ClientCertificate> {
    let own = peer.certificates.first()?;
    let hash = digest(&SHA256, own).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(ClientCertificate {
        by: peer.local.as_ref().map(ToString::to_string),
        hash,
        subject: Some(peer.subject.clone()),
        uri: peer.uris.first().cloned(),
        dns_names: peer.dns_names.clone(),
        pem: Some(pem::encode_certificates(std::slice::from_ref(own))),
        chain_pem: Some(pem::encode_certificates(&peer.certificates)),
    })
}
