use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_core::resolve::{Destination, InnerTunnel, Tunnel};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;

use super::flow::{Direction, Facts};
use super::nested::{self, NestedHeaders};
use super::upstream::Upstream;
use super::{Connected, Error, OutboundStream, Tracker};
use crate::hbone::pool::{Key, Pool};
use crate::hbone::{self, ConnectHeaders};

/// Tunnels out of a member of the mesh, to ends that somebody has chosen: for programs that are told where endpoints are
/// and who they must be.
#[derive(Debug, Clone)]
pub struct Tunnels {
    pool: Pool,
    identity: Identity,
    tracker: Tracker,
    tasks: Tasks,
}

/// What a tunnel is asked for, and who may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What the CONNECT request names.
    pub authority: Destination,
    /// Who may be at the end.
    pub expected: Expected,
}

impl From<&Tunnel> for End {
    fn from(tunnel: &Tunnel) -> Self {
        let Tunnel { to: _, authority, expected } = tunnel;
        Self { authority: authority.clone(), expected: Expected::Ids(expected.clone()) }
    }
}

impl From<&InnerTunnel> for End {
    fn from(tunnel: &InnerTunnel) -> Self {
        let InnerTunnel { authority, expected } = tunnel;
        Self { authority: authority.clone(), expected: Expected::Ids(expected.clone()) }
    }
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

    /// Opens a tunnel at `to`, for `client`, who may be ourselves.
    ///
    /// # Errors
    /// [`Error::Tunnel`]; it is logged.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn open(
        &self,
        to: SocketAddr,
        end: &End,
        client: SocketAddr,
        headers: &ConnectHeaders,
    ) -> Result<OutboundStream, Error> {
        let facts = self.facts(to, end, client);
        let key = Key { source: self.identity.id().clone(), expected: end.expected.clone(), to };
        let opened = self.pool.connect(&self.identity, key, &end.authority, headers).await;
        let opened = opened.map(|tunnelled| {
            let peer = tunnelled.peer.clone();
            (Upstream::Tunnel(Box::new(tunnelled), self.identity.clone()), peer)
        });
        self.opened(opened, facts)
    }

    /// Opens a tunnel to `end`, within one to the gateway of its network at `to`, for `client`, who may be ourselves. The
    /// outer one shares connections, the inner one does not.
    ///
    /// # Errors
    /// [`Error::Tunnel`], of either; it is logged.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn open_within(
        &self,
        to: SocketAddr,
        gateway: &End,
        end: &End,
        client: SocketAddr,
        headers: &NestedHeaders,
    ) -> Result<OutboundStream, Error> {
        let facts = self.facts(to, end, client);
        let opened = nested::open(&self.pool, &self.identity, to, gateway, end, headers, &self.tasks).await;
        let opened = opened.map(|nested| {
            let peer = nested.peer.clone();
            (Upstream::Nested(Box::new(nested), self.identity.clone()), peer)
        });
        self.opened(opened, facts)
    }

    fn facts(&self, to: SocketAddr, end: &End, client: SocketAddr) -> Facts {
        let mut facts = Facts::new(Direction::Outbound, client, end.authority.to_string());
        facts.source_identity = Some(self.identity.id().clone());
        facts.tunnel = Some(to);
        if let Destination::Address(address) = &end.authority {
            facts.destination = Some(*address);
        }
        facts
    }

    fn opened(
        &self,
        opened: Result<(Upstream, SpiffeId), Arc<hbone::Error>>,
        mut facts: Facts,
    ) -> Result<OutboundStream, Error> {
        match opened {
            Ok((upstream, peer)) => {
                facts.destination_identity = Some(peer);
                Ok(Connected::register(upstream, facts, &self.tracker, &self.tasks).into_stream())
            }
            Err(error) => {
                let error = Error::Tunnel(error);
                facts.reason = error.reason();
                self.tracker.refused(&facts, &error.outcome());
                Err(error)
            }
        }
    }
}
