//! SPIRE's server API, both sides: nodes of ours and real SPIRE agents join our control plane, and our nodes join a real SPIRE
//! server. The identities of their workloads come the same way.
//!
//! [`SpireServer`] serves it; [`Node`] is a node that joined, with [`SpireSource`] as the source of the identities that its
//! entries name.

mod client;
mod convert;
mod nodes;
mod server;
mod upstream;

pub use client::{Joining, Node, NodeError, SpireSource};
pub use nodes::{NodeRefused, NodeView, Nodes};
pub use server::{SpireParts, SpireServer};
pub use upstream::{UpstreamAuthority, UpstreamError};

/// Path of a server's SPIFFE ID.
pub const SERVER_PATH: &str = "/spire/server";
