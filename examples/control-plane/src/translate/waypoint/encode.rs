//! Resources as they are served.

use mesh_core::balance::Cluster;
use mesh_core::listener::Listener;
use mesh_core::name::TrustDomain;
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};

use super::Resources;
use super::envoy::{self, Named};

/// Which proxy resources are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// One of ours, which ends tunnels and begins them by itself.
    Mesh,
    /// A real Envoy, which needs listeners for that.
    Envoy,
}

/// Clusters, endpoints and listeners, each by its type URL and name.
pub type ByType<T> = [(&'static str, Vec<(String, T)>); 3];

impl Resources {
    /// The messages by type, with their names. The trust domain is that of peers that an Envoy accepts.
    #[must_use]
    pub fn encode(&self, flavour: Flavour, trust_domain: &TrustDomain) -> ByType<Vec<u8>> {
        let Self { listeners, clusters, assignments } = self;
        let (mut around_clusters, mut around_listeners) = flavour.around(trust_domain);
        let clusters = clusters.iter().map(|cluster| (cluster.name.to_string(), flavour.cluster(cluster)));
        let listeners = listeners.iter().map(|listener| (listener.name.to_string(), flavour.listener(listener)));
        let assignments = assignments.iter().map(|one| (one.cluster.to_string(), encode_assignment(one)));
        around_clusters.splice(0..0, clusters);
        around_listeners.splice(0..0, listeners);
        let assignments = assignments.collect();
        [(CLUSTER_TYPE, around_clusters), (ENDPOINT_TYPE, assignments), (LISTENER_TYPE, around_listeners)]
    }
}

impl Flavour {
    /// A cluster, as such a proxy understands it.
    pub(crate) fn cluster(self, cluster: &Cluster) -> Vec<u8> {
        let bytes = encode_cluster(cluster);
        if self == Self::Envoy { envoy::cluster(bytes) } else { bytes }
    }

    /// A listener, as such a proxy understands it.
    pub(crate) fn listener(self, listener: &Listener) -> Vec<u8> {
        let bytes = encode_listener(listener);
        if self == Self::Envoy { envoy::listener(bytes) } else { bytes }
    }

    /// The clusters and listeners that such a proxy needs whatever it is a waypoint for, with their names.
    pub(crate) fn around(self, trust_domain: &TrustDomain) -> (Named, Named) {
        if self == Self::Envoy { envoy::around(trust_domain) } else { (Vec::new(), Vec::new()) }
    }

    /// The clusters and listeners that such a proxy needs as any Gateway where traffic enters, with their names.
    pub(crate) fn beside_gateway(self, trust_domain: &TrustDomain) -> (Named, Named) {
        if self == Self::Envoy { envoy::beside_gateway(trust_domain) } else { (Vec::new(), Vec::new()) }
    }
}
