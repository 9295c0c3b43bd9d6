//! All that a proxy is told: listeners with their routes, clusters with their endpoints, as one whole.
//!
//! An [`Assembly`] makes a [`Config`] of [`Resources`], each time that one of them changes. What cannot serve yet (a listener
//! whose routes are still to come, a cluster whose endpoints are) does not take the place of what serves: Envoy calls it
//! warming.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints};
//! use mesh_core::config::{Assembly, Resources};
//! use mesh_core::name::Locality;
//!
//! let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new("10.0.0.1:80".parse()?)]);
//! let mut resources = Resources::default();
//! resources.clusters.insert("shop".into(), Arc::new(Cluster::new("shop", Discovery::Eds { service_name: None })));
//! resources.assignments.insert("shop".into(), Arc::new(Assignment::new("shop", vec![endpoints])));
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example")]
//! let config = Assembly::default().assemble(&resources, Instant::now());
//! let shop = config.clusters.get("shop").ok_or("no shop")?;
//! assert_eq!(shop.balancers().count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assembly;
mod original;
mod place;
mod upstream;

pub use assembly::{Assembly, Config, Resources, Served};
pub use original::OriginalDestination;
pub use place::Whereabouts;
pub use upstream::{Clusters, Upstream};

#[cfg(test)]
mod tests;
