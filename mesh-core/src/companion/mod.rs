//! Filters that ask a companion of the mesh about each request: an external authorizer ([`ext_authz`]), the rate limit
//! service ([`rate_limit`]). What is asked, what an answer means and what it may change is decided here; who carries it is
//! behind a trait.
//!
//! A companion is believed in what it decides, not in what it writes: [`HeaderEdits`] are looked at before one of them is
//! made. No header is changed that says where a message ends or whom it is for.

mod draw;
mod edit;
pub mod ext_authz;
pub mod rate_limit;
mod service;

pub use edit::{EditError, EditRules, HeaderEdit, HeaderEdits, MAX_EDIT_BYTES, MAX_EDITS};
pub use service::{CompanionError, GrpcService};

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
