//! Routes as people write them: the Gateway API's HTTPRoute and GRPCRoute, and what they come to in a [route
//! table](crate::route).
//!
//! The values are those of the Kubernetes objects, typed, defaults filled in, references resolved by whoever read them: a
//! [`Backend`] is the name of a cluster or it is invalid. [`listener_routes`] and [`service_routes`] compile all routes that
//! are attached to one place into one table, by the rules of the specification: intersection of host names, precedence of
//! matches over all routes, no falling through to another rule once one has won, 500 for the share of a backend that is
//! invalid. A table is in Envoy's terms, so the same routes give the same answers here and in an Envoy that is shown them.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use mesh_core::gateway::{BackendRef, Entry, HttpMatch, HttpPath, HttpRoute, HttpRule, Listener, RouteId, listener_routes};
//! use mesh_core::request::Request;
//! use mesh_core::route::RouteTable;
//!
//! let mut route = HttpRoute::new(RouteId::new("shop", "cart"));
//! route.hostnames = vec!["shop.example".parse()?];
//! route.rules = vec![HttpRule {
//!     matches: vec![HttpMatch { path: HttpPath::Prefix("/cart".into()), ..HttpMatch::default() }],
//!     backends: vec![BackendRef::to("carts", 9), BackendRef::invalid(1)],
//!     ..HttpRule::default()
//! }];
//! let listener = Listener { http: vec![&route], ..Listener::default() };
//! let table = RouteTable::new(listener_routes("http", Entry::http(80), &[listener]))?;
//!
//! let headers = HeaderMap::new();
//! let request = Request::new(&Method::GET, "shop.example:8080", "/cart/7", &headers);
//! assert_eq!(table.find(&request, 0)?.cluster(&request), Some("carts"));
//! let request = Request::new(&Method::GET, "shop.example", "/cartoon", &headers);
//! assert!(table.find(&request, 0).is_err(), "a prefix ends where an element of the path does");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Istio's VirtualService, for what goes beyond that, is in [`virtual_service`].
//!
//! # Where the specification leaves a choice
//!
//! | what | here |
//! | --- | --- |
//! | paths by regular expression | after exact ones, before prefixes; longer expressions first |
//! | methods of gRPC by regular expression | after exact services and methods, before matches without either |
//! | `timeouts` that are not given | none: neither streams nor web sockets break off |
//! | `retry.attempts` that is not given | 2 |
//! | all weights zero | 500, or `UNAVAILABLE` for gRPC |
//!
//! # What Envoy's terms cannot say
//!
//! `retry.backoff` is the base of Envoy's exponential back-off with full jitter, not the shortest wait. A session is kept
//! within the backend that the weights choose, idle timeouts of sessions are not kept, and two rules share a session if they
//! name the same cookie. Beside a backend that is invalid, one that is only not known yet is answered with the same error. A
//! redirect that keeps a host known by a wildcard only names a port in Envoy even where it goes without saying.

mod backend;
mod clients;
mod compile;
mod edits;
mod filter;
mod hostname;
mod matches;
mod route;
pub mod virtual_service;

pub use backend::{Backend, BackendRef, Persistence, Retry, RuleTimeouts};
pub use compile::{Entry, INVALID_BACKEND, Listener, MeshService, filter_name, listener_routes, service_routes};
pub use filter::{Cors, Extension, Filter, HeaderModifier, PathModifier, RequestMirror, RequestRedirect, UrlRewrite};
pub use hostname::{intersection, intersects};
pub use matches::{GrpcMatch, GrpcMethod, HeaderCondition, HttpMatch, HttpPath, QueryCondition, ValueMatch};
pub use route::{GatewayRoute, GrpcRoute, GrpcRule, HttpRoute, HttpRule, RouteId, Rule};

#[cfg(test)]
mod tests;
