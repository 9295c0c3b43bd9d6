//! Authorization at L4: the policy model of `istio.security.Authorization`, its evaluation, and why a verdict fell. Envoy's
//! model, for connections and requests, is in [`rbac`]; policies on requests, which are compiled into it, are in [`http`].
//!
//! Enforced on the destination side, in this order: any deny policy that matches refuses; without allow policies
//! everything else is allowed; with allow policies one of them must match. A policy that a workload names but that is
//! not known refuses as well: what was meant to be protected is not open because a message is still under way.
//!
//! ```
//! use mesh_core::authz::{Action, Connection, Policy, PolicyDelta, PolicySet, Scope, evaluate};
//! use mesh_core::workload::Workload;
//!
//! // An allow policy without rules denies everything in its namespace.
//! let policy = Policy::new("shop/deny-all".parse()?, Scope::Namespace, Action::Allow, Vec::new());
//! let mut delta = PolicyDelta::new();
//! delta.upsert(policy);
//! let policies = PolicySet::default().apply(delta);
//!
//! let workload = Workload::new("c1//Pod/shop/reviews-1", "cluster.local".parse()?, "shop", "reviews-1")?;
//! let connection = Connection { peer: None, source: "10.0.0.1".parse()?, destination: "10.0.0.7:80".parse()? };
//! let verdict = evaluate(&policies, &workload, &connection);
//! assert_eq!(verdict.to_string(), "denied: allow policies apply and none of them matches");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod evaluate;
mod explain;
pub mod http;
mod matcher;
mod policy;
pub mod rbac;
mod set;
mod verdict;

pub use evaluate::{evaluate, evaluate_dry_run};
pub use explain::{Considered, Explanation, explain};
pub use matcher::Connection;
pub use policy::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
pub use set::{PolicyDelta, PolicySet};
pub use verdict::{Denial, Permit, Reason, Verdict};

#[cfg(test)]
mod tests;
