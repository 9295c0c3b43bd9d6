//! Gateways where traffic enters, as far as somebody looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_core::name::{Locality, NamespacedName, Text};

use super::node::Node;
use super::{Engine, Role, View, ViewChange};
use crate::translate::gateway::{Frame, Port, Program, different};
use crate::translate::waypoint::Spec;

/// A Gateway that somebody looks at.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// Where its instances are.
    localities: BTreeSet<Locality>,
    frame: Frame,
    ports: BTreeMap<u16, Port>,
    program: Program,
}

impl Gateway {
    /// Its listeners.
    pub(super) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// What a cluster of it is for.
    pub(super) fn cluster(&self, name: &Text) -> Option<&Spec> {
        self.program.clusters.get(name)
    }
}

impl Engine {
    /// Begins to compute what an instance of a Gateway is programmed with that is somewhere. Gives all of it.
    pub(super) fn open_gateway(&mut self, view: &View) -> ViewChange {
        let is_new = !self.gateways.contains_key(&view.waypoint);
        let gateway = self.gateways.entry(view.waypoint.clone()).or_default();
        gateway.localities.insert(view.locality.clone());
        for name in gateway.program.clusters.keys() {
            self.graph.mark(Node::Upstream(view.clone(), name.clone()));
        }
        if is_new {
            self.graph.mark(Node::Frame(view.waypoint.clone()));
        }
        self.settle();
        let mut change = self.changes.views.remove(view).unwrap_or_default();
        let Some(Gateway { program, .. }) = self.gateways.get(&view.waypoint) else { return change };
        let some = |(name, listener): (&Text, &_)| (name.clone(), Some(Clone::clone(listener)));
        change.listeners = program.listeners.iter().map(some).collect();
        change.routes = program.routes.iter().map(|(name, table)| (name.clone(), Some(Arc::clone(table)))).collect();
        change.secrets = program.secrets.iter().map(|(name, secret)| (name.clone(), Some(secret.clone()))).collect();
        change
    }

    /// Ends what [`Engine::open_gateway`] began.
    pub(super) fn close_gateway(&mut self, view: &View) {
        let Some(gateway) = self.gateways.get_mut(&view.waypoint) else { return };
        gateway.localities.remove(&view.locality);
        for name in gateway.program.clusters.keys() {
            self.graph.remove(&Node::Upstream(view.clone(), name.clone()));
        }
        if !gateway.localities.is_empty() {
            return;
        }
        for port in gateway.ports.keys() {
            self.graph.remove(&Node::Port(view.waypoint.clone(), *port));
        }
        for node in [Node::Frame(view.waypoint.clone()), Node::Program(view.waypoint.clone())] {
            self.graph.remove(&node);
        }
        self.gateways.remove(&view.waypoint);
    }

    /// Sets the listeners of a Gateway.
    pub(super) fn set_frame(&mut self, key: &NamespacedName, now: Frame) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        let before = std::mem::replace(&mut gateway.frame, now);
        for port in before.ports().filter(|port| gateway.frame.ports().all(|other| other != *port)) {
            gateway.ports.remove(&port);
            self.graph.remove(&Node::Port(key.clone(), port));
        }
        for port in gateway.frame.ports().filter(|port| gateway.frame.differs_at(&before, *port)) {
            self.graph.mark(Node::Port(key.clone(), port));
        }
        self.graph.mark(Node::Program(key.clone()));
    }

    /// Sets what a Gateway has for a port.
    pub(super) fn set_port(&mut self, key: &NamespacedName, number: u16, now: Port) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        if gateway.ports.get(&number) != Some(&now) {
            gateway.ports.insert(number, now);
            self.graph.mark(Node::Program(key.clone()));
        }
    }

    /// Puts a Gateway together, and tells what differs.
    pub(super) fn program(&mut self, key: &NamespacedName) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        let now = Program::of(&gateway.frame, gateway.ports.values());
        let before = std::mem::replace(&mut gateway.program, now);
        let now = &gateway.program;
        for locality in &gateway.localities {
            let view = View { waypoint: key.clone(), locality: locality.clone(), role: Role::Gateway };
            for (name, _) in different(&before.clusters, &now.clusters) {
                self.graph.mark(Node::Upstream(view.clone(), name.clone()));
            }
            let listeners: BTreeMap<_, _> = owned(different(&before.listeners, &now.listeners));
            let routes: BTreeMap<_, _> = owned(different(&before.routes, &now.routes));
            let secrets: BTreeMap<_, _> = owned(different(&before.secrets, &now.secrets));
            if listeners.is_empty() && routes.is_empty() && secrets.is_empty() {
                continue;
            }
            let change = self.changes.views.entry(view).or_default();
            change.listeners.extend(listeners);
            change.routes.extend(routes);
            change.secrets.extend(secrets);
        }
    }
}

fn owned<'a, T: Clone + 'a>(all: impl Iterator<Item = (&'a Text, Option<&'a T>)>) -> BTreeMap<Text, Option<T>> {
    all.map(|(name, value)| (name.clone(), value.cloned())).collect()
}
