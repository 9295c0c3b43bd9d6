//! Authorization at L4: the policy model of `istio.security.Authorization`, its evaluation, and why a verdict fell.
//!
//! Enforced on the destination side. Deny policies are asked first; when any allow policy applies to a workload, one of
//! them must match; without allow policies everything not denied is allowed.

mod policy;

pub use policy::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
