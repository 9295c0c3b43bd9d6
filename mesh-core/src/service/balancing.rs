/// How the endpoints of a service are preferred at L4.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LoadBalancing {
    /// What endpoint and client should share, most important first.
    pub preference: Vec<Scope>,
    /// What the preference means.
    pub mode: Mode,
    /// Which endpoints take part.
    pub health_policy: HealthPolicy,
}

/// Something that a client and an endpoint may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The region.
    Region,
    /// The zone (and region).
    Zone,
    /// The sub-zone (and zone and region).
    Subzone,
    /// The node.
    Node,
    /// The Kubernetes cluster.
    Cluster,
    /// The network.
    Network,
}

/// What a preference means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// No preference: all endpoints are equal.
    #[default]
    Any,
    /// Only endpoints that share everything listed.
    Strict,
    /// The endpoints that share the most, counted from the front of the list.
    Failover,
    /// No endpoint is chosen: traffic goes to the address it was meant for.
    Passthrough,
}

/// Which endpoints take part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthPolicy {
    /// Only healthy ones.
    #[default]
    OnlyHealthy,
    /// All.
    AllowAll,
}

/// Address families that clients of a service may be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IpFamilies {
    /// Whatever the endpoint has.
    #[default]
    Automatic,
    /// IPv4 only.
    Ipv4Only,
    /// IPv6 only.
    Ipv6Only,
    /// Both.
    Dual,
}

/// Who may see a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Clients of the service's own namespace.
    Namespace,
}
