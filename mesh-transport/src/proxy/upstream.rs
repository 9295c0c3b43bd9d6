use std::io;
use std::pin::Pin;
use std::sync::Arc;

use mesh_identity::tls::Identity;
use mesh_identity::verify;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::nested::Nested;
use crate::hbone::pool::Tunnelled;
use crate::relay::{Counts, relay};

/// The other side of an outbound connection.
#[derive(Debug)]
pub(super) enum Upstream {
    Plain(TcpStream),
    Tunnel(Box<Tunnelled>, Identity),
    Nested(Box<Nested>, Identity),
}

impl Upstream {
    /// The certificates of whoever is at the other ends.
    pub(super) fn chains(&self) -> Vec<Arc<[CertificateDer<'static>]>> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Tunnel(tunnelled, _) => vec![Arc::clone(&tunnelled.chain)],
            Self::Nested(nested, _) => vec![Arc::clone(&nested.outer), Arc::clone(nested.inner.chain())],
        }
    }

    /// Whether whoever is at the other ends is still trusted: judged again if trust has changed since they were judged.
    pub(super) fn look(&self) -> Result<(), verify::Error> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tunnel(tunnelled, identity) => tunnelled.slot.look(identity),
            Self::Nested(nested, identity) => {
                nested.held.slot.look(identity)?;
                nested.inner.look(identity)
            }
        }
    }

    pub(super) async fn relay(self, client: TcpStream, counts: &Counts) -> io::Result<()> {
        match self {
            Self::Plain(upstream) => relay(client, upstream, counts).await,
            Self::Tunnel(tunnelled, _) => {
                // The slot is held for as long as its stream lives.
                let Tunnelled { stream, slot, .. } = *tunnelled;
                let relayed = relay(client, stream, counts).await;
                drop(slot);
                relayed
            }
            Self::Nested(nested, _) => {
                let Nested { stream, held, .. } = *nested;
                let relayed = relay(client, stream, counts).await;
                drop(held);
                relayed
            }
        }
    }

    /// The bytes, for whoever reads and writes them here.
    pub(super) fn io(&mut self) -> Pin<&mut (dyn Io + '_)> {
        match self {
            Self::Plain(upstream) => Pin::new(upstream),
            Self::Tunnel(tunnelled, _) => Pin::new(&mut tunnelled.stream),
            Self::Nested(nested, _) => Pin::new(&mut nested.stream),
        }
    }
}

/// Bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}
