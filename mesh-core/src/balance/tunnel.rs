use std::net::SocketAddr;

use crate::name::{Hostname, SpiffeId};

/// An endpoint is reached through a tunnel: HBONE, which is mutual TLS and in it a CONNECT for each connection whose
/// authority is the endpoint's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Who may be at its end, one of these. Empty when the control plane does not say, as that of Istio does not; then any
    /// member of our own trust domain, and nobody of another one.
    pub identities: Vec<SpiffeId>,
    /// Where it leads instead of port 15008 of the endpoint's own address: to the waypoint of the endpoint.
    pub via: Option<SocketAddr>,
    /// The tunnel in it, where the endpoint is in another network. The endpoint's address is then that of the network's
    /// gateway, where this tunnel ends, and [`via`](Self::via) is not asked.
    pub inner: Option<InnerTunnel>,
}

/// A tunnel within a tunnel, which the gateway of another network passes on unread to an endpoint that it chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerTunnel {
    /// The service that both tunnels are asked for: addresses of the other network mean nothing here.
    pub host: Hostname,
    /// Its port.
    pub port: u16,
    /// Who may be at the inner end, as [`Tunnel::identities`] has it.
    pub identities: Vec<SpiffeId>,
}
