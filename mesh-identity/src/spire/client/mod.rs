//! The node's side: joining, staying, and identities for workloads.

mod error;
mod join;
mod node;
mod source;

pub use error::NodeError;
pub use join::Joining;
pub(super) use join::channel;
pub use node::Node;
pub use source::SpireSource;

const ALPN: &[&[u8]] = &[b"h2"];
