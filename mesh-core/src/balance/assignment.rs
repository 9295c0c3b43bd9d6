//! The endpoints of a cluster.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::cluster::DnsHost;
use super::tunnel::Tunnel;
use crate::name::{Locality, Text};
use crate::route::MetadataValue;

/// The endpoints of a cluster, by locality and priority (`envoy.config.endpoint.v3.ClusterLoadAssignment`). `A` is how an
/// endpoint is addressed: at last by an IP and a port, before by the name of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment<A = SocketAddr> {
    /// Name of the assignment: what is subscribed to.
    pub cluster: Text,
    /// The endpoints.
    pub localities: Vec<LocalityEndpoints<A>>,
    /// Shares of the requests that are dropped, each of what the ones before it left.
    pub drops: Vec<Drop>,
    /// How much of a level of priority may be unhealthy before others help: with 140, which is the default, 100/140 of it
    /// must be healthy to take all load.
    pub overprovisioning_factor: NonZeroU32,
    /// Whether the health of a level is the share of healthy weight rather than that of healthy endpoints. Default: no.
    pub weighted_priority_health: bool,
}

impl<A> Assignment<A> {
    /// An assignment with the defaults.
    #[must_use]
    pub fn new(cluster: impl Into<Text>, localities: Vec<LocalityEndpoints<A>>) -> Self {
        Self {
            cluster: cluster.into(),
            localities,
            drops: Vec::new(),
            overprovisioning_factor: DEFAULT_OVERPROVISIONING_FACTOR,
            weighted_priority_health: false,
        }
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint<A>> {
        self.localities.iter().flat_map(|locality| &locality.endpoints)
    }

    /// Whether this can be used.
    ///
    /// # Errors
    ///
    /// * a priority without endpoints' localities below one that has some,
    /// * a locality twice in one priority,
    /// * weights of a priority's localities, or of a locality's endpoints, that sum up beyond 32 bits.
    pub fn validate(&self) -> Result<(), InvalidAssignment> {
        let mut seen = HashSet::new();
        let mut weights = BTreeMap::<u32, u64>::new();
        for LocalityEndpoints { locality, priority, weight, endpoints } in &self.localities {
            if !seen.insert((locality, priority)) {
                return Err(InvalidAssignment::DuplicateLocality { locality: locality.clone(), priority: *priority });
            }
            *weights.entry(*priority).or_default() += weight.map_or(0, |weight| weight.get().into());
            let of_endpoints: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight.get())).sum();
            if of_endpoints > u32::MAX.into() {
                return Err(InvalidAssignment::WeightOfEndpoints { locality: locality.clone(), priority: *priority });
            }
        }
        for (expected, (priority, weight)) in (0..).zip(weights) {
            if expected != priority {
                return Err(InvalidAssignment::Gap { priority: expected });
            }
            if weight > u32::MAX.into() {
                return Err(InvalidAssignment::WeightOfLocalities { priority });
            }
        }
        Ok(())
    }
}

impl Assignment<DnsHost> {
    /// The endpoints that the hosts stand for. Each address that `lookup` answers for a host is an endpoint with the host's
    /// weight and, if it has no other, its name.
    pub fn resolve<I: IntoIterator<Item = SocketAddr>>(&self, mut lookup: impl FnMut(&DnsHost) -> I) -> Assignment {
        let mut expand = |endpoint: &Endpoint<DnsHost>| -> Vec<Endpoint> {
            let at = |address| endpoint.at(address);
            lookup(&endpoint.address).into_iter().map(at).collect()
        };
        let localities = self.localities.iter().map(|locality| LocalityEndpoints {
            locality: locality.locality.clone(),
            priority: locality.priority,
            weight: locality.weight,
            endpoints: locality.endpoints.iter().flat_map(&mut expand).collect(),
        });
        Assignment {
            cluster: self.cluster.clone(),
            localities: localities.collect(),
            drops: self.drops.clone(),
            overprovisioning_factor: self.overprovisioning_factor,
            weighted_priority_health: self.weighted_priority_health,
        }
    }
}

const DEFAULT_OVERPROVISIONING_FACTOR: NonZeroU32 = match NonZeroU32::new(140) {
    Some(factor) => factor,
    None => NonZeroU32::MIN,
};

/// The endpoints of a locality in a priority.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalityEndpoints<A = SocketAddr> {
    /// Where they are.
    pub locality: Locality,
    /// 0 is the first choice. There are no gaps.
    pub priority: u32,
    /// Share of the locality in its priority. Without, it gets nothing where the weights of localities count.
    pub weight: Option<NonZeroU32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint<A>>,
}

impl<A> LocalityEndpoints<A> {
    /// Endpoints of the first priority; the locality has weight 1.
    #[must_use]
    pub const fn new(locality: Locality, endpoints: Vec<Endpoint<A>>) -> Self {
        Self { locality, priority: 0, weight: Some(NonZeroU32::MIN), endpoints }
    }
}

