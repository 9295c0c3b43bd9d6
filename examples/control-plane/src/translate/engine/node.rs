use mesh_core::name::{NamespacedHostname, NamespacedName, Text};

use super::View;
use crate::incremental::Layered;
use crate::resource::ObjectId;
use crate::translate::facts::PolicySource;
use crate::translate::proxyless::{Clients, Named};

/// Something that is computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The services that an object declares.
    Services(ObjectId),
    /// A policy.
    Policy(PolicySource),
    /// The workloads that an object is or declares.
    Workloads(ObjectId),
    /// Which services a waypoint serves.
    Served(NamespacedName),
    /// What a waypoint has for a service.
    Part(NamespacedName, NamespacedHostname),
    /// What a waypoint has for what is addressed to workloads.
    Direct(NamespacedName),
    /// The listener of a waypoint, and which clusters it needs.
    Assembly(NamespacedName),
    /// A cluster.
    Cluster(View, Text),
    /// The listeners of a Gateway where traffic enters.
    Frame(NamespacedName),
    /// What it has for a port.
    Port(NamespacedName, u16),
    /// All of it but its endpoints.
    Program(NamespacedName),
    /// A cluster of it.
    Upstream(View, Text),
    /// What clients without a proxy asked for.
    Proxyless(Clients, Named),
}

impl Layered for Node {
    fn layer(&self) -> u8 {
        match self {
            Self::Services(_) => 0,
            Self::Policy(_) => 1,
            Self::Workloads(_) => 2,
            Self::Served(_) | Self::Frame(_) | Self::Proxyless(..) => 3,
            Self::Part(..) | Self::Direct(_) | Self::Port(..) => 4,
            Self::Assembly(_) | Self::Program(_) => 5,
            Self::Cluster(..) | Self::Upstream(..) => 6,
        }
    }
}
