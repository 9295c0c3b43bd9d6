use std::fmt;

use super::Destination;

/// Why a way was taken, or why there is none. The same words in logs, metrics and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// An endpoint of the service that was addressed.
    ServiceEndpoint,
    /// The workload that was addressed.
    WorkloadAddress,
    /// The waypoint of the service that was addressed.
    ServiceWaypoint,
    /// The waypoint of the workload that was addressed.
    WorkloadWaypoint,
    /// The destination itself, because its waypoint is not ready and the settings say so.
    PastWaypoint,
    /// The gateway of the network in which the endpoint or waypoint lives.
    NetworkGateway,
    /// The service asks for its traffic to go where it was meant to go.
    PassthroughService,
    /// Nobody knows the destination; it lies outside the mesh.
    UnknownDestination,
    /// Refused: the service has no such port.
    PortNotDefined,
    /// Refused: no endpoint of the service may take the connection.
    NoHealthyUpstream,
    /// Refused: the waypoint is not known, or no endpoint of it is.
    UnknownWaypoint,
    /// Refused: the endpoint is in another network, and no gateway of that network is known.
    NoNetworkGateway,
    /// Refused: the endpoint has no address of a family that may be used.
    NoAddress,
    /// Refused: a tunnel asked for a destination that is not its own end.
    NotThisWorkload,
    /// Refused: a tunnel asked for a service of which its end is no endpoint.
    UnknownService,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 15] = [
        Self::ServiceEndpoint,
        Self::WorkloadAddress,
        Self::ServiceWaypoint,
        Self::WorkloadWaypoint,
        Self::PastWaypoint,
        Self::NetworkGateway,
        Self::PassthroughService,
        Self::UnknownDestination,
        Self::PortNotDefined,
        Self::NoHealthyUpstream,
        Self::UnknownWaypoint,
        Self::NoNetworkGateway,
        Self::NoAddress,
        Self::NotThisWorkload,
        Self::UnknownService,
    ];

    /// The stable word for logs, metrics and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceEndpoint => "service_endpoint",
            Self::WorkloadAddress => "workload_address",
            Self::ServiceWaypoint => "service_waypoint",
            Self::WorkloadWaypoint => "workload_waypoint",
            Self::PastWaypoint => "past_waypoint",
            Self::NetworkGateway => "network_gateway",
            Self::PassthroughService => "passthrough_service",
            Self::UnknownDestination => "unknown_destination",
            Self::PortNotDefined => "port_not_defined",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::UnknownWaypoint => "unknown_waypoint",
            Self::NoNetworkGateway => "no_network_gateway",
            Self::NoAddress => "no_address",
            Self::NotThisWorkload => "not_this_workload",
            Self::UnknownService => "unknown_service",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::ServiceEndpoint => "an endpoint of the service",
            Self::WorkloadAddress => "the workload itself",
            Self::ServiceWaypoint => "the waypoint of the service",
            Self::WorkloadWaypoint => "the waypoint of the workload",
            Self::PastWaypoint => "past the waypoint, which is not ready",
            Self::NetworkGateway => "the gateway of another network",
            Self::PassthroughService => "the service passes its traffic through",
            Self::UnknownDestination => "the destination is not part of the mesh",
            Self::PortNotDefined => "the service has no such port",
            Self::NoHealthyUpstream => "no endpoint of the service may take the connection",
            Self::UnknownWaypoint => "the waypoint is not known or has no endpoint",
            Self::NoNetworkGateway => "the endpoint is in another network whose gateway is not known",
            Self::NoAddress => "the endpoint has no address that may be used",
            Self::NotThisWorkload => "the tunnel does not end at the destination that it asks for",
            Self::UnknownService => "the workload is no endpoint of such a service and port",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// There is no way, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no way to {destination}: {reason}")]
pub struct Refusal {
    /// What was asked for.
    pub destination: Destination,
    /// Why it is refused.
    pub reason: Reason,
}
