use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::authz::{Connection, Permit, Verdict, evaluate, evaluate_dry_run};
use mesh_core::name::Uid;
use mesh_core::resolve::{Reason, inbound};
use mesh_core::workload::Workload;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Purpose, VerifiedPeer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::flow::{Direction, Facts, Outcome};
use super::track::{Cause, InboundPeer};
use super::{Drain, Inputs};
use crate::hbone::limits::{CONCURRENT_HANDSHAKES, HANDSHAKE_TIMEOUT};
use crate::hbone::{ALPN, Connect, Forwarded, RequestError, Server, baggage, destination};
use crate::relay::relay;
use crate::socket::{self, Listener};

/// The way into one local workload: HBONE at its own address.
///
/// Who the destination is follows from the listener, never from what the peer sends.
#[derive(Debug, Clone)]
pub struct Inbound {
    inputs: Inputs,
    local: Uid,
    identity: Identity,
    config: Arc<ServerConfig>,
}

/// The peer of one tunnel connection.
#[derive(Debug, Clone)]
struct Peer {
    address: SocketAddr,
    local: SocketAddr,
    verified: VerifiedPeer,
    chain: Arc<[CertificateDer<'static>]>,
}

impl Inbound {
    /// The way into the workload `local`, which is `identity`.
    ///
    /// # Errors
    /// No TLS configuration can be made.
    pub fn new(inputs: Inputs, local: Uid, identity: Identity) -> Result<Self, mesh_identity::tls::Error> {
        let config = identity.server_config(&[ALPN])?;
        Ok(Self { inputs, local, identity, config })
    }

