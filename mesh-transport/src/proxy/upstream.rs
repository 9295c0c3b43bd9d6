use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;

use super::nested::Nested;
use crate::hbone::pool::Tunnelled;
use crate::relay::{Counts, relay};

/// The other side of an outbound connection.
#[derive(Debug)]
pub(super) enum Upstream {
    Plain(TcpStream),
    Tunnel(Box<Tunnelled>),
    Nested(Box<Nested>),
}

impl Upstream {
    /// The certificates of whoever is at the other ends.
    pub(super) fn chains(&self) -> Vec<Arc<[CertificateDer<'static>]>> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Tunnel(tunnelled) => vec![Arc::clone(&tunnelled.chain)],
            Self::Nested(nested) => nested.chains.clone(),
        }
    }

    pub(super) async fn relay(self, client: TcpStream, counts: &Counts) -> io::Result<()> {
        match self {
            Self::Plain(upstream) => relay(client, upstream, counts).await,
            Self::Tunnel(tunnelled) => {
                // The slot is held for as long as its stream lives.
                let Tunnelled { stream, slot, .. } = *tunnelled;
                let relayed = relay(client, stream, counts).await;
                drop(slot);
                relayed
            }
            Self::Nested(nested) => {
                let Nested { stream, held, .. } = *nested;
                let relayed = relay(client, stream, counts).await;
                drop(held);
                relayed
            }
        }
    }
}
