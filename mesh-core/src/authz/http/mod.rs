//! Istio's AuthorizationPolicy on requests: the model, and its compilation into Envoy's rules.
//!
//! A policy holds rules; a rule matches when one of its sources, one of its operations and all of its conditions do. What
//! matches an ALLOW policy may pass, what matches a DENY policy may not, what matches an AUDIT policy is logged, and what
//! matches a CUSTOM policy is put to an external authorizer. Asked in this order: CUSTOM, AUDIT (which decides nothing), DENY,
//! ALLOW. With ALLOW policies, one of them must match.
//!
//! Policies are compiled into what [`rbac`](super::rbac) evaluates, and what our codecs show to Envoy: the same policy gives
//! the same answer in both. **What cannot be understood closes, never opens**: an ALLOW rule with a value that means nothing
//! is left out, a DENY, AUDIT or CUSTOM rule matches more than it says, and a [`Problem`] tells of either.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use mesh_core::authz::http::{
//!     AuthorizationPolicy, Compiled, Mesh, Operation, PolicyAction, Rule, Source, Values, compile,
//! };
//! use mesh_core::authz::rbac::{Facts, Peer};
//! use mesh_core::request::Request;
//!
//! let web = Source { principals: Values::any_of(["cluster.local/ns/shop/sa/web"]), ..Source::default() };
//! let read = Operation {
//!     methods: Values::any_of(["GET"]),
//!     paths: Values { any_of: vec!["/cart/{*}".into()], none_of: vec!["/cart/secret".into()] },
//!     ..Operation::default()
//! };
//! let rule = Rule { from: vec![web], to: vec![read], when: vec![] };
//! let policy = AuthorizationPolicy::new("shop/readers".parse()?, PolicyAction::Allow, vec![rule]);
//!
//! let compiled = compile(&[policy], &Mesh::default());
//! assert!(compiled.problems.is_empty());
//! let allow = compiled.allow.and_then(|filter| filter.rules).ok_or("no rules")?;
//!
//! let headers = HeaderMap::new();
//! let uris = ["spiffe://cluster.local/ns/shop/sa/web".into()];
//! let facts = Facts {
//!     peer: Some(Peer { uris: &uris, ..Peer::default() }),
//!     request: Some(Request::new(&Method::GET, "shop.example", "/cart/secret", &headers)),
//!     ..Facts::new("10.0.0.1".parse()?, "10.0.0.7:80".parse()?)
//! };
//! assert_eq!(
//!     allow.explain(&facts).to_string(),
//!     "denied: allow policies apply and none of them matches\n\
//!      ns[shop]-policy[readers]-rule[0]: wants not path \"/cart/secret\", sees \"/cart/secret\""
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authorization;
mod compile;
mod condition;
mod policy;
mod problem;
mod rule;
mod trust;
mod value;

pub use authorization::Authorization;
pub use compile::{Compiled, Custom, Mesh, compile};
pub use policy::{AuthorizationPolicy, Condition, Operation, PolicyAction, Rule, Source, Values};
pub use problem::{Effect, Problem, Unusable};

#[cfg(test)]
mod tests;
