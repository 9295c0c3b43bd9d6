//! Names: of hosts, namespaced things, networks, localities, workloads and identities.
//!
//! Every name is a small immutable value that is cheap to clone (one reference count), ordered, and hashable.
//!
//! ```
//! use mesh_core::name::{Hostname, ServiceAccount};
//!
//! let host = Hostname::parse("Reviews.shop.svc.cluster.local.")?;
//! assert_eq!(host.as_str(), "reviews.shop.svc.cluster.local");
//!
//! let account = ServiceAccount::new("cluster.local".parse()?, "shop", "reviews")?;
//! assert_eq!(account.to_spiffe_id().to_string(), "spiffe://cluster.local/ns/shop/sa/reviews");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod hostname;
mod locality;
mod namespaced;
mod spiffe;
mod text;

pub use error::Error;
pub use hostname::Hostname;
pub use locality::Locality;
pub use namespaced::{NamespacedHostname, NamespacedName};
pub(crate) use spiffe::service_account_path as spiffe_service_account;
pub use spiffe::{ServiceAccount, SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
pub use text::{Network, Text, Uid};

#[cfg(test)]
mod tests;
