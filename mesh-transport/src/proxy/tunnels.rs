use std::net::SocketAddr;

use mesh_core::resolve::{Destination, Tunnel};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;

use super::flow::{Direction, Facts};
use super::upstream::Upstream;
use super::{Connected, Error, OutboundStream, Tracker};
use crate::hbone::ConnectHeaders;
use crate::hbone::pool::{Key, Pool};

/// Tunnels out of a member of the mesh, to ends that somebody has chosen: for programs that are told where endpoints are
/// and who they must be.
#[derive(Debug, Clone)]
pub struct Tunnels {
    pool: Pool,
    identity: Identity,
    tracker: Tracker,
    tasks: Tasks,
}

impl Tunnels {
    /// Tunnels as `identity`, over the connections of `pool`. They are told to `tracker`, which closes those whose other end
    /// stops to be trusted.
    #[must_use]
    pub fn new(pool: Pool, identity: Identity, tracker: Tracker, tasks: Tasks) -> Self {
        Self { pool, identity, tracker, tasks }
    }

    /// As whom.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Opens a tunnel for `client`, who may be ourselves.
    ///
    /// # Errors
    /// [`Error::Tunnel`]; it is logged.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn open(
        &self,
        tunnel: &Tunnel,
        client: SocketAddr,
        headers: &ConnectHeaders,
    ) -> Result<OutboundStream, Error> {
        let mut facts = Facts::new(Direction::Outbound, client, tunnel.authority.to_string());
        facts.source_identity = Some(self.identity.id().clone());
        facts.tunnel = Some(tunnel.to);
        if let Destination::Address(address) = &tunnel.authority {
            facts.destination = Some(*address);
        }
        let key = Key { source: self.identity.id().clone(), expected: tunnel.expected.clone(), to: tunnel.to };
        let upstream = match self.pool.connect(&self.identity, key, &tunnel.authority, headers).await {
            Ok(tunnelled) => {
                facts.destination_identity = Some(tunnelled.peer.clone());
                Upstream::Tunnel(Box::new(tunnelled), self.identity.clone())
            }
            Err(error) => {
                let error = Error::Tunnel(error);
                facts.reason = error.reason();
                self.tracker.refused(&facts, &error.outcome());
                return Err(error);
            }
        };
        Ok(Connected::register(upstream, facts, &self.tracker, &self.tasks).into_stream())
    }
}
