//! An L7 proxy made of the parts: serves a [`Config`](mesh_core::config::Config) as it changes.
//!
//! [`Proxy`] binds the listeners that bind, hands every connection to the chain of filters that is for it, and sends requests
//! on over pooled connections. Streams that come another way, such as through a tunnel, are handed in ([`Proxy::serve`]). How
//! endpoints are reached is handed in too: directly, or as a member of a mesh ([`Connect`]).
//!
//! What changes takes effect without a failed request: connections of a chain that stays go on and use the new routes with
//! their next request; those of a chain that goes are drained.

mod access;
mod client;
mod connect;
mod dial;
mod filters;
mod inspect;
mod limits;
mod listen;
mod proxy;
mod runtime;
mod secure;
mod service;
mod tcp;
mod upstreams;

pub use access::{AccessLog, Record};
pub use client::ClusterClient;
pub use connect::{Connect, Connecting, Direct, Meshed, Target};
pub use filters::{Extensions, NoExtensions};
pub use proxy::{Incoming, Proxy, Settings};
pub use upstreams::{ClusterAtWork, ClustersAtWork, Picking};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