    /// Serves a listener until the drain begins; connections go on in tasks of their own.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve(self, listener: Listener, drain: Drain) {
        let handshakes = Arc::new(Semaphore::new(CONCURRENT_HANDSHAKES));
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let (tcp, address) = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let (inbound, drain) = (self.clone(), drain.clone());
            self.inputs.tasks.spawn(async move {
                let Some((server, peer)) = inbound.handshake(tcp, address).await else { return };
                drop(permit);
                inbound.connection(server, peer, drain).await;
            });
        }
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Option<(Server<tokio_rustls::server::TlsStream<TcpStream>>, Peer)> {
        let refuse = |reason: &'static str, error: String| {
            let mut facts = Facts::new(Direction::Inbound, address, String::new());
            facts.reason = reason;
            facts.destination_identity = Some(self.identity.id().clone());
            self.inputs.tracker.refused(&facts, &Outcome::Failed(error));
        };
        let local = tcp.local_addr().ok()?;
        let accept = TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp);
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                let reason = verify::rejection(&error).map(ToString::to_string);
                refuse("tls_failure", reason.unwrap_or_else(|| error.to_string()));
                return None;
            }
            Err(_) => {
                refuse("tls_timeout", "the TLS handshake was not completed in time".to_owned());
                return None;
            }
        };
        let session = tls.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            refuse("not_http2", "the peer does not offer HTTP/2".to_owned());
            return None;
        }
        let certificates = session.peer_certificates();
        let chain: Arc<[CertificateDer<'static>]> =
            certificates.unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect();
        let bundles = self.identity.bundles().snapshot();
        let verified = match verify::peer(certificates, &bundles, Purpose::Client, self.identity.now()) {
            Ok(verified) => verified,
            Err(error) => {
                refuse("tls_failure", error.to_string());
                return None;
            }
        };
        match Server::handshake(tls).await {
            Ok(server) => Some((server, Peer { address, local, verified, chain })),
            Err(error) => {
                refuse("http2_failure", error.to_string());
                None
            }
        }
    }

    async fn connection(&self, server: Server<tokio_rustls::server::TlsStream<TcpStream>>, peer: Peer, drain: Drain) {
        let left = peer.verified.not_after().duration_since(self.identity.now()).unwrap_or_default();
        let handle = |connect: Connect| {
            let (inbound, peer) = (self.clone(), peer.clone());
            self.inputs.tasks.spawn(async move { inbound.stream(connect, &peer).await });
        };
        // A peer whose certificate has run out takes no new streams on an old handshake; open ones go on.
        let end = async {
            tokio::select! {
                () = drain.begun() => {}
                () = tokio::time::sleep(left) => {}
            }
        };
        server.serve(handle, end).await;
    }

    async fn stream(&self, connect: Connect, peer: &Peer) {
        let mut facts = Facts::new(Direction::Inbound, peer.address, String::new());
        facts.source_identity = Some(peer.verified.id().clone());
        facts.destination_identity = Some(self.identity.id().clone());
        let admitted = match self.admit(&connect, peer, &mut facts) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(connect, &mut facts, refusal),
        };
        let upstream = match admitted.connect(&peer.verified).await {
            Ok(upstream) => upstream,
            Err(error) => {
                let error = format!("cannot connect to {}: {error}", admitted.to);
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_failure", Outcome::Failed(error));
                return self.refuse(connect, &mut facts, refusal);
            }
        };
        let description = baggage::of(&admitted.local);
        let local = InboundPeer { local: self.local.clone(), chain: Arc::clone(&peer.chain) };
        let registration = self.inputs.tracker.register(facts, Some(local));
        // Policy or record may have changed between the question and the registration; nothing would judge this connection
        // again.
        if let Some(cause) = self.forbidden_meanwhile(&admitted, peer) {
            connect.refuse(StatusCode::UNAUTHORIZED, "changed_meanwhile");
            registration.close(cause);
            return registration.run(std::future::pending()).await;
        }
        match connect.accept(Some(&description)) {
            Ok(stream) => {
                let flow = Arc::clone(registration.flow());
                registration.run(relay(stream, upstream, &flow.counts)).await;
            }
            Err(error) => registration.run(std::future::ready(Err(std::io::Error::other(error)))).await,
        }
    }

    /// Everything that is asked before the application is connected to.
    fn admit(&self, connect: &Connect, peer: &Peer, facts: &mut Facts) -> Result<Admitted, Refusal> {
        let bad = |error: &RequestError| {
            Refusal::new(StatusCode::BAD_REQUEST, "malformed_request", Outcome::Failed(error.to_string()))
        };
        let head = http::Request::from_parts(connect.head.clone(), ());
        let authority = destination(&head).map_err(|error| bad(&error))?;
        facts.requested = authority.to_string();

        let catalog = self.inputs.catalog.snapshot();
        let Some(local) = catalog.workload(self.local.as_str()) else {
            let outcome = Outcome::Failed("no record of the local workload".to_owned());
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_local_workload", outcome));
        };
        facts.destination_workload = Some(Arc::clone(local));
        facts.source_workload = catalog.workload_at(&self.inputs.network, peer.address.ip()).map(Arc::clone);
        let target = inbound(&catalog, local, peer.local.ip().to_canonical(), &authority).map_err(|refusal| {
            let status = match refusal.reason {
                Reason::NotThisWorkload => StatusCode::BAD_REQUEST,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refusal::new(status, refusal.reason.as_str(), Outcome::Failed(refusal.to_string()))
        })?;
        facts.destination = Some(target.to);
        facts.service = target.service.or_else(|| {
            // What the client says it addressed, if it is one of this workload's services: for telemetry only.
            let host = Forwarded::host(&connect.head.headers)?;
            let mut of_local = local.services.keys().filter_map(|key| catalog.service(key));
            of_local.find(|service| service.key.hostname.as_str() == host).map(Arc::clone)
        });
        if self.inputs.own_ports.contains(&target.to.port()) {
            let outcome = Outcome::Failed(format!("port {} is the proxy's own", target.to.port()));
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "own_port", outcome));
        }
        let connection =
            Connection { peer: Some(peer.verified.id()), source: peer.address.ip(), destination: target.to };
        let policies = self.inputs.policies.snapshot();
        if let Some(denial) = evaluate_dry_run(&policies, local, &connection) {
            tracing::info!(peer = %peer.verified.id(), destination = %target.to, %denial, "dry run: would be refused");
        }
        match evaluate(&policies, local, &connection) {
            Verdict::Allowed(permit) => {
                facts.reason = permit.reason().as_str();
                facts.policy = permit.policy().cloned();
                Ok(Admitted { to: target.to, local: Arc::clone(local), permit })
            }
            Verdict::Denied(denial) => {
                facts.policy.clone_from(&denial.policy);
                let outcome = Outcome::Denied(denial.to_string());
                Err(Refusal::new(StatusCode::UNAUTHORIZED, denial.reason.as_str(), outcome))
            }
        }
    }

    fn forbidden_meanwhile(&self, admitted: &Admitted, peer: &Peer) -> Option<Cause> {
        let catalog = self.inputs.catalog.snapshot();
        let Some(local) = catalog.workload(self.local.as_str()) else { return Some(Cause::WorkloadGone) };
        let connection =
            Connection { peer: Some(peer.verified.id()), source: peer.address.ip(), destination: admitted.to };
        match evaluate(&self.inputs.policies.load(), local, &connection) {
            Verdict::Allowed(_) => None,
            Verdict::Denied(denial) => Some(Cause::Policy(denial)),
        }
    }

    fn refuse(&self, connect: Connect, facts: &mut Facts, refusal: Refusal) {
        facts.reason = refusal.reason;
        connect.refuse(refusal.status, refusal.reason);
        self.inputs.tracker.refused(facts, &refusal.outcome);
    }
}

/// A request that may be served. Holds the permit: without one there is nothing to connect with.
#[derive(Debug)]
struct Admitted {
    to: SocketAddr,
    local: Arc<Workload>,
    permit: Permit,
}

impl Admitted {
    /// Connects to the application. Demands both proofs: who the peer is, and that it may.
    async fn connect(&self, peer: &VerifiedPeer) -> std::io::Result<TcpStream> {
        tracing::trace!(peer = %peer.id(), permit = %self.permit, to = %self.to, "connecting to the application");
        socket::connect(self.to).await
    }
}

/// Why a request is refused, and with which status.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    outcome: Outcome,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, outcome: Outcome) -> Self {
        Self { status, reason, outcome }
    }
}
