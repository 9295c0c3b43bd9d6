//! Who calls, and what it may ask for: on the one port where discovery and certificates are served.
//!
//! | who | proves itself by | may have certificates of | sees |
//! | --- | --- | --- | --- |
//! | a node | the token that was made for it | the workloads on it | workload discovery |
//! | the proxy of a Kubernetes node | the token of its service account, bound to its pod | the workloads on the node of its pod | workload discovery |
//! | any other service account | its token | itself | what its identity is an instance of, else what a client without a proxy asks for |
//! | a workload | its SVID | itself, as long as the configuration has it | the same |
//!
//! [`Authenticate`] finds out who it is before a call reaches a service, for a token may have to be shown to an API server.
//! [`Grants`] says which certificates it may have, `Admission` what it is served. Nothing is issued between trust domains.

mod admission;
mod api_server;
mod assignments;
mod authenticate;
mod grants;
mod key_set;
mod metadata;
mod review;
mod reviewers;

pub(crate) use admission::Admission;
pub use api_server::ApiServer;
pub use assignments::Assignments;
pub use authenticate::{Authenticate, Authenticated, Identified, Unidentified};
pub use grants::Grants;
pub use key_set::ClusterKeySet;
pub use review::{Bound, Review, ReviewError, ReviewToken, ServiceAccountToken};
pub(crate) use reviewers::reviewers;

#[cfg(test)]
mod tests;
