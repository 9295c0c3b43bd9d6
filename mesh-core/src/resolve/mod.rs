//! Resolution: from what a client addressed to the way to reach it, with the reason.
//!
//! Pure functions over a [`Catalog`](crate::catalog::Catalog): no sockets, no clock, no randomness of their own. The
//! order of questions is that of Istio's ztunnel, so that both choose alike for the same state; where we differ on
//! purpose the function says so.
//!
//! ```
//! use mesh_core::catalog::Catalog;
//! use mesh_core::name::Network;
//! use mesh_core::resolve::{Destination, Hop, Outbound, Reason, outbound};
//! use mesh_core::workload::Workload;
//!
//! let source = Workload::new("c1//Pod/shop/web-1", "cluster.local".parse()?, "shop", "web-1")?;
//! let destination: Destination = "192.0.2.1:443".parse()?;
//! let here = Network::default();
//! let request = Outbound::new(&source, &here, &destination);
//! let way = outbound(&Catalog::default(), &request, 0)?;
//!
//! // Nobody knows this address: it lies outside the mesh and is reached as it is.
//! assert_eq!(way.reason, Reason::UnknownDestination);
//! assert_eq!(way.hop, Hop::Plain { to: destination });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod destination;
mod endpoint;
mod gateway;
mod hop;
mod inbound;
mod lookup;
mod missing;
mod outbound;
mod reason;

pub use destination::{Destination, ParseDestinationError};
pub use hop::{Hop, InnerTunnel, Resolution, Tunnel};
pub use inbound::{InboundTarget, inbound};
pub use missing::missing;
pub use outbound::{Outbound, UnreadyWaypoint, outbound, ways};
pub use reason::{Reason, Refusal};

#[cfg(test)]
mod tests;
