//! Envoy's resources ↔ the listeners, routes, clusters and endpoints of `mesh_core`.
//!
//! Decoding is exact about what it leaves out. A field that is not known to Envoy's own messages is passed over, as every xDS
//! client must. A field that is known but not supported is a [`Warning`] where the resource stays safe without it, and an
//! [`Error`] (a NACK) where leaving it out would let through what it was to hold back or send traffic elsewhere. The tables
//! in each module say which is which; encoding is the inverse of decoding.

#![allow(deprecated, reason = "every field of a message is named when it is read, the deprecated ones too")]

mod authn;
mod cidr;
pub mod cluster;
mod companion;
mod config_source;
pub mod endpoint;
mod error;
mod filter_state;
mod header_matcher;
pub mod listener;
mod metadata;
mod metadata_matcher;
mod rbac;
mod resources;
pub mod route;
mod string_matcher;
#[cfg(test)]
mod testing;
pub mod tls;
mod wire;

pub use crate::resource::Warning;
pub use error::{Decoded, Error};
pub(crate) use route::{unit_of, wire_unit};
pub(crate) use wire::wire_address;

/// Type URL of `envoy.config.listener.v3.Listener`.
pub const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// Type URL of `envoy.config.route.v3.RouteConfiguration`.
pub const ROUTE_TYPE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Type URL of `envoy.config.route.v3.ScopedRouteConfiguration`.
pub const SCOPED_ROUTE_TYPE: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";

/// Type URL of `envoy.config.cluster.v3.Cluster`.
pub const CLUSTER_TYPE: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// Type URL of `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub const ENDPOINT_TYPE: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// Type URL of `envoy.extensions.transport_sockets.tls.v3.Secret`.
pub const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Whether a response of a type holds every resource in the state-of-the-world variant, so that one that is absent is gone.
pub(crate) fn is_full_state(type_url: &str) -> bool {
    [LISTENER_TYPE, SCOPED_ROUTE_TYPE, CLUSTER_TYPE].contains(&type_url)
}
