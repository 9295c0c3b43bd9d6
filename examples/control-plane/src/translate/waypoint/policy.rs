//! What policies say of the traffic of a service.

use mesh_core::listener::{HttpFilter, NetworkRbac};

/// The policies of one service, or of what is addressed to workloads.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    requests: Vec<HttpFilter>,
    connections: Vec<NetworkRbac>,
}

impl Policies {
    /// Filters of requests, in the order in which they are asked.
    pub(super) fn requests(&self) -> Vec<HttpFilter> {
        self.requests.clone()
    }

    /// Filters of connections of which nothing is known but that they are TCP.
    pub(super) fn connections(&self) -> Vec<NetworkRbac> {
        self.connections.clone()
    }
}
