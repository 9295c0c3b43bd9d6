//! All that a proxy is told: listeners with their routes, clusters with their endpoints, as one whole that follows the control
//! plane.
//!
//! [`Keeper`] watches every listener and every cluster, and the routes and endpoints that these name, and publishes a
//! [`Config`]. What cannot serve yet (a listener whose routes are still to come, a cluster whose endpoints are) does not take
//! the place of what serves: Envoy calls it warming. [`Assembly`] is the same without a control plane: the resources are
//! handed in.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints};
//! use mesh_core::name::Locality;
//! use mesh_xds::proxy::{Assembly, Resources};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new("10.0.0.1:80".parse()?)]);
//! let mut resources = Resources::default();
//! resources.clusters.insert("shop".into(), Arc::new(Cluster::new("shop", Discovery::Eds { service_name: None })));
//! resources.assignments.insert("shop".into(), Arc::new(Assignment::new("shop", vec![endpoints])));
//!
//! let config = Assembly::default().assemble(&resources);
//! let shop = config.clusters.get("shop").ok_or("no shop")?;
//! assert_eq!(shop.balancers().count(), 1);
//! # Ok(())
//! # }
//! ```

mod assembly;
mod keeper;
mod upstream;

pub use assembly::{Assembly, Config, Resources, Served};
pub use keeper::Keeper;
pub use upstream::{Clusters, Upstream};

#[cfg(test)]
mod tests;
