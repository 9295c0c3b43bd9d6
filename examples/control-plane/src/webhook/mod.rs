//! The validating admission webhook: an object that would be refused here is refused by the API server already, where whoever
//! applies it sees why (`admission.k8s.io/v1`).
//!
//! Whoever cannot be answered is refused: what cannot be parsed, what takes too long, what comes while too much is judged.
//! That is the API server's part too, by `failurePolicy: Fail`. The schema does not keep anybody from taking away what is wrong:
//! deletions are judged by admission policies alone, by those that speak of them, where the API server is told to ask
//! ([`configuration`]).

mod begin;
mod configuration;
mod judged;
mod review;
mod schema;
mod serve;

pub(crate) use begin::begin;
pub use configuration::{Place, configuration};
pub use judged::{All, Judged};
pub use review::{Operation, Request, Validator, Verdict};
pub use schema::Schema;
pub use serve::Webhook;
