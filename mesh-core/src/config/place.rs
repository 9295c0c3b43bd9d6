use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{Clusters, Upstream};
use crate::balance::{Assignment, Balancer, Endpoint, LocalCluster, LocalityEndpoints};
use crate::name::{Locality, Text};

/// Where a proxy is, and who does the same work beside it. Envoy's `node.locality` and `local_cluster_name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where it is.
    pub locality: Locality,
    /// The cluster whose endpoints are the proxy itself and those beside it. Empty, or as long as it is not known: the proxy
    /// counts as alone, and requests stay in its zone only where a cluster forces them to.
    pub cluster: Text,
}

/// Whereabouts, as balancers were told of them last.
#[derive(Debug)]
pub(super) struct Place {
    cluster: Text,
    alone: Arc<Assignment>,
    told: LocalCluster,
}

impl Place {
    pub(super) fn new(whereabouts: Whereabouts) -> Self {
        let Whereabouts { locality, cluster } = whereabouts;
        // How many there are where is all that counts of them.
        let itself = Endpoint::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let there = LocalityEndpoints::new(locality.clone(), vec![itself]);
        let alone = Arc::new(Assignment::new(cluster.clone(), vec![there]));
        Self { cluster, alone: Arc::clone(&alone), told: LocalCluster { locality, assignment: alone } }
    }

    /// Tells balancers that do not know.
    pub(super) fn tell(&mut self, clusters: &Clusters, before: &Clusters) {
        let own = match clusters.get(&self.cluster).map(|own| &**own) {
            Some(Upstream::Endpoints { assignment, .. }) => assignment,
            _ => &self.alone,
        };
        let changed = !Arc::ptr_eq(own, &self.told.assignment);
        self.told.assignment = Arc::clone(own);
        for (name, upstream) in clusters {
            let Some(balancer) = balancer(upstream) else { continue };
            let knows = before.get(name).and_then(|before| self::balancer(before)).is_some_and(|it| it.is(balancer));
            if changed || !knows {
                balancer.set_local_cluster(Some(&self.told));
            }
        }
    }
}

fn balancer(upstream: &Upstream) -> Option<&Balancer> {
    match upstream {
        Upstream::Endpoints { balancer, .. } => Some(balancer),
        Upstream::Aggregate(_) | Upstream::OriginalDestination(_) => None,
    }
}
