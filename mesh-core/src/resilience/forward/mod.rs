//! The end of a chain of filters: it sends a request on as its route says.

mod answer;
mod body;
mod error;
mod future;
mod head;
mod mirror;
mod plan;
mod sending;
mod service;
mod settings;
mod upstream;

pub use body::{ForwardBody, ForwardError};
pub use error::{SendError, SendFailure};
pub use future::Forwarding;
pub use service::Forwarder;
pub use settings::{EnvoyHeaders, ForwardSettings, Overrides};
pub use upstream::{Spawn, Upstream, Upstreams, Work};

#[cfg(test)]
mod tests;
