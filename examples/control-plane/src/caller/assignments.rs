use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{HashMap, OrdSet};
use mesh_core::name::{NamespacedName, SpiffeId};

use crate::world::World;

/// Which identities belong on which node, and where pods run: what the configuration says. A copy costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    by_node: HashMap<String, OrdSet<SpiffeId>>,
    world: Arc<World>,
}

impl Assignments {
    /// Of the identities of the workloads on each node, and of the world from which they come.
    #[must_use]
    pub fn new(by_node: BTreeMap<String, BTreeSet<SpiffeId>>, world: World) -> Self {
        Self::default().with(by_node, world)
    }

    /// The same with other identities on some nodes, and another world.
    #[must_use]
    pub fn with(&self, nodes: impl IntoIterator<Item = (String, BTreeSet<SpiffeId>)>, world: World) -> Self {
        let mut by_node = self.by_node.clone();
        for (node, identities) in nodes {
            match identities.is_empty() {
                true => by_node.remove(&node),
                false => by_node.insert(node, identities.into_iter().collect()),
            };
        }
        Self { by_node, world: Arc::new(world) }
    }

    /// The same, and besides what was before on some nodes.
    #[must_use]
    pub fn and_before<'a>(&self, before: &Self, nodes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut both = self.clone();
        for node in nodes {
            if let Some(identities) = before.by_node.get(node) {
                let all = both.by_node.entry(node.to_owned()).or_default();
                *all = all.clone().union(identities.clone());
            }
        }
        both
    }

    /// The configuration.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Whether a workload of an identity runs on a node.
    #[must_use]
    pub fn runs_on(&self, node: &str, identity: &SpiffeId) -> bool {
        self.by_node.get(node).is_some_and(|identities| identities.contains(identity))
    }

    /// Whether a workload of an identity runs anywhere.
    #[must_use]
    pub fn runs(&self, identity: &SpiffeId) -> bool {
        self.by_node.values().any(|identities| identities.contains(identity))
    }

    /// The node of a pod; `None`: there is no such pod, or it runs nowhere yet.
    #[must_use]
    pub fn node_of(&self, namespace: &str, pod: &str) -> Option<&str> {
        let (_, pod) = self.world.pods.get(&NamespacedName::new(namespace, pod))?;
        Some(pod.spec.node_name.as_str()).filter(|node| !node.is_empty())
    }
}
