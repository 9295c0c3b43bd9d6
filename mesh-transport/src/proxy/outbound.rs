use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::report::chain;
use mesh_core::resolve::{self, Destination, Hop, InnerTunnel, Refusal, Resolution, Tunnel};
use mesh_core::workload::Workload;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use tokio::net::TcpStream;

use super::flow::{Direction, Facts, Failure, Outcome};
use super::nested::{self, NestedHeaders};
use super::track::{Cause, Watched};
use super::upstream::Upstream;
use super::{Inputs, LocalWorkload, Registration, Tracker};
use crate::hbone::pool::Key;
use crate::hbone::{self, ConnectHeaders, Forwarded, TraceId, baggage, traceparent};

/// How often a destination is asked for that reveals further names: a service, its waypoint, the waypoint's endpoints.
const MAX_DISCOVERY_ROUNDS: usize = 4;

/// The way out of one local workload.
#[derive(Debug, Clone)]
pub struct Outbound {
    inputs: Inputs,
    source: LocalWorkload,
}

/// An upstream connection, not yet relayed.
#[derive(Debug)]
pub struct Connected {
    pub(super) upstream: Upstream,
    pub(super) registration: Registration,
    pub(super) tasks: Tasks,
}

impl Outbound {
    /// The way out of the workload `source`.
    #[must_use]
    pub fn new(inputs: Inputs, source: impl Into<LocalWorkload>) -> Self {
        Self { inputs, source: source.into() }
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
        // Boxed: this future holds every kind of handshake, and lives only until the connection stands.
        match Box::pin(self.upstream(destination, client, &mut facts)).await {
            Ok(upstream) => Ok(Connected::register(upstream, facts, &self.inputs.tracker, &self.inputs.tasks)),
            Err(error) => {
                if facts.reason.is_empty() {
                    facts.reason = error.reason();
                }
                self.inputs.tracker.refused(&facts, &error.outcome());
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
        let trace = TraceId::random();
        facts.trace = Some(trace);
        let wait = self.inputs.options.record_wait;
        let source = self.source.wait(&self.inputs.catalog, wait).await.ok_or(Error::NoLocalWorkload)?;
        facts.source_workload = Some(Arc::clone(&source));
        facts.source_identity = Some(source.spiffe_id());
        let mut request = resolve::Outbound::new(&source, &self.inputs.network, destination);
        request.unready_waypoint = self.inputs.options.unready_waypoint;
        discover(&self.inputs, &request).await?;
        let way = resolve::outbound(&self.inputs.catalog.snapshot(), &request, fastrand::u64(..))?;
        facts.reason = way.reason.as_str();
        facts.service.clone_from(&way.service);
        facts.destination_workload.clone_from(&way.workload);
        let headers = ConnectHeaders {
            baggage: Some(baggage::of(&source)),
            forwarded: Some(Forwarded {
                client,
                host: way.service.as_ref().map(|service| service.key.hostname.to_string()),
            }),
            traceparent: Some(traceparent(trace)),
            ..ConnectHeaders::default()
        };
        match &way.hop {
            Hop::Plain { to } => self.plain(to, &way, &source, facts).await,
            Hop::Hbone(tunnel) => self.tunnel(tunnel, &source, &headers, facts).await,
            Hop::Nested { outer, inner } => self.nested(outer, inner, &source, headers, facts).await,
            other => Err(Error::Unsupported(format!("{other:?}"))),
        }
    }

    async fn plain(
        &self,
        to: &Destination,
        way: &Resolution,
        source: &Workload,
        facts: &mut Facts,
    ) -> Result<Upstream, Error> {
        let failed = |source| Error::Connect { to: to.to_string(), source };
        let address = match to {
            Destination::Address(address) => *address,
            Destination::Hostname(hostname, port) => {
                if way.workload.is_some() {
                    self.inputs.tracker.resolved(facts);
                }
                let mut found = tokio::net::lookup_host((hostname.as_str(), *port)).await.map_err(failed)?;
                found.next().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?
            }
        };
        facts.destination = Some(address);
        self.refuse_loop(address, source)?;
        self.inputs.sockets.connect(address).await.map(Upstream::Plain).map_err(failed)
    }

    /// A way in of our own is no destination: the connection would come back here for ever.
    fn refuse_loop(&self, to: SocketAddr, source: &Workload) -> Result<(), Error> {
        let ip = to.ip();
        let own_address = ip.is_loopback() || ip.is_unspecified() || source.addresses.contains(&ip);
        if own_address && self.inputs.own_ports.contains(&to.port()) {
            return Err(Error::Loop(to));
        }
        Ok(())
    }

    async fn identity(&self, source: &Workload) -> Result<Identity, Error> {
        self.inputs.identities.identity(&source.spiffe_id()).await.map_err(Error::Identity)
    }

    async fn tunnel(
        &self,
        tunnel: &Tunnel,
        source: &Workload,
        headers: &ConnectHeaders,
        facts: &mut Facts,
    ) -> Result<Upstream, Error> {
        facts.tunnel = Some(tunnel.to);
        if let Destination::Address(address) = &tunnel.authority {
            facts.destination = Some(*address);
        }
        let identity = self.identity(source).await?;
        let expected = Expected::Ids(tunnel.expected.clone());
        let key = Key { source: identity.id().clone(), expected, to: tunnel.to };
        let tunnelled = self.inputs.pool.connect(&identity, key, &tunnel.authority, headers).await;
        let tunnelled = tunnelled.map_err(Error::Tunnel)?;
        facts.destination_identity = Some(tunnelled.peer.clone());
        Ok(Upstream::Tunnel(Box::new(tunnelled), identity))
    }

    async fn nested(
        &self,
        outer: &Tunnel,
        inner: &InnerTunnel,
        source: &Workload,
        headers: ConnectHeaders,
        facts: &mut Facts,
    ) -> Result<Upstream, Error> {
        facts.tunnel = Some(outer.to);
        let identity = self.identity(source).await?;
        let network = Some(self.inputs.network.to_string());
        let headers = NestedHeaders { inner: ConnectHeaders { network, ..headers.clone() }, outer: headers };
        let Inputs { pool, tasks, .. } = &self.inputs;
        let (to, gateway, end) = (outer.to, outer.into(), inner.into());
        let nested = nested::open(pool, &identity, to, &gateway, &end, &headers, tasks);
        let nested = nested.await.map_err(Error::Tunnel)?;
        facts.destination_identity = Some(nested.peer.clone());
        // The gateway chose the workload; only its own words say which one it is. The record at hand is the gateway's.
        facts.destination_workload = None;
        facts.destination_baggage = Some(baggage::read(&nested.headers));
        Ok(Upstream::Nested(Box::new(nested), identity))
    }
}

/// Asks for what a decision needs and the catalog does not hold.
pub(super) async fn discover(inputs: &Inputs, request: &resolve::Outbound<'_>) -> Result<(), Error> {
    let Some(discovery) = &inputs.discovery else { return Ok(()) };
    let mut asked = Vec::new();
    for _ in 0..MAX_DISCOVERY_ROUNDS {
        let mut missing = resolve::missing(&inputs.catalog.snapshot(), request);
        missing.retain(|name| !asked.contains(name));
        if missing.is_empty() {
            return Ok(());
        }
        if !discovery.demand(&missing).await {
            return Err(Error::Discovery(missing.join(", ")));
        }
        asked.append(&mut missing);
    }
    Ok(())
}

impl Connected {
    /// A connection that stands from now on, and is judged again when something changes.
    pub(super) fn register(upstream: Upstream, facts: Facts, tracker: &Tracker, tasks: &Tasks) -> Self {
        let registration = tracker.register(facts, Watched::Outbound { chains: upstream.chains() });
        // Trust may have changed since the handshake; nothing would judge this connection again.
        if let Err(error) = upstream.look() {
            registration.close(Cause::Trust(error));
        }
        Self { upstream, registration, tasks: tasks.clone() }
    }

    /// Relays the client's bytes until the connection ends or is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn relay(self, client: TcpStream) {
        let flow = Arc::clone(self.registration.flow());
        self.registration.run(self.upstream.relay(client, &flow.counts)).await;
    }
}

/// A connection out of a workload could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The workload that wants to connect has no record, so nobody knows who it is.
    #[error("no record of the local workload")]
    NoLocalWorkload,
    /// Nobody answered what the destination is, so nobody knows whether plaintext would be right.
    #[error("the control plane did not answer in time about {0}")]
    Discovery(String),
    /// There is no way to the destination.
    #[error(transparent)]
    Resolve(#[from] Refusal),
    /// No certificate for the local workload.
    #[error("no identity for the local workload")]
    Identity(#[source] mesh_identity::tls::Cause),
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
    /// A kind of way that is not served.
    #[error("this kind of way is not supported: {0}")]
    Unsupported(String),
}

impl Error {
    /// Whether a policy at the other end refused.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self, Self::Tunnel(error) if matches!(&**error, hbone::Error::Refused(refused) if refused.is_policy()))
    }

    /// How the connection that did not come about ended.
    pub(super) fn outcome(&self) -> Outcome {
        let text = chain(self);
        if self.is_policy() { Outcome::Denied(text) } else { Outcome::Failed(Failure::from(self), text) }
    }

    /// One stable word for logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoLocalWorkload => "no_local_workload",
            Self::Discovery(_) => "discovery_timeout",
            Self::Resolve(refusal) => refusal.reason.as_str(),
            Self::Identity(_) => "no_identity",
            Self::Tunnel(_) => "tunnel_failure",
            Self::Connect { .. } => "upstream_failure",
            Self::Loop(_) => "loop",
            Self::Unsupported(_) => "unsupported",
        }
    }
}
