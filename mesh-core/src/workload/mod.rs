//! Workloads: the running instances of the mesh, as `istio.workload.Workload` describes them.

mod health;
mod tunnel;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::name::{
    Error, Hostname, Locality, NamespacedHostname, NamespacedName, Network, ServiceAccount, SpiffeId, Text,
    TrustDomain, Uid,
};
use crate::service::{GatewayAddress, PortMap};

pub use health::Health;
pub use tunnel::{ApplicationProtocol, ApplicationTunnel, NetworkMode, TunnelProtocol};

/// A running instance: a pod, a virtual machine, an external endpoint.
///
/// Made by [`Workload::new`] with the defaults that Istio's workload discovery gives to absent fields, then filled
/// through the public fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// The primary key, opaque.
    pub uid: Uid,
    /// Name of the instance, such as that of a pod.
    pub name: Text,
    /// Namespace: the scope of policies, and part of the identity.
    pub namespace: Text,
    /// Addresses in [`Workload::network`]; may be empty for an endpoint known by host name or behind a gateway.
    pub addresses: Vec<IpAddr>,
    /// Host name to be resolved by whoever connects, when there is no address.
    pub hostname: Option<Hostname>,
    /// The network in which the addresses are meaningful.
    pub network: Network,
    /// How the workload is reached.
    pub tunnel: TunnelProtocol,
    /// Who it is. Peers must present exactly this identity.
    pub identity: ServiceAccount,
    /// Waypoint for traffic addressed to the workload itself (not to a service).
    pub waypoint: Option<GatewayAddress>,
    /// Gateway through which other networks reach it. Ignored inside its own network.
    pub network_gateway: Option<GatewayAddress>,
    /// Name of the node it runs on.
    pub node: Text,
    /// Canonical service name, for telemetry.
    pub canonical_name: Text,
    /// Canonical revision, for telemetry.
    pub canonical_revision: Text,
    /// Kind of controller that made it.
    pub kind: WorkloadKind,
    /// Name of the controller, for telemetry.
    pub workload_name: Text,
    /// Whether it speaks HBONE itself instead of being captured by a node proxy.
    pub native_tunnel: bool,
    /// Names of the policies that select this workload. Namespace-wide and mesh-wide policies apply without being named.
    pub policies: Vec<NamespacedName>,
    /// Whether it takes traffic.
    pub health: Health,
    /// Id of the Kubernetes cluster it was read from.
    pub cluster_id: Text,
    /// Where it runs.
    pub locality: Locality,
    /// Whether its address is that of its host, and so names no workload.
    pub network_mode: NetworkMode,
    /// How streams are handed to the application after a tunnel ended.
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Share of traffic among the endpoints of a service; 0 takes none.
    pub capacity: u32,
    /// The services it is an endpoint of, each with its own port mapping.
    pub services: BTreeMap<NamespacedHostname, PortMap>,
}

impl Workload {
    /// A healthy workload with the standard defaults: HBONE off, capacity 1, service account `default` of
    /// `trust_domain`, cluster `Kubernetes`.
    ///
    /// # Errors
    /// [`Error::Segment`] when the namespace cannot stand in a SPIFFE ID.
    pub fn new(uid: impl Into<Uid>, trust_domain: TrustDomain, namespace: &str, name: &str) -> Result<Self, Error> {
        Ok(Self {
            uid: uid.into(),
            name: name.into(),
            namespace: namespace.into(),
            addresses: Vec::new(),
            hostname: None,
            network: Network::default(),
            tunnel: TunnelProtocol::None,
            identity: ServiceAccount::new(trust_domain, namespace, "default")?,
            waypoint: None,
            network_gateway: None,
            node: Text::default(),
            canonical_name: Text::default(),
            canonical_revision: Text::default(),
            kind: WorkloadKind::Deployment,
            workload_name: Text::default(),
            native_tunnel: false,
            policies: Vec::new(),
            health: Health::Healthy,
            cluster_id: "Kubernetes".into(),
            locality: Locality::default(),
            network_mode: NetworkMode::Standard,
            application_tunnel: None,
            capacity: 1,
            services: BTreeMap::new(),
        })
    }

    /// The SPIFFE ID that a peer must present to be this workload.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        self.identity.to_spiffe_id()
    }
}

/// The kind of controller behind a workload. For telemetry and the `baggage` header only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkloadKind {
    /// A deployment or anything like it.
    #[default]
    Deployment,
    /// A cron job.
    CronJob,
    /// A bare pod.
    Pod,
    /// A job.
    Job,
}

impl WorkloadKind {
    /// The word used in telemetry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::CronJob => "cronjob",
            Self::Pod => "pod",
            Self::Job => "job",
        }
    }
}
