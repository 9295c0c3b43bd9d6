use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::name::SpiffeId;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Purpose, VerifiedPeer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::flow::{Direction, Facts, Failure, Outcome};
use super::handshakes::Handshakes;
use super::track::{Cause, Chain, Watched};
use super::{Drain, Registration, Tracker};
use crate::hbone::judged::Judged;
use crate::hbone::limits::{CONCURRENT_HANDSHAKES, HANDSHAKE_TIMEOUT};
use crate::hbone::{ALPN, Connect, HboneStream, Server, TraceId};
use crate::socket::Listener;

/// Where tunnels end: HBONE connections to a listener, each of a peer whose identity is verified. What a tunnel is for is
/// the business of whoever is handed it.
#[derive(Debug, Clone)]
pub struct Terminator {
    identity: Identity,
    config: Arc<ServerConfig>,
    tracker: Tracker,
    tasks: Tasks,
}

/// The other end of a connection that brings tunnels.
#[derive(Debug)]
pub struct TunnelPeer {
    address: SocketAddr,
    local: SocketAddr,
    verified: VerifiedPeer,
    judged: Judged,
    /// Ends its connection: it is not trusted any more.
    distrusted: CancellationToken,
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

impl Terminator {
    /// Tunnels to `identity`. Refused handshakes are told to `tracker`; connections run as `tasks`.
    ///
    /// # Errors
    /// No TLS configuration can be made.
    pub fn new(identity: Identity, tracker: Tracker, tasks: Tasks) -> Result<Self, mesh_identity::tls::Error> {
        let config = identity.server_config(&[ALPN])?;
        Ok(Self { identity, config, tracker, tasks })
    }

    /// As whom tunnels are accepted.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Serves a listener until the drain begins; connections go on in tasks of their own, and so does `handle` for each
    /// tunnel that is asked for.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve<H, F>(self, listener: Listener, drain: Drain, handle: H)
    where
        H: Fn(Connect, Arc<TunnelPeer>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handshakes = Handshakes::new(CONCURRENT_HANDSHAKES);
        loop {
            let (tcp, address) = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let place = handshakes.begin(address.ip());
            let (this, drain, handle) = (self.clone(), drain.clone(), handle.clone());
            self.tasks.spawn(async move {
                // Boxed: the state of a handshake is large, and gone before the connection does its work.
                let handshake = Box::pin(this.handshake(tcp, address));
                let shaken = tokio::select! {
                    shaken = handshake => shaken,
                    () = place.lost.cancelled() => {
                        this.refuse_handshake(address, "tls_timeout", Failure::Tls, "too many handshakes".to_owned());
                        None
                    }
                };
                drop(place);
                let Some((server, peer)) = shaken else { return };
                this.connection(server, peer, drain, handle).await;
            });
        }
    }

    fn refuse_handshake(&self, address: SocketAddr, reason: &'static str, failure: Failure, error: String) {
        let mut facts = Facts::new(Direction::Inbound, address, String::new());
        facts.reason = reason;
        facts.destination_identity = Some(self.identity.id().clone());
        self.tracker.refused(&facts, &Outcome::Failed(failure, error));
    }

