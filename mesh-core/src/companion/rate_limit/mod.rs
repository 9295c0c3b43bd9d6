//! Global rate limits: a service counts the requests of a whole mesh, and says which are too many.
//!
//! A request is counted by [`Descriptor`]s, lists of keys and values that [`RateLimit`](crate::route::RateLimit)s of its route
//! and virtual host make of it ([`descriptor`]). [`GlobalRateLimit`] holds the settings, [`GlobalRateLimiting`] is the filter, a
//! [`RateLimiter`] carries [`Question`]s to the service (`envoy.service.ratelimit.v3`).
//!
//! ```
//! use mesh_core::companion::rate_limit::{Facts, descriptor};
//! use mesh_core::filter::Metadata;
//! use mesh_core::request::Request;
//! use mesh_core::route::{DescriptorAction, RateLimit};
//!
//! let limit = RateLimit {
//!     actions: vec![
//!         DescriptorAction::GenericKey { key: "tier".into(), value: "free".into() },
//!         DescriptorAction::RequestHeader { name: "x-tenant".parse()?, key: "tenant".into(), skip_if_absent: false },
//!     ],
//!     ..RateLimit::default()
//! };
//! let headers = http::HeaderMap::from_iter([("x-tenant".parse()?, "42".parse()?)]);
//! let request = Request::new(&http::Method::GET, "shop.example", "/cart", &headers);
//! let facts =
//!     Facts { request, metadata: &Metadata::default(), source_cluster: "web", destination_cluster: Some("carts") };
//! let counted = descriptor(&limit, &facts).ok_or("not counted")?;
//! assert_eq!(counted.to_string(), "tier=free, tenant=42");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod descriptor;
mod filter;
mod header;
mod settings;

pub use answer::{Asking, CurrentLimit, DescriptorStatus, Question, RateLimiter, Ruling};
pub use descriptor::{Descriptor, Facts, descriptor};
pub use filter::GlobalRateLimiting;
pub use settings::{GlobalRateLimit, RequestKind};

/// Where what the service says of a request stands among its metadata, where nothing else is said.
pub const METADATA: &str = "envoy.filters.http.ratelimit";

#[cfg(test)]
mod tests;
