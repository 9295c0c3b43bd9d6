use std::collections::{BTreeMap, BTreeSet};

use mesh_core::authz::Policy;
use mesh_core::name::{Locality, NamespacedName, SpiffeId};
use mesh_core::service::Service;
use mesh_core::workload::Workload;

use super::Engine;
use crate::translate::Place;
use crate::translate::gateway;
use crate::translate::proxyless::{self, Clients, Named, Value};
use crate::translate::waypoint::{self, Resources};
use crate::world::World;

/// What node proxies receive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// Workloads, in the order of their uids.
    pub workloads: Vec<Workload>,
    /// Services, in the order of their keys.
    pub services: Vec<Service>,
    /// Policies, in the order of their names.
    pub policies: Vec<Policy>,
}

/// Translates a world.
#[must_use]
pub fn translate(world: &World, place: &Place) -> Translation {
    Waypoints::new(world, place).translation()
}

/// The waypoints of a world, and what is there for clients without a proxy.
#[derive(Debug)]
pub struct Waypoints(pub(super) Engine);

impl Waypoints {
    /// The waypoints of a world.
    #[must_use]
    pub fn new(world: &World, place: &Place) -> Self {
        let mut engine = Engine::new(place.clone());
        engine.apply(world.clone());
        Self(engine)
    }

    /// Their Gateways.
    pub fn keys(&self) -> impl Iterator<Item = &NamespacedName> {
        waypoint::keys(self.0.world())
    }

    /// The other Gateways, through which traffic enters the mesh.
    pub fn gateways(&self) -> impl Iterator<Item = &NamespacedName> {
        self.0.world().gateways.iter().map(|(key, _)| key).filter(|key| self.0.is_gateway(key))
    }

    /// What an instance of a Gateway where traffic enters is programmed with that is somewhere; nothing, if it is not served
    /// here.
    #[must_use]
    pub fn gateway(&self, key: &NamespacedName, locality: &Locality) -> gateway::Resources {
        gateway::resources(&self.0.reader(), key, locality)
    }

    /// What node proxies receive of the same world.
    #[must_use]
    pub fn translation(&self) -> Translation {
        let facts = &self.0.facts;
        Translation {
            workloads: facts.workloads().cloned().collect(),
            services: facts.services().cloned().collect(),
            policies: facts.policies().cloned().collect(),
        }
    }

    /// The identities of the workloads on each node.
    #[must_use]
    pub fn identities_by_node(&self) -> BTreeMap<String, BTreeSet<SpiffeId>> {
        self.0.facts.identities_by_node()
    }

    /// Who the instances of a waypoint may be; nobody, if it is not served here.
    #[must_use]
    pub fn identities(&self, waypoint: &NamespacedName) -> BTreeSet<SpiffeId> {
        self.0.identities(waypoint)
    }

    /// What clients without a proxy get for what they ask for; `None` if there is nothing for them.
    #[must_use]
    pub fn asked(&self, clients: &Clients, named: &Named) -> Option<Value> {
        proxyless::value(&self.0.reader(), clients, named)
    }

    /// What an instance of a waypoint is programmed with that is somewhere; nothing, if it is not served here.
    #[must_use]
    pub fn resources(&self, waypoint: &NamespacedName, locality: &Locality) -> Resources {
        waypoint::resources(&self.0.reader(), waypoint, locality)
    }
}
