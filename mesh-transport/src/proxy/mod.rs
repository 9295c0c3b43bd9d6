//! The L4 proxy of one node: connections out of its workloads and into them.
//!
//! What it decides by is handed in as live values ([`Inputs`]); where they come from is not its business. Every connection
//! is registered in a [`Tracker`], so that a change of policy, of a record or of trust closes what is no longer allowed.

mod access_log;
mod drain;
mod flow;
mod inbound;
mod outbound;
mod reevaluate;
pub mod socks5;
mod track;
mod way_in;

use std::sync::Arc;

use mesh_core::authz::PolicySet;
use mesh_core::catalog::Catalog;
use mesh_core::live::Live;
use mesh_core::name::Network;
use mesh_identity::source::Identities;
use mesh_identity::task::Tasks;

use crate::hbone::pool::Pool;

pub use drain::Drain;
pub use flow::{Direction, Facts, Flow, Observer, Outcome};
pub use inbound::Inbound;
pub use outbound::{Connected, Error, Outbound};
pub use reevaluate::reevaluate;
pub use track::{Cause, ConnectionInfo, Registration, Tracker};
pub use way_in::WayIn;

/// What a proxy decides by and works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What exists.
    pub catalog: Live<Catalog>,
    /// Who may connect to whom.
    pub policies: Live<PolicySet>,
    /// Our own identities, and whom they trust.
    pub identities: Identities,
    /// The network that this node is in.
    pub network: Network,
    /// Connections to other nodes.
    pub pool: Pool,
    /// Open connections.
    pub tracker: Tracker,
    /// Ports on which the proxy itself listens at workload addresses. No tunnel leads there.
    pub own_ports: Arc<[u16]>,
    /// Tasks of all connections.
    pub tasks: Tasks,
}
