//! A gRPC channel that finds its endpoints by xDS: what gRPC calls `xds:///service`, for tonic.
//!
//! [`Channel`] is a tower service that a tonic client is made of. For each call it looks the route up by the headers, picks an
//! endpoint of the cluster by its policy (`mesh_core::balance`: localities, priorities, outlier detection, circuit breakers),
//! and tries again where the route says so. What it needs of the control plane is what gRPC's own clients need: a listener
//! with an API listener, a route configuration, clusters and their endpoints (gRFC A27).
//!
//! # What is taken of the configuration
//!
//! | feature | gRFC | here |
//! | --- | --- | --- |
//! | routes by path, headers, fraction; weighted clusters | A28 | yes; query parameters too |
//! | largest duration of a stream | A31 | yes; a route's `timeout` is for proxies and has no effect |
//! | circuit breaking by requests in flight | A32 | yes; retries are limited too |
//! | aggregate and DNS clusters | A37 | yes |
//! | ring hash, and its hash policies | A42 | yes; Maglev, cookies and queries too |
//! | retries | A44 | yes; per-try timeout too |
//! | outlier detection | A50 | yes, as Envoy does it |
//! | least request, random, weighted localities | A48, A52 | yes |
//! | failover among priorities | A56 | as Envoy does it: by the health of each level |
//! | header and path rewriting | | yes; the authority stays that of the channel |
//! | mirroring, hedging, fault injection, session affinity | A55, A33 | no |
//!
//! A call that finds a configuration on its way waits for it; one that cannot be carried out ends with `UNAVAILABLE`, whatever
//! the control plane's reason, as gRFC A88 asks.

mod assembly;
mod connect;
mod replay;
mod service;
mod tracked;
mod upstream;

pub use assembly::Keeper;
pub use connect::{Dial, Plaintext, Target};
pub use service::Channel;
