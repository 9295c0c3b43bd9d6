//! Resources as they are served.

use mesh_core::name::TrustDomain;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::tls::encode_secret;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};

use super::Resources;
use crate::translate::waypoint::Flavour;

/// Clusters, endpoints, listeners, routes and secrets, each by its type URL and name.
pub type ByType = [(&'static str, Vec<(String, Vec<u8>)>); 5];

impl Resources {
    /// The messages by type URL, with their names. The trust domain is that of peers that an Envoy accepts.
    #[must_use]
    pub fn encode(&self, flavour: Flavour, trust_domain: &TrustDomain) -> ByType {
        let Self { listeners, routes, clusters, assignments, secrets } = self;
        let (mut around_clusters, mut around_listeners) = flavour.beside_gateway(trust_domain);
        let clusters = clusters.iter().map(|cluster| (cluster.name.to_string(), flavour.cluster(cluster)));
        let listeners = listeners.iter().map(|listener| (listener.name.to_string(), flavour.listener(listener)));
        around_clusters.splice(0..0, clusters);
        around_listeners.splice(0..0, listeners);
        let assignments = assignments.iter().map(|one| (one.cluster.to_string(), encode_assignment(one)));
        let routes = routes.iter().map(|table| (table.config().name.to_string(), encode_route_table(table)));
        let secrets = secrets.iter().map(|secret| (secret.name.to_string(), encode_secret(secret)));
        [
            (CLUSTER_TYPE, around_clusters),
            (ENDPOINT_TYPE, assignments.collect()),
            (LISTENER_TYPE, around_listeners),
            (ROUTE_TYPE, routes.collect()),
            (SECRET_TYPE, secrets.collect()),
        ]
    }
}
