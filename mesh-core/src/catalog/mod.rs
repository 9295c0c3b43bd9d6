//! The catalog: an immutable index of all workloads and services, and the application of a delta to it.
//!
//! A [`Catalog`] is cheap to clone. [`Catalog::apply`] makes the next one out of a [`Delta`] and shares with it
//! everything that did not change: one changed workload among 100,000 costs a handful of tree nodes. Readers keep the
//! catalog that they began with.
//!
//! ```
//! use mesh_core::catalog::{Catalog, Delta};
//! use mesh_core::name::Network;
//! use mesh_core::workload::Workload;
//!
//! let mut reviews = Workload::new("c1//Pod/shop/reviews-1", "cluster.local".parse()?, "shop", "reviews-1")?;
//! reviews.addresses = vec!["10.0.0.7".parse()?];
//! let mut delta = Delta::new();
//! delta.upsert_workload(reviews);
//! let catalog = Catalog::default().apply(delta);
//!
//! let found = catalog.workload_at(&Network::default(), "10.0.0.7".parse()?);
//! assert_eq!(found.map(|workload| workload.name.as_str()), Some("reviews-1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod delta;
mod index;

use std::net::IpAddr;
use std::sync::Arc;

use crate::name::{Hostname, NamespacedHostname, Network, Uid};
use crate::service::Service;
use crate::workload::Workload;

pub use delta::Delta;
use index::Index;

/// All workloads and services that are known, indexed. Immutable; see [`Catalog::apply`].
#[derive(Clone, Default)]
pub struct Catalog {
    index: Index,
}

impl Catalog {
    /// The workload with this uid.
    #[must_use]
    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.index.workloads.get(uid)
    }

    /// The workload at an address of a network. Host-network workloads are not found by address.
    ///
    /// Several records may claim one address, as when a `WorkloadEntry` repeats a pod. Then the one that speaks HBONE
    /// wins, after that a pod, after that the lowest uid: the answer never depends on the order of arrival.
    #[must_use]
    pub fn workload_at(&self, network: &Network, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.index.by_address.get(&(network.clone(), ip))?.first()
    }

    /// The service with this key.
    #[must_use]
    pub fn service(&self, key: &NamespacedHostname) -> Option<&Arc<Service>> {
        self.index.services.get(key)
    }

    /// The services that have exactly this virtual address, ordered by key.
    pub fn services_at(&self, network: &Network, ip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        self.index.by_vip.get(&(network.clone(), ip)).into_iter().flatten()
    }

    /// The services with a virtual address range that covers this address, longest prefix first.
    pub fn services_covering(&self, network: &Network, ip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        self.index.covering(network, ip)
    }

    /// The services with this host name, of all namespaces, ordered by key.
    pub fn services_named(&self, hostname: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.index.by_hostname.get(hostname).into_iter().flatten()
    }

    /// The endpoints of a service, ordered by uid, whatever their health. An endpoint may be known before its service.
    pub fn endpoints(&self, key: &NamespacedHostname) -> impl Iterator<Item = &Arc<Workload>> {
        self.index.endpoints.get(key).into_iter().flat_map(|endpoints| endpoints.values())
    }

    /// All workloads, in no particular order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.index.workloads.values()
    }

    /// All services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.index.services.values()
    }

    /// The catalog after a delta. The delta is applied whole; `self` stays as it is for those who still read it.
    #[must_use]
    pub fn apply(&self, delta: Delta) -> Self {
        let mut index = if delta.is_replacement() { Index::default() } else { self.index.clone() };
        for operation in delta.into_operations() {
            match operation {
                delta::Operation::Workload(workload) => index.insert_workload(workload),
                delta::Operation::Service(service) => index.insert_service(service),
                delta::Operation::Remove(name) => index.remove(&name),
            }
        }
        Self { index }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("workloads", &self.index.workloads.len())
            .field("services", &self.index.services.len())
            .finish()
    }
}

/// What a resource name refers to.
fn parse_service_key(name: &str) -> Option<NamespacedHostname> {
    // A uid may contain slashes as well; a host name cannot, so nothing is mistaken for a service.
    let (namespace, hostname) = name.split_once('/')?;
    if hostname.contains('/') || namespace.is_empty() {
        return None;
    }
    Some(NamespacedHostname::new(namespace, Hostname::parse(hostname).ok()?))
}

/// Key by which the workloads of one address are ordered; the first is the one found.
fn claim(workload: &Workload) -> (bool, bool, &Uid) {
    let tunnelled = workload.tunnel == crate::workload::TunnelProtocol::Hbone;
    // Both spellings of a pod's kind are in use: `cluster//Pod/…` and `cluster//v1/Pod/…`.
    let pod = workload.uid.as_str().contains("/Pod/");
    (!tunnelled, !pod, &workload.uid)
}

#[cfg(test)]
mod tests;
