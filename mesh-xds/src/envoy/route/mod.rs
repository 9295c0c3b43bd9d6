//! Envoy's `RouteConfiguration` ↔ [`mesh_core::route`].
//!
//! What would match other requests, hold back less or send traffic elsewhere if it were left out is refused; what only
//! shows in statistics, traces and logs is not. Durations must not be negative, numbers of enumerations must be known.
//!
//! | message | table of its fields in |
//! | --- | --- |
//! | `RouteConfiguration`, `VirtualHost`, `Route` | [`decode_route_table`] |
//! | the others | the sources of this room, file by file |

mod action;
mod answer;
mod cluster;
mod cors;
mod edits;
mod fault;
mod filters;
mod hash;
mod host;
mod local_rate_limit;
mod matcher;
mod mutation;
mod rate_limit;
mod retry;
mod session;
mod table;

pub(super) use answer::inline;
pub(super) use edits::{body_limit, header_mutation, wire_body_limit, wire_header_mutation};
pub(super) use fault::{fault, wire_fault};
pub(super) use local_rate_limit::{local_rate_limit, wire_local_rate_limit};
pub(super) use matcher::{fraction, route_match, wire_fraction, wire_route_match};
pub(super) use mutation::{addition, header_value, wire_addition};
pub(super) use rate_limit::{MAX_STAGE, Place, rate_limit, wire_rate_limit};
pub(crate) use rate_limit::{unit_of, wire_unit};
pub(super) use session::{stateful_session, wire_stateful_session};
pub use table::{decode_route_table, encode_route_table};
pub(super) use table::{route_table, wire_route_table};

#[cfg(test)]
pub(super) mod tests;
