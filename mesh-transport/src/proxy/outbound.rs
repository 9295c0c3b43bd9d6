use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::name::Uid;
use mesh_core::report::chain;
use mesh_core::resolve::{self, Destination, Hop, Refusal, Resolution, Tunnel};
use mesh_core::workload::Workload;
use tokio::net::TcpStream;

use super::flow::{Direction, Facts, Outcome};
use super::{Inputs, Registration};
use crate::hbone::pool::{Key, Tunnelled};
use crate::hbone::{self, ConnectHeaders, Forwarded, baggage, traceparent};
use crate::relay::relay;
use crate::socket;

/// The way out of one local workload.
#[derive(Debug, Clone)]
pub struct Outbound {
    inputs: Inputs,
    source: Uid,
}

/// An upstream connection, not yet relayed.
#[derive(Debug)]
pub struct Connected {
    upstream: Upstream,
    registration: Registration,
}

#[derive(Debug)]
enum Upstream {
    Plain(TcpStream),
    Tunnel(Box<Tunnelled>),
}

impl Outbound {
    /// The way out of the workload `source`.
    #[must_use]
    pub fn new(inputs: Inputs, source: Uid) -> Self {
        Self { inputs, source }
    }

    /// Connects to what a client of the local workload asked for: through a tunnel where the destination is part of the
    /// mesh, in plaintext where it is not.
    ///
    /// # Errors
    /// [`Error`]; the refusal is logged.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn connect(&self, destination: &Destination, client: SocketAddr) -> Result<Connected, Error> {
        let mut facts = Facts::new(Direction::Outbound, client, destination.to_string());
        match self.upstream(destination, client, &mut facts).await {
            Ok(upstream) => Ok(Connected { upstream, registration: self.inputs.tracker.register(facts, None) }),
            Err(error) => {
                if facts.reason.is_empty() {
                    facts.reason = error.reason();
                }
                let text = chain(&error);
                let outcome = if error.is_policy() { Outcome::Denied(text) } else { Outcome::Failed(text) };
                self.inputs.tracker.refused(&facts, &outcome);
                Err(error)
            }
        }
    }

    async fn upstream(
        &self,
        destination: &Destination,
        client: SocketAddr,
        facts: &mut Facts,
    ) -> Result<Upstream, Error> {
        let catalog = self.inputs.catalog.snapshot();
        let source = catalog.workload(self.source.as_str()).ok_or(Error::NoLocalWorkload)?;
        facts.source_workload = Some(Arc::clone(source));
        facts.source_identity = Some(source.spiffe_id());
        let request = resolve::Outbound { source, network: &self.inputs.network, destination };
        let way = resolve::outbound(&catalog, &request, fastrand::u64(..))?;
        facts.reason = way.reason.as_str();
        facts.service.clone_from(&way.service);
        facts.destination_workload.clone_from(&way.workload);
        match &way.hop {
            Hop::Plain { to } => self.plain(to, source, facts).await,
            Hop::Hbone(tunnel) => self.tunnel(tunnel, &way, source, client, facts).await,
            other => Err(Error::Unsupported(format!("{other:?}"))),
        }
    }

    async fn plain(&self, to: &Destination, source: &Workload, facts: &mut Facts) -> Result<Upstream, Error> {
        let failed = |source| Error::Connect { to: to.to_string(), source };
        let address = match to {
            Destination::Address(address) => *address,
            Destination::Hostname(hostname, port) => {
                let mut found = tokio::net::lookup_host((hostname.as_str(), *port)).await.map_err(failed)?;
                found.next().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?
            }
        };
        facts.destination = Some(address);
        // A way in of our own is no destination: the connection would come back here for ever.
        if self.inputs.own_ports.contains(&address.port()) && source.addresses.contains(&address.ip()) {
            return Err(Error::Loop(address));
        }
        socket::connect(address).await.map(Upstream::Plain).map_err(failed)
    }

    async fn tunnel(
        &self,
        tunnel: &Tunnel,
        way: &Resolution,
        source: &Workload,
        client: SocketAddr,
        facts: &mut Facts,
    ) -> Result<Upstream, Error> {
        facts.tunnel = Some(tunnel.to);
        if let Destination::Address(address) = &tunnel.authority {
            facts.destination = Some(*address);
        }
        let identity = self.inputs.identities.identity(&source.spiffe_id()).await.map_err(Error::Identity)?;
        let key = Key { source: identity.id().clone(), expected: tunnel.expected.clone(), to: tunnel.to };
        let headers = ConnectHeaders {
            baggage: Some(baggage::of(source)),
            forwarded: Some(Forwarded {
                client,
                host: way.service.as_ref().map(|service| service.key.hostname.to_string()),
            }),
            traceparent: Some(traceparent()),
        };
        let tunnelled = self.inputs.pool.connect(&identity, key, &tunnel.authority, &headers).await;
        let tunnelled = tunnelled.map_err(Error::Tunnel)?;
        facts.destination_identity = Some(tunnelled.peer.clone());
        Ok(Upstream::Tunnel(Box::new(tunnelled)))
    }
}

impl Connected {
    /// Relays the client's bytes until the connection ends or is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn relay(self, client: TcpStream) {
        let flow = Arc::clone(self.registration.flow());
        match self.upstream {
            Upstream::Plain(upstream) => self.registration.run(relay(client, upstream, &flow.counts)).await,
            Upstream::Tunnel(tunnelled) => {
                let Tunnelled { stream, slot, .. } = *tunnelled;
                self.registration.run(relay(client, stream, &flow.counts)).await;
                drop(slot);
            }
        }
    }
}

/// A connection out of a workload could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The workload that wants to connect has no record, so nobody knows who it is.
    #[error("no record of the local workload")]
    NoLocalWorkload,
    /// There is no way to the destination.
    #[error(transparent)]
    Resolve(#[from] Refusal),
    /// No certificate for the local workload.
    #[error("no identity for the local workload")]
    Identity(#[source] Arc<mesh_identity::source::Error>),
    /// The tunnel could not be opened.
    #[error("the tunnel failed")]
    Tunnel(#[source] Arc<hbone::Error>),
    /// Plain TCP failed.
    #[error("cannot connect to {to}")]
    Connect {
        /// Where to.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The destination is a way in of the proxy itself.
    #[error("{0} is a way into this proxy")]
    Loop(SocketAddr),
    /// A kind of way that is not served yet.
    #[error("this kind of way is not supported yet: {0}")]
    Unsupported(String),
}

impl Error {
    /// Whether a policy at the other end refused.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self, Self::Tunnel(error) if matches!(&**error, hbone::Error::Refused(refused) if refused.is_policy()))
    }

    /// One stable word for logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoLocalWorkload => "no_local_workload",
            Self::Resolve(refusal) => refusal.reason.as_str(),
            Self::Identity(_) => "no_identity",
            Self::Tunnel(_) => "tunnel_failure",
            Self::Connect { .. } => "upstream_failure",
            Self::Loop(_) => "loop",
            Self::Unsupported(_) => "unsupported",
        }
    }
}
