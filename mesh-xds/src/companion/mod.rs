//! Clients of a mesh's companions, behind the traits of [`mesh_core::companion`]: external authorizers by gRPC
//! ([`GrpcAuthorizer`]) and by HTTP ([`HttpAuthorizer`]), the rate limit service ([`GrpcRateLimiter`]).
//!
//! They carry questions and answers over any tonic channel or tower service. What is asked, what an answer means, and what
//! becomes of a request without one is decided by the filters of `mesh-core`. Dropping a question resets its stream.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, SystemTime};
//!
//! use mesh_core::companion::GrpcService;
//! use mesh_core::companion::ext_authz::{ExternalAuthorization, ExternalAuthz, Service};
//! use mesh_core::filter::FilterLayer;
//! use mesh_xds::companion::GrpcAuthorizer;
//! use tonic::transport::Endpoint;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = GrpcService::new("opa", Some(Duration::from_millis(200)));
//! let channel = Endpoint::from_static("http://127.0.0.1:9191").connect_lazy();
//! let authorizer = GrpcAuthorizer::new(channel, &service, SystemTime::now);
//! let settings = ExternalAuthz::new(Service::Grpc(service));
//! let layer = FilterLayer::new(ExternalAuthorization::new(settings, Arc::new(authorizer)));
//! # drop(layer);
//! # }
//! ```

mod call;
mod ext_authz;
mod rate_limit;

pub use ext_authz::{GrpcAuthorizer, HttpAuthorizer};
pub use rate_limit::GrpcRateLimiter;

#[cfg(test)]
mod tests;
