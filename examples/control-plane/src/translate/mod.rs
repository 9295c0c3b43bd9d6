//! From the world to what node proxies, waypoints and clients without a proxy receive. Pure: equal worlds give equal results, however one came to them.
//!
//! `service`, `policy`, `workload`, `waypoint` and `proxyless` say what single objects come to; they read `facts`. `engine` has them do it
//! for a whole world ([`translate`]), and after a change for what it is about.

pub(crate) mod binding;
pub(crate) mod clusterset;
pub(crate) mod engine;
mod facts;
pub mod gateway;
mod peer;
mod policy;
pub mod proxyless;
mod scope;
mod service;
mod slice;
pub mod waypoint;
mod workload;

use std::collections::BTreeMap;

use mesh_core::name::TrustDomain;

use crate::attach::Controller;

pub use self::engine::{Translation, Waypoints, translate};
pub(crate) use self::facts::{Vips, is_automatic};
pub use self::peer::STRICT_POLICY;
pub use self::policy::translate as policy;
pub(crate) use self::scope::GLOBAL;
pub use self::scope::{ServiceScope, service_scope};
pub(crate) use self::service::{DISTRIBUTION, is_tcp, key as service_key, protocol};

/// Names of the place that the world describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Trust domain of its workloads.
    pub trust_domain: TrustDomain,
    /// Id of the cluster.
    pub cluster_id: String,
    /// Network of its addresses.
    pub network: String,
    /// Namespace whose policies apply everywhere.
    pub root_namespace: String,
    /// Domain of Kubernetes services.
    pub cluster_domain: String,
    /// Who is the controller of its Gateways: those of its classes are served.
    pub controller: Controller,
}

impl Place {
    /// A cluster of the default network, with the names that Istio has where nothing is said.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, cluster_id: impl Into<String>) -> Self {
        Self {
            trust_domain,
            cluster_id: cluster_id.into(),
            network: String::new(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            controller: Controller::default(),
        }
    }
}

/// Whether labels satisfy a selector; an empty selector selects nothing here.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
