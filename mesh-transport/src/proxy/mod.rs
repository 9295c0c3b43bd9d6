//! The L4 proxy of one node: connections out of its workloads and into them.
//!
//! What it decides by is handed in as live values ([`Inputs`]); where they come from is not its business. Every connection
//! is registered in a [`Tracker`], so that a change of policy, of a record or of trust closes what is no longer allowed.
//!
//! | way | type |
//! | --- | --- |
//! | out of a workload: captured, by SOCKS5, or fixed | [`WayIn`], [`Outbound`] |
//! | into a workload by tunnel | [`Inbound`] |
//! | into a workload in plaintext | [`Passthrough`] |
//! | all of these of one captured workload | [`Pod`] |
//! | into a network, for tunnels within tunnels | [`Inbound::gateway`] |
//! | tunnels that end here, for whatever purpose | [`Terminator`] |
//! | tunnels to ends that somebody has chosen | [`Tunnels`] |

mod access_log;
mod admit;
mod drain;
mod flow;
mod handshakes;
mod inbound;
mod inputs;
mod local;
mod nested;
mod opened;
mod outbound;
mod passthrough;
mod pod;
mod reevaluate;
pub mod socks5;
mod terminate;
mod track;
mod tunnels;
mod upstream;
mod way_in;

pub use drain::Drain;
pub use flow::{Direction, Facts, Failure, Flow, Observer, Outcome};
pub use inbound::Inbound;
pub use inputs::{Discover, Inputs, Options};
pub use local::LocalWorkload;
pub use nested::NestedHeaders;
pub use opened::OutboundStream;
pub use outbound::{Connected, Error, Outbound};
pub use passthrough::Passthrough;
pub use pod::{Pod, Ways};
pub use reevaluate::reevaluate;
pub use terminate::{Terminator, TunnelPeer};
pub use track::{Cause, ConnectionInfo, Registration, Tracker};
pub use tunnels::{End, Tunnels};
pub use way_in::WayIn;
