//! Translation as it goes on: each value is computed anew only when something that it read has changed.
//!
//! | layer | node | makes |
//! | --- | --- | --- |
//! | 0 | an object that declares services | services |
//! | 1 | what a policy is made of | policy |
//! | 2 | an object that is or declares workloads | workloads |
//! | 3 | a waypoint | which services it serves |
//! | 3 | what clients without a proxy asked for | that |
//! | 4 | a waypoint and a service; a waypoint and what is addressed to workloads | a part of its listener, and which clusters it needs |
//! | 5 | a waypoint | its listener |
//! | 6 | a waypoint that is somewhere, and a cluster | the cluster and its endpoints |
//! | 3 | a Gateway where traffic enters | its listeners and their certificates |
//! | 4 | such a Gateway and a port | the port's listener and routes, and which clusters they need |
//! | 5 | such a Gateway | all of that |
//! | 6 | such a Gateway that is somewhere, and a cluster | the cluster and its endpoints |
//!
//! Waypoints and other Gateways are computed from when somebody looks at them. What is translated from scratch is the engine's answer to its
//! first world, so there is one translation and not two.

mod changes;
mod gateways;
mod node;
mod programmed;
mod whole;

use std::collections::{BTreeSet, HashMap};

use mesh_core::authz::Policy;
use mesh_core::name::{NamespacedHostname, NamespacedName, SpiffeId, Uid};
use mesh_core::service::Service;
use mesh_core::workload::Workload;

pub(crate) use self::changes::{Asked, Changes, Role, View, ViewChange};
use self::gateways::Gateway;
use self::node::Node;
use self::programmed::Programmed;
pub use self::whole::{Translation, Waypoints, translate};
pub(crate) use super::facts::Differs;
use super::facts::{Fact, Facts, PolicySource, Reader};
use super::proxyless::{self, Clients, Named};
use super::{Place, gateway, policy, service, waypoint, workload};
use crate::incremental::Graph;
use crate::resource::{Kind, ObjectId};
use crate::world::World;

/// A world, what is made of it, and how the one follows the other.
#[derive(Debug)]
pub(crate) struct Engine {
    facts: Facts,
    graph: Graph<Node, Fact>,
    waypoints: HashMap<NamespacedName, Programmed>,
    /// Other Gateways that somebody looks at.
    gateways: HashMap<NamespacedName, Gateway>,
    changes: Changes,
}

