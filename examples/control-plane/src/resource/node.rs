//! `v1` Node.

use serde::Deserialize;

use super::{Condition, Metadata};

/// `v1 Node`.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Name, and the labels that say where it stands.
    pub metadata: Metadata,
    /// Its addresses and readiness.
    #[serde(default)]
    pub status: NodeStatus,
}

/// Status of a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses.
    pub addresses: Vec<NodeAddress>,
    /// `Ready` and others.
    pub conditions: Vec<Condition>,
}

/// Address of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname` and so on.
    pub r#type: String,
    /// The address.
    pub address: String,
}

impl Node {
    /// A label that says where it stands: region, zone or subzone.
    fn place(&self, label: &str) -> &str {
        self.metadata.labels.get(label).map_or("", String::as_str)
    }

    /// Region, zone and subzone by its labels; empty where there is none.
    #[must_use]
    pub fn locality(&self) -> [&str; 3] {
        ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"]
            .map(|label| self.place(label))
    }
}
