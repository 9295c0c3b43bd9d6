//! Filters that protect servers, and clients from each other.

mod attached;
mod body_limit;
mod cors;
mod deadline;
mod fault;
mod header_mutation;
mod rate_limit;
mod session;

pub use body_limit::BodyLimit;
pub use cors::Cors;
pub use deadline::{Deadline, PassDeadline, ReadDeadline};
pub use fault::Faults;
pub use header_mutation::EditHeaders;
pub use rate_limit::LocalRateLimiting;
pub use session::Sessions;

#[cfg(test)]
mod tests;