/// One reachable address of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint<A = SocketAddr> {
    /// Where it is.
    pub address: A,
    /// Where it is as well, to be tried after `address` (Happy Eyeballs).
    pub additional_addresses: Vec<SocketAddr>,
    /// Its host name, if it is known by one.
    pub hostname: Text,
    /// Its share in its locality. Default 1.
    pub weight: NonZeroU32,
    /// What the control plane says of its health.
    pub health: Health,
    /// What stands for it on a hash ring, instead of its address (`envoy.lb`, `hash_key`).
    pub hash_key: Option<Text>,
    /// By what it is in subsets of the cluster (`envoy.lb`, without `hash_key`).
    pub metadata: BTreeMap<Text, EndpointValue>,
    /// What chooses among the cluster's settings of transport security (`envoy.transport_socket_match`).
    pub transport_labels: BTreeMap<Text, Text>,
    /// The tunnel through which it is reached; `None`: it is connected to.
    pub tunnel: Option<Tunnel>,
    /// What it is to telemetry: name, namespace, canonical name, revision and cluster of its workload, with semicolons
    /// between them (`istio`, `workload`); may be empty.
    pub workload: Text,
    /// How it is probed differently from the others.
    pub probe: EndpointProbe,
}

impl<A> Endpoint<A> {
    /// A healthy endpoint of weight 1.
    #[must_use]
    pub fn new(address: A) -> Self {
        Self {
            address,
            additional_addresses: Vec::new(),
            hostname: Text::default(),
            weight: NonZeroU32::MIN,
            health: Health::default(),
            hash_key: None,
            metadata: BTreeMap::new(),
            transport_labels: BTreeMap::new(),
            tunnel: None,
            workload: Text::default(),
            probe: EndpointProbe::default(),
        }
    }
}

impl<A> Endpoint<A> {
    /// Whether it is marked as a canary, which those who are tried again may be kept from (`envoy.lb`, `canary`).
    #[must_use]
    pub fn is_canary(&self) -> bool {
        matches!(self.metadata.get("canary"), Some(EndpointValue::One(MetadataValue::Bool(true))))
    }
}

impl Endpoint<DnsHost> {
    fn at(&self, address: SocketAddr) -> Endpoint {
        let hostname = if self.hostname.is_empty() { &self.address.name } else { &self.hostname };
        Endpoint {
            address,
            additional_addresses: self.additional_addresses.clone(),
            hostname: hostname.clone(),
            weight: self.weight,
            health: self.health,
            hash_key: self.hash_key.clone(),
            metadata: self.metadata.clone(),
            transport_labels: self.transport_labels.clone(),
            tunnel: self.tunnel.clone(),
            workload: self.workload.clone(),
            probe: self.probe.clone(),
        }
    }
}

/// A value in the metadata of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointValue {
    /// One value.
    One(MetadataValue),
    /// Several, each of which counts if [`SubsetSettings::list_as_any`](super::SubsetSettings::list_as_any) says so.
    List(Vec<MetadataValue>),
}

/// What the control plane says of an endpoint's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing: as healthy.
    #[default]
    Unknown,
    /// Takes traffic.
    Healthy,
    /// Takes traffic when there are not enough healthy ones.
    Degraded,
    /// Takes none.
    Unhealthy,
    /// On its way out: as unhealthy.
    Draining,
    /// Its probes were not answered in time: as unhealthy.
    Timeout,
}

/// How an endpoint is probed differently from the others of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointProbe {
    /// Address that is probed instead.
    pub address: Option<SocketAddr>,
    /// Port that is probed instead.
    pub port: Option<u16>,
    /// Authority of probes, if there is one.
    pub hostname: Text,
    /// Whether it is not probed at all, and counts as passing.
    pub disabled: bool,
}

/// A share of the requests that is dropped on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// What the share is counted under.
    pub category: Text,
    /// The share.
    pub share: PerMillion,
}

/// A share in millionths, from 0 to 1,000,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerMillion(u32);

impl PerMillion {
    /// All.
    pub const ALL: Self = Self(1_000_000);

    /// A share; what is above [`ALL`](Self::ALL) is all.
    #[must_use]
    pub fn new(millionths: u32) -> Self {
        Self(millionths).min(Self::ALL)
    }

    /// The millionths.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// An assignment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAssignment {
    /// Priorities must follow each other.
    #[error("priority {priority} has no localities, and one after it has")]
    Gap {
        /// The priority that is missing.
        priority: u32,
    },
    /// A locality stands once in a priority.
    #[error("locality `{locality}` stands twice in priority {priority}")]
    DuplicateLocality {
        /// The locality.
        locality: Locality,
        /// The priority.
        priority: u32,
    },
    /// The weights of a priority's localities are too great.
    #[error("the weights of the localities of priority {priority} sum up to more than 4294967295")]
    WeightOfLocalities {
        /// The priority.
        priority: u32,
    },
    /// The weights of a locality's endpoints are too great.
    #[error(
        "the weights of the endpoints of locality `{locality}` in priority {priority} sum up to more than 4294967295"
    )]
    WeightOfEndpoints {
        /// The locality.
        locality: Locality,
        /// The priority.
        priority: u32,
    },
}
