//! From the world to what node proxies receive. Pure: equal worlds give equal results.

pub(crate) mod binding;
mod policy;
mod service;
pub mod waypoint;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::authz::Policy;
use mesh_core::name::{SpiffeId, TrustDomain};
use mesh_core::service::Service;
use mesh_core::workload::Workload;

use crate::world::World;

pub use policy::{STRICT_POLICY, translate as policy};

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
}

/// What node proxies receive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// Workloads, in the order of their uids.
    pub workloads: Vec<Workload>,
    /// Services, in the order of their keys.
    pub services: Vec<Service>,
    /// Policies, in the order of their names.
    pub policies: Vec<Policy>,
}

/// Translates a world.
#[must_use]
pub fn translate(world: &World, place: &Place) -> Translation {
    let services = service::all(world, place);
    let (policies, attachments) = policy::all(world, place);
    let mut workloads = workload::all(world, place, &attachments);
    workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
    // Two sources of one uid are one workload; the first in order of names counts.
    workloads.dedup_by(|b, a| a.uid == b.uid);
    Translation { workloads, services, policies }
}

impl Translation {
    /// The identities of the workloads on each node.
    #[must_use]
    pub fn identities_by_node(&self) -> BTreeMap<String, BTreeSet<SpiffeId>> {
        let mut by_node: BTreeMap<String, BTreeSet<SpiffeId>> = BTreeMap::new();
        for workload in &self.workloads {
            by_node.entry(workload.node.to_string()).or_default().insert(workload.spiffe_id());
        }
        by_node
    }
}

/// Whether labels satisfy a selector; an empty selector selects nothing here.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
