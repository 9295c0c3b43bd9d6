use std::time::Duration;

use crate::name::Text;

/// Bytes are passed on to an endpoint of a cluster. Envoy's `TcpProxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProxy {
    /// Where to.
    pub target: TcpTarget,
    /// How long nothing may be sent in either direction; `None` for no limit. Default: one hour.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may last; `None` for no limit.
    pub max_duration: Option<Duration>,
    /// How many endpoints are tried; at least one.
    pub max_connect_attempts: u32,
    /// Whether the hash for the choice of an endpoint is made of the client's address; otherwise it is random.
    pub hash_source_ip: bool,
}

impl TcpProxy {
    /// To a cluster, with the defaults.
    #[must_use]
    pub fn to(cluster: &str) -> Self {
        Self {
            target: TcpTarget::Cluster(cluster.into()),
            idle_timeout: Some(Duration::from_secs(60 * 60)),
            max_duration: None,
            max_connect_attempts: 1,
            hash_source_ip: false,
        }
    }
}

/// Where bytes are passed on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpTarget {
    /// To this cluster.
    Cluster(Text),
    /// To one of several, at random by weight; the sum of the weights is at least one and fits 32 bits.
    Weighted(Vec<WeightedTarget>),
}

/// A cluster and its share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WeightedTarget {
    /// The cluster.
    pub cluster: Text,
    /// Its share, at least one.
    pub weight: u32,
}

impl TcpTarget {
    /// The cluster for a connection, chosen by a random number.
    #[must_use]
    pub fn choose(&self, random: u64) -> Option<&Text> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Weighted(targets) => {
                let sum: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
                let mut at = random.checked_rem(sum)?;
                let chosen = targets.iter().find(|target| {
                    let weight = u64::from(target.weight);
                    let here = at < weight;
                    at = at.saturating_sub(weight);
                    here
                });
                chosen.map(|target| &target.cluster)
            }
        }
    }
}
