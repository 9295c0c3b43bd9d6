//! Envoy's role based access control: named policies of conditions, for connections and for requests.
//!
//! A policy matches when any of its permissions and any of its principals do. Rules that allow let pass what some policy
//! matches; rules that deny let pass what none does; rules that log let everything pass. Policies are asked in the order of
//! their names, and the first that matches is the one that a [`Verdict`] names. One evaluation serves both places: on a
//! connection there is no request, and conditions on requests do not hold.
//!
//! ```
//! use mesh_core::authz::rbac::{Action, Facts, Peer, Permission, Policy, Principal, Rbac};
//! use mesh_core::string_match::Pattern;
//!
//! let web = Pattern::exact("spiffe://cluster.local/ns/shop/sa/web");
//! let policy = Policy {
//!     permissions: vec![Permission::DestinationPort(5432)],
//!     principals: vec![Principal::Authenticated(Some(web))],
//! };
//! let rbac = Rbac { action: Action::Allow, policies: [("web".into(), policy)].into() };
//!
//! let facts = Facts::new("10.0.0.1".parse()?, "10.0.0.7:5432".parse()?);
//! assert_eq!(rbac.evaluate(&facts).to_string(), "denied: allow policies apply and none of them matches");
//!
//! let uris = ["spiffe://cluster.local/ns/shop/sa/web".into()];
//! let peer = Peer { uris: &uris, ..Peer::default() };
//! let facts = Facts { peer: Some(peer), ..facts };
//! assert_eq!(rbac.evaluate(&facts).to_string(), "allowed: an allow policy matches (web)");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod display;
mod evaluate;
mod explain;
mod facts;
mod index;
mod policy;
mod tree;
mod verdict;

pub use explain::{Considered, Explanation, Outcome};
pub use facts::{Facts, Peer};
pub use index::{FilterRules, Rules};
pub use policy::{Action, PEER_PRINCIPAL, Permission, Policy, Principal, Rbac, RbacFilter};
pub(in crate::authz) use tree::Tree;
pub use verdict::{Denial, Permit, Verdict};

#[cfg(test)]
mod tests;
