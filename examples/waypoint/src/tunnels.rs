//! Takes streams out of tunnels and hands them to the proxy.

use std::sync::Arc;

use http::StatusCode;
use mesh_core::filter::{Connection, PeerNames};
use mesh_core::name::Text;
use mesh_core::resolve::Destination;
use mesh_transport::hbone::{Connect, destination};
use mesh_transport::l7::{Incoming, Proxy};
use mesh_transport::proxy::{Drain, Failure, Outcome, Terminator, TunnelPeer};
use mesh_transport::socket::Listener;

/// The end of the tunnels that lead to a waypoint.
#[derive(Debug, Clone)]
pub(crate) struct Tunnels {
    pub(crate) terminator: Terminator,
    pub(crate) proxy: Proxy,
    /// The listener that gets the streams.
    pub(crate) listener: String,
}

impl Tunnels {
    /// Serves until the drain begins.
    pub(crate) async fn serve(self, listener: Listener, drain: Drain) {
        let terminator = self.terminator.clone();
        let tunnels = Arc::new(self);
        let handle = move |connect: Connect, peer: Arc<TunnelPeer>| {
            let tunnels = Arc::clone(&tunnels);
            async move { tunnels.stream(connect, &peer).await }
        };
        terminator.serve(listener, drain, handle).await;
    }

    async fn stream(&self, connect: Connect, peer: &TunnelPeer) {
        let mut facts = self.terminator.facts(&connect, peer);
        if let Err(error) = self.terminator.look(peer) {
            let outcome = Outcome::Failed(Failure::Tls, error.to_string());
            self.terminator.refuse(connect, facts, StatusCode::UNAUTHORIZED, "peer_not_trusted", &outcome);
            return self.terminator.give_up(peer, &error);
        }
        let requested = destination(&http::Request::from_parts(connect.head.clone(), ()));
        let entry = match requested {
            Ok(requested) => self.entry(&requested),
            Err(error) => {
                let outcome = Outcome::Failed(Failure::Connect, error.to_string());
                return self.terminator.refuse(
                    connect,
                    facts,
                    StatusCode::BAD_REQUEST,
                    "malformed_request",
                    &outcome,
                );
            }
        };
        // Never an open proxy: what the waypoint does not serve is refused before a byte is taken.
        let Some(entry) = entry else {
            let outcome = Outcome::Failed(Failure::Connect, format!("{} is not served here", facts.requested));
            return self.terminator.refuse(connect, facts, StatusCode::NOT_FOUND, "unknown_destination", &outcome);
        };
        let source = peer.address();
        let to = match &entry {
            Entry::Address(to) => *to,
            Entry::Chain(_, to) => *to,
        };
        facts.destination = Some(to);
        let connection = Connection {
            // Who the client of the tunnel is counts in policies; what it spoke before is not known.
            peer: Some(PeerNames { uris: vec![peer.identity().to_string().into()], ..PeerNames::default() }),
            local: Some(self.terminator.identity().id().clone()),
            ..Connection::new(source, to)
        };
        let Some((stream, registration)) = self.terminator.accept(connect, peer, facts, None) else { return };
        let incoming = Incoming::new(Arc::new(connection));
        let served = async {
            let served = match &entry {
                Entry::Address(_) => self.proxy.serve(&self.listener, stream, incoming).await,
                Entry::Chain(chain, _) => {
                    self.proxy.serve_chain(&self.listener, chain.as_str(), stream, incoming).await
                }
            };
            served.map_err(std::io::Error::other)
        };
        registration.run(served).await;
    }

    /// How a destination is served, if it is.
    fn entry(&self, destination: &Destination) -> Option<Entry> {
        let listeners = self.proxy.listeners();
        let listener = &listeners.get(self.listener.as_str())?.listener;
        let socket = listener.socket()?;
        match destination {
            Destination::Address(to) => socket.serves(*to).then_some(Entry::Address(*to)),
            // Chains of services are named by their hosts, as Istio names them.
            Destination::Hostname(host, port) => {
                let is_of = |name: &str| {
                    let mut parts = name.split('|');
                    parts.next() == Some("inbound-vip")
                        && parts.next() == Some(port.to_string().as_str())
                        && parts.next().is_some()
                        && parts.next() == Some(host.as_str())
                };
                let chain = socket.chains.iter().find(|chain| is_of(chain.name.as_str()))?;
                let vip = chain.matcher.destination_ranges.first()?.addr();
                let to = std::net::SocketAddr::new(vip, *port);
                Some(if socket.serves(to) { Entry::Address(to) } else { Entry::Chain(chain.name.clone(), to) })
            }
        }
    }
}

/// How a stream enters the proxy.
enum Entry {
    /// By the address that it is meant for.
    Address(std::net::SocketAddr),
    /// By the chain that is for it.
    Chain(Text, std::net::SocketAddr),
}