    async fn handshake(&self, tcp: TcpStream, address: SocketAddr) -> Option<(Server<Tls>, TunnelPeer)> {
        let refuse = |reason, failure, error| self.refuse_handshake(address, reason, failure, error);
        let local = tcp.local_addr().ok()?;
        let accept = TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp);
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                let failure = if verify::is_revoked(&error) { Failure::Revoked } else { Failure::Tls };
                let reason = verify::rejection(&error).map(ToString::to_string);
                refuse("tls_failure", failure, reason.unwrap_or_else(|| error.to_string()));
                return None;
            }
            Err(_) => {
                refuse("tls_timeout", Failure::Tls, "the TLS handshake was not completed in time".to_owned());
                return None;
            }
        };
        let session = tls.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            refuse("not_http2", Failure::Http2, "the peer does not offer HTTP/2".to_owned());
            return None;
        }
        let certificates = session.peer_certificates();
        let chain: Arc<[CertificateDer<'static>]> =
            certificates.unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect();
        let bundles = self.identity.bundles().snapshot();
        let verified = match verify::peer(certificates, &bundles, Purpose::Client, self.identity.now()) {
            Ok(verified) => verified,
            Err(error) => {
                refuse("tls_failure", Failure::Tls, error.to_string());
                return None;
            }
        };
        match Server::handshake(tls).await {
            Ok(server) => {
                let judged = Judged::new(chain, Purpose::Client, bundles);
                Some((server, TunnelPeer { address, local, verified, judged, distrusted: CancellationToken::new() }))
            }
            Err(error) => {
                refuse("http2_failure", Failure::Http2, error.to_string());
                None
            }
        }
    }

    async fn connection<H, F>(&self, server: Server<Tls>, peer: TunnelPeer, drain: Drain, handle: H)
    where
        H: Fn(Connect, Arc<TunnelPeer>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let left = peer.verified.not_after().duration_since(self.identity.now()).unwrap_or_default();
        let peer = Arc::new(peer);
        let handle = |connect: Connect| self.tasks.spawn(handle(connect, Arc::clone(&peer)));
        // A peer whose certificate has run out takes no new streams on an old handshake; open ones go on.
        let end = async {
            tokio::select! {
                () = drain.begun() => {}
                () = tokio::time::sleep(left) => {}
            }
        };
        tokio::select! {
            // First, so that the answers that are due leave before the connection is closed.
            biased;
            () = server.serve(handle, end) => {}
            () = peer.distrusted.cancelled() => {}
        }
    }

    /// Whether a peer is still trusted. One that is not should be [given up](Self::give_up), once its request is answered.
    ///
    /// # Errors
    /// Why it is not trusted any more.
    pub fn look(&self, peer: &TunnelPeer) -> Result<(), verify::Error> {
        peer.judged.look(&self.identity)
    }

    /// What is known of a tunnel when it is asked for.
    #[must_use]
    pub fn facts(&self, connect: &Connect, peer: &TunnelPeer) -> Facts {
        let requested = connect.head.uri.authority().map_or_else(String::new, ToString::to_string);
        let mut facts = Facts::new(Direction::Inbound, peer.address, requested);
        facts.source_identity = Some(peer.identity().clone());
        facts.destination_identity = Some(self.identity.id().clone());
        facts.tunnel = Some(SocketAddr::new(peer.local.ip().to_canonical(), peer.local.port()));
        facts.trace = TraceId::of(&connect.head.headers);
        facts
    }

    /// Accepts a tunnel whose bytes are read here. It is registered, and closed when its peer stops to be trusted. `None`
    /// when the peer is not trusted any more, or gone.
    #[must_use]
    pub fn accept(
        &self,
        connect: Connect,
        peer: &TunnelPeer,
        facts: Facts,
        baggage: Option<&str>,
    ) -> Option<(HboneStream, Registration)> {
        let registration = self.tracker.register(facts, Watched::Terminated { chain: Arc::clone(peer.chain()) });
        // After the registration: what changes from now on is judged there.
        if let Err(error) = self.look(peer) {
            connect.refuse(StatusCode::UNAUTHORIZED, "peer_not_trusted");
            self.give_up(peer, &error);
            return None;
        }
        let stream = connect.accept(baggage).ok()?;
        Some((stream, registration))
    }

    /// Refuses a tunnel and tells the log.
    pub fn refuse(
        &self,
        connect: Connect,
        mut facts: Facts,
        status: StatusCode,
        reason: &'static str,
        outcome: &Outcome,
    ) {
        facts.reason = reason;
        connect.refuse(status, reason);
        self.tracker.refused(&facts, outcome);
    }

    /// Ends the connection of a peer that is not trusted any more, and all that it carries.
    pub fn give_up(&self, peer: &TunnelPeer, error: &verify::Error) {
        if peer.distrusted.is_cancelled() {
            return;
        }
        tracing::info!(peer = %peer.identity(), %error, "a tunnel connection ends: its peer is not trusted any more");
        self.tracker.judge(|_, watched| match watched {
            Watched::Inbound { chain: Some(chain), .. } | Watched::Terminated { chain }
                if Arc::ptr_eq(chain, peer.judged.chain()) =>
            {
                Some(Cause::Trust(error.clone()))
            }
            _ => None,
        });
        peer.distrusted.cancel();
    }
}

impl TunnelPeer {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of ours that it connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &SpiffeId {
        self.verified.id()
    }

    /// Its certificates, leaf first.
    pub(super) fn chain(&self) -> &Chain {
        self.judged.chain()
    }
}
