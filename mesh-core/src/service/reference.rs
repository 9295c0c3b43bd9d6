use std::fmt;
use std::net::IpAddr;

use crate::name::{NamespacedHostname, Network};

/// The port on which HBONE is spoken unless a record says otherwise.
pub const HBONE_PORT: u16 = 15008;

/// A reference to a waypoint or a network gateway. Looked up when it is used, never when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    /// What is referred to.
    pub destination: GatewayDestination,
    /// Port on which the gateway speaks HBONE.
    pub hbone_port: u16,
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            GatewayDestination::Hostname(key) => write!(f, "{key}:{}", self.hbone_port),
            GatewayDestination::Address(network, IpAddr::V6(ip)) => {
                write!(f, "{network}/[{ip}]:{}", self.hbone_port)
            }
            GatewayDestination::Address(network, ip) => {
                write!(f, "{network}/{ip}:{}", self.hbone_port)
            }
        }
    }
}

/// By what a waypoint or gateway is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GatewayDestination {
    /// A service; one of its endpoints is chosen.
    Hostname(NamespacedHostname),
    /// A workload or service at this address.
    Address(Network, IpAddr),
}
