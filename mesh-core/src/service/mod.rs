//! Services: what is addressed, as `istio.workload.Service` describes it.

mod balancing;
mod port;
mod reference;

use ipnet::IpNet;

use crate::name::{NamespacedHostname, Network, SpiffeId, Text};

pub use balancing::{HealthPolicy, IpFamilies, LoadBalancing, Mode, Scope, Visibility};
pub use port::{AppProtocol, PortMap, ServicePort};
pub use reference::{GatewayAddress, GatewayDestination, HBONE_PORT};

/// What clients address: a host name, virtual addresses and ports, backed by workloads.
///
/// The endpoints are not listed here; a workload says which services it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Namespace and host name: the primary key.
    pub key: NamespacedHostname,
    /// Name of the object it was read from.
    pub name: Text,
    /// Virtual addresses (VIPs); a prefix shorter than a host covers every address in it. Empty for headless services.
    pub vips: Vec<(Network, IpNet)>,
    /// Ports and how they map to the endpoints'.
    pub ports: PortMap,
    /// Identities accepted from endpoints beside each endpoint's own.
    pub subject_alt_names: Vec<SpiffeId>,
    /// Waypoint for traffic addressed to this service.
    pub waypoint: Option<GatewayAddress>,
    /// Waypoints with the share of connections each takes; replaces [`Service::waypoint`] when any share is positive.
    pub weighted_waypoints: Vec<(GatewayAddress, u32)>,
    /// How endpoints are preferred.
    pub load_balancing: LoadBalancing,
    /// Address families of the endpoints that clients may be given.
    pub ip_families: IpFamilies,
    /// Whether this is the service meant by its host name when no namespace decides.
    pub canonical: bool,
    /// Whether ingress gateways pass through the waypoint.
    pub ingress_use_waypoint: bool,
    /// Who may see the service.
    pub visibility: Visibility,
}

impl Service {
    /// A public service without addresses and ports, balanced over its healthy endpoints.
    pub fn new(key: NamespacedHostname, name: impl Into<Text>) -> Self {
        Self {
            key,
            name: name.into(),
            vips: Vec::new(),
            ports: PortMap::default(),
            subject_alt_names: Vec::new(),
            waypoint: None,
            weighted_waypoints: Vec::new(),
            load_balancing: LoadBalancing::default(),
            ip_families: IpFamilies::Automatic,
            canonical: false,
            ingress_use_waypoint: false,
            visibility: Visibility::Public,
        }
    }

    /// Whether a client of this namespace may use the service.
    #[must_use]
    pub fn is_visible_to(&self, namespace: &str) -> bool {
        match self.visibility {
            Visibility::Public => true,
            Visibility::Namespace => self.key.namespace == *namespace,
        }
    }
}