impl Engine {
    /// An empty world.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            facts: Facts::new(place),
            graph: Graph::default(),
            waypoints: HashMap::new(),
            gateways: HashMap::new(),
            changes: Changes::default(),
        }
    }

    /// Takes another world. Gives what differs for those who are served. The cost is that of what differs.
    pub(crate) fn apply(&mut self, world: World) -> Changes {
        let before = std::mem::replace(&mut self.facts.world, world);
        for id in self.facts.world.changed_since(&before) {
            let worlds = (&before, &self.facts.world);
            for by in self.facts.index.update(worlds, &id, &self.facts.place.root_namespace) {
                self.graph.changed(&Fact::Index(by));
            }
            for service in self.facts.vips.update(&self.facts.world, &id) {
                self.graph.changed(&Fact::Vips(service));
            }
            self.graph.changed(&Fact::InNamespace(id.kind, id.name.namespace.clone()));
            Node::of(&id).into_iter().for_each(|node| self.graph.mark(node));
            self.graph.changed(&Fact::Object(id));
        }
        if before.peers.is_empty() != self.facts.world.peers.is_empty() {
            self.graph.mark(Node::Policy(PolicySource::Strict));
        }
        self.settle();
        std::mem::take(&mut self.changes)
    }

    /// Begins to compute what an instance of a waypoint, or of another Gateway, is programmed with that is somewhere. Gives
    /// all of it.
    pub(crate) fn open(&mut self, view: &View) -> ViewChange {
        if view.role == Role::Gateway {
            return self.open_gateway(view);
        }
        let programmed = self.waypoints.entry(view.waypoint.clone()).or_default();
        programmed.localities.insert(view.locality.clone());
        for name in programmed.assembled.cluster_names() {
            self.graph.mark(Node::Cluster(view.clone(), name.clone()));
        }
        let listener = programmed.assembled.listener.clone();
        self.graph.mark(Node::Served(view.waypoint.clone()));
        self.settle();
        let mut change = self.changes.views.remove(view).unwrap_or_default();
        if let Some(listener) = listener {
            change.listeners.entry(listener.name.clone()).or_insert(Some(listener));
        }
        change
    }

    /// Begins to compute what clients without a proxy ask for. Gives it.
    pub(crate) fn demand(&mut self, clients: &Clients, asked: impl IntoIterator<Item = Named>) -> Asked {
        for named in asked {
            self.graph.mark(Node::Proxyless(clients.clone(), named));
        }
        self.settle();
        self.changes.clients.remove(clients).unwrap_or_default()
    }

    /// Computes no more what nobody of some clients asks for.
    pub(crate) fn release(&mut self, clients: &Clients, named: Named) {
        self.graph.remove(&Node::Proxyless(clients.clone(), named));
    }

    /// Ends what [`Engine::open`] began.
    pub(crate) fn close(&mut self, view: &View) {
        if view.role == Role::Gateway {
            return self.close_gateway(view);
        }
        let Some(programmed) = self.waypoints.get_mut(&view.waypoint) else { return };
        programmed.localities.remove(&view.locality);
        for name in programmed.assembled.cluster_names() {
            self.graph.remove(&Node::Cluster(view.clone(), name.clone()));
        }
        if !programmed.localities.is_empty() {
            return;
        }
        let key = &view.waypoint;
        for service in programmed.services() {
            self.graph.remove(&Node::Part(key.clone(), service.clone()));
        }
        for node in [Node::Served(key.clone()), Node::Direct(key.clone()), Node::Assembly(key.clone())] {
            self.graph.remove(&node);
        }
        self.waypoints.remove(key);
    }

    /// Who the instances of a waypoint or another Gateway may be; nobody, if it is not served here.
    pub(crate) fn identities(&self, key: &NamespacedName) -> BTreeSet<SpiffeId> {
        match self.is_gateway(key) {
            true => gateway::identities(&self.reader(), key),
            false => waypoint::identities(&self.reader(), key),
        }
    }

    /// Whether a Gateway is one through which traffic enters the mesh.
    pub(crate) fn is_gateway(&self, key: &NamespacedName) -> bool {
        gateway::is_served(&self.facts.world, &self.facts.place, key)
    }

    /// What was taken last.
    pub(crate) fn world(&self) -> &World {
        &self.facts.world
    }

    /// The service of a key, and the keys of those whose waypoint it is.
    pub(crate) fn service(
        &self,
        key: &NamespacedHostname,
    ) -> Option<(&Service, impl Iterator<Item = &NamespacedHostname>)> {
        Some((self.facts.service(key)?, self.facts.served(key)))
    }

    /// The workload of a uid.
    pub(crate) fn workload(&self, uid: &Uid) -> Option<&Workload> {
        self.facts.workload(uid)
    }

    /// The uid of the workload that a pod is, or would be.
    pub(crate) fn pod_uid(&self, pod: &NamespacedName) -> Uid {
        workload::pod_uid(&self.facts.place, pod.namespace.as_str(), pod.name.as_str()).as_str().into()
    }

    /// The policy of a name.
    pub(crate) fn policy(&self, name: &NamespacedName) -> Option<&Policy> {
        self.facts.policy(name)
    }

    /// The identities of the workloads on a node.
    pub(crate) fn on_node(&self, node: &str) -> BTreeSet<SpiffeId> {
        self.facts.identities(node)
    }

    /// How many values were computed so far.
    pub(crate) fn computations(&self) -> u64 {
        self.graph.computations()
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.facts)
    }

    fn settle(&mut self) {
        while let Some(node) = self.graph.next() {
            let (read, changed) = self.compute(&node);
            match read {
                Some(read) => self.graph.computed(node, read),
                None => self.graph.remove(&node),
            }
            for fact in changed {
                self.graph.changed(&fact);
            }
        }
    }

    /// Computes a node. Gives what it read, unless the node is not needed any more, and which facts changed.
    fn compute(&mut self, node: &Node) -> (Option<Vec<Fact>>, Vec<Fact>) {
        let reader = Reader::new(&self.facts);
        match node {
            Node::Services(id) => {
                let services = service::declared(&reader, id);
                let read = reader.into_read();
                let changed = self.facts.declare(id, services, &mut self.changes.differs);
                (self.exists(id).then_some(read), changed)
            }
            Node::Policy(source) => {
                let is_needed = *source != PolicySource::Strict || !self.facts.world.peers.is_empty();
                let policy = is_needed.then(|| policy::made(&reader, source)).flatten();
                let read = reader.into_read();
                let name = policy::name(source, &self.facts.place);
                self.facts.set_policy(source, &name, policy, &mut self.changes.differs);
                (self.has(source).then_some(read), Vec::new())
            }
            Node::Workloads(id) => {
                let workloads = workload::located(&reader, id);
                let read = reader.into_read();
                let changed = self.facts.locate(id, workloads, &mut self.changes.differs);
                (self.exists(id).then_some(read), changed)
            }
            Node::Served(key) => {
                let services = waypoint::services(&reader, key);
                let read = reader.into_read();
                self.serve(key, services);
                (Some(read), Vec::new())
            }
            Node::Part(key, service) => {
                let part = waypoint::part(&reader, key, service);
                let read = reader.into_read();
                let is_served = self.waypoints.get_mut(key).is_some_and(|waypoint| waypoint.set_part(service, part));
                if is_served {
                    self.graph.mark(Node::Assembly(key.clone()));
                }
                (Some(read), Vec::new())
            }
            Node::Direct(key) => {
                let direct = waypoint::direct(&reader, key);
                let read = reader.into_read();
                if self.waypoints.get_mut(key).is_some_and(|waypoint| waypoint.set_direct(direct)) {
                    self.graph.mark(Node::Assembly(key.clone()));
                }
                (Some(read), Vec::new())
            }
            Node::Assembly(key) => {
                self.assemble(key);
                (Some(Vec::new()), Vec::new())
            }
            Node::Cluster(view, name) => {
                let assembled = self.waypoints.get(&view.waypoint).map(|waypoint| &waypoint.assembled);
                let made = assembled
                    .and_then(|assembled| waypoint::cluster(&reader, &view.waypoint, &view.locality, assembled, name));
                let is_there = assembled.is_some_and(|assembled| assembled.has_cluster(name));
                let read = reader.into_read();
                self.changes.views.entry(view.clone()).or_default().clusters.insert(name.clone(), made);
                (is_there.then_some(read), Vec::new())
            }
            Node::Frame(key) => {
                let frame = gateway::frame(&reader, key);
                let read = reader.into_read();
                self.set_frame(key, frame);
                (Some(read), Vec::new())
            }
            Node::Port(key, number) => {
                let known = self.gateways.get(key);
                let port = known.map(|gateway| gateway::port(&reader, key, gateway.frame(), *number));
                let read = reader.into_read();
                if let Some(port) = port {
                    self.set_port(key, *number, port);
                }
                (Some(read), Vec::new())
            }
            Node::Program(key) => {
                self.program(key);
                (Some(Vec::new()), Vec::new())
            }
            Node::Upstream(view, name) => {
                let spec = self.gateways.get(&view.waypoint).and_then(|gateway| gateway.cluster(name));
                let made = spec.and_then(|spec| gateway::cluster(&reader, &view.waypoint, &view.locality, name, spec));
                let is_there = spec.is_some();
                let read = reader.into_read();
                self.changes.views.entry(view.clone()).or_default().clusters.insert(name.clone(), made);
                (is_there.then_some(read), Vec::new())
            }
            Node::Proxyless(clients, named) => {
                let value = proxyless::value(&reader, clients, named);
                let read = reader.into_read();
                self.changes.clients.entry(clients.clone()).or_default().insert(named.clone(), value);
                (Some(read), Vec::new())
            }
        }
    }

    /// Sets which services a waypoint serves.
    fn serve(&mut self, key: &NamespacedName, services: Vec<NamespacedHostname>) {
        let Some(waypoint) = self.waypoints.get_mut(key) else { return };
        let (gone, come) = waypoint.set_services(services);
        for service in gone {
            self.graph.remove(&Node::Part(key.clone(), service));
        }
        for service in come {
            self.graph.mark(Node::Part(key.clone(), service));
        }
        if !waypoint.is_begun {
            waypoint.is_begun = true;
            self.graph.mark(Node::Direct(key.clone()));
        }
        self.graph.mark(Node::Assembly(key.clone()));
    }

    fn assemble(&mut self, key: &NamespacedName) {
        let Some(waypoint) = self.waypoints.get_mut(key) else { return };
        let now = waypoint.assemble();
        let before = std::mem::replace(&mut waypoint.assembled, now);
        let now = &waypoint.assembled;
        for locality in &waypoint.localities {
            let view = View { waypoint: key.clone(), locality: locality.clone(), role: Role::Waypoint };
            for name in waypoint::different_clusters(&before, now) {
                self.graph.mark(Node::Cluster(view.clone(), name.clone()));
            }
            if before.listener != now.listener {
                let name = before.listener.iter().chain(&now.listener).map(|listener| listener.name.clone()).next();
                let listeners = &mut self.changes.views.entry(view).or_default().listeners;
                listeners.extend(name.map(|name| (name, now.listener.clone())));
            }
        }
    }

    fn exists(&self, id: &ObjectId) -> bool {
        self.facts.world.origin(id).is_some()
    }

    fn has(&self, source: &PolicySource) -> bool {
        match source {
            PolicySource::Authorization(name) => self.facts.world.policies.contains_key(name),
            PolicySource::Peer(name) => self.facts.world.peers.contains_key(name),
            PolicySource::Strict => !self.facts.world.peers.is_empty(),
        }
    }
}

impl Node {
    /// The nodes of an object.
    fn of(id: &ObjectId) -> Vec<Self> {
        match id.kind {
            Kind::Service | Kind::ServiceImport => vec![Self::Services(id.clone())],
            Kind::ServiceEntry => vec![Self::Services(id.clone()), Self::Workloads(id.clone())],
            Kind::Pod | Kind::WorkloadEntry | Kind::EndpointSlice => vec![Self::Workloads(id.clone())],
            Kind::AuthorizationPolicy => vec![Self::Policy(PolicySource::Authorization(id.name.clone()))],
            Kind::PeerAuthentication => vec![Self::Policy(PolicySource::Peer(id.name.clone()))],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
