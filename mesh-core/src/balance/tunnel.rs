use std::net::SocketAddr;

use crate::name::SpiffeId;

/// An endpoint is reached through a tunnel: HBONE, which is mutual TLS and in it a CONNECT for each connection whose
/// authority is the endpoint's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Who may be at its end, one of these. Empty when the control plane does not say; then anybody of a trust domain that is
    /// trusted, as waypoints of Istio have it.
    pub identities: Vec<SpiffeId>,
    /// Where it leads instead of port 15008 of the endpoint's own address: to the waypoint of the endpoint.
    pub via: Option<SocketAddr>,
}
