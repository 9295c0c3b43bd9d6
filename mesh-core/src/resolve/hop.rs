use std::net::SocketAddr;
use std::sync::Arc;

use super::{Destination, Reason};
use crate::name::SpiffeId;
use crate::service::Service;
use crate::workload::Workload;

/// A way to reach a destination, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What to do.
    pub hop: Hop,
    /// Why.
    pub reason: Reason,
    /// The service that was addressed, if one was.
    pub service: Option<Arc<Service>>,
    /// The workload at the other end of the next hop, if it is known.
    pub workload: Option<Arc<Workload>>,
}

/// The next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hop {
    /// Plain TCP.
    Plain {
        /// Where to; a host name is resolved by DNS.
        to: Destination,
    },
    /// One HBONE tunnel, to a workload or a waypoint.
    Hbone(Tunnel),
    /// A tunnel inside a tunnel: through the gateway of another network, with identity end to end.
    Nested {
        /// To the gateway.
        outer: Tunnel,
        /// Through it.
        inner: InnerTunnel,
    },
}

/// An HBONE tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Address and HBONE port of the other end.
    pub to: SocketAddr,
    /// What the CONNECT request names.
    pub authority: Destination,
    /// Who may be at the other end: any of these, and nobody when there are none.
    pub expected: Vec<SpiffeId>,
}

/// The inner one of two nested tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerTunnel {
    /// What the inner CONNECT request names.
    pub authority: Destination,
    /// Who may be at the inner end: any of these, and nobody when there are none.
    pub expected: Vec<SpiffeId>,
}
