//! Resources as they are served.

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::Listener;
use mesh_core::name::TrustDomain;
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::server::Entry;

use super::{Resources, envoy};

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
        let cluster = |cluster: &Cluster| (cluster.name.to_string(), encode_cluster(cluster));
        let listener = |listener: &Listener| (listener.name.to_string(), encode_listener(listener));
        let assignment = |endpoints: &Assignment| (endpoints.cluster.to_string(), encode_assignment(endpoints));
        let mut clusters: Vec<_> = clusters.iter().map(cluster).collect();
        let mut listeners: Vec<_> = listeners.iter().map(listener).collect();
        if flavour == Flavour::Envoy {
            let (more_listeners, more_clusters) = envoy::around(&mut listeners, &mut clusters, trust_domain);
            listeners.extend(more_listeners);
            clusters.extend(more_clusters);
        }
        let assignments = assignments.iter().map(assignment).collect();
        [(CLUSTER_TYPE, clusters), (ENDPOINT_TYPE, assignments), (LISTENER_TYPE, listeners)]
    }

    /// The same, as they are served.
    pub(crate) fn entries(&self, flavour: Flavour, trust_domain: &TrustDomain) -> ByType<Entry> {
        let entry = |(name, bytes): (String, Vec<u8>)| (name, Entry::new(bytes, Vec::new()));
        self.encode(flavour, trust_domain).map(|(url, all)| (url, all.into_iter().map(entry).collect()))
    }
}
