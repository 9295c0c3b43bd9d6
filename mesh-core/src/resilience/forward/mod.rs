//! The end of a chain of filters: it sends a request on as its route says.

pub(super) mod answer;
mod error;
mod future;
mod head;
pub(super) mod mirror;
mod plan;
mod sending;
mod service;
mod settings;
mod upstream;

pub use error::{SendError, SendFailure};
pub use future::Forwarding;
pub use service::Forwarder;
pub use settings::{EnvoyHeaders, ForwardSettings, Overrides};
pub use upstream::{Spawn, Upstream, Upstreams, Work};

#[cfg(test)]
mod tests;
