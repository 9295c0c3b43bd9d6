use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_core::authz::Policy;
use mesh_core::name::{Hostname, NamespacedHostname, NamespacedName, SpiffeId, Text, Uid};
use mesh_core::service::{GatewayAddress, GatewayDestination, Service};
use mesh_core::workload::Workload;

use super::draining::Terminating;
use super::located::Located;
use super::vips::Vips;
use super::{Fact, Index};
use crate::incremental::MultiMap;
use crate::resource::{Kind, ObjectId};
use crate::translate::Place;
use crate::world::World;

/// The world and what was made of it.
#[derive(Debug)]
pub(in crate::translate) struct Facts {
    pub(in crate::translate) place: Place,
    pub(in crate::translate) world: World,
    pub(in crate::translate) index: Index,
    /// The services that each object declares, and which objects declare each.
    declared: HashMap<ObjectId, Vec<Arc<Service>>>,
    declaring: MultiMap<NamespacedHostname, ObjectId>,
    services: BTreeMap<NamespacedHostname, Arc<Service>>,
    hosts: MultiMap<Hostname, NamespacedHostname>,
    bound_services: MultiMap<GatewayAddress, NamespacedHostname>,
    /// The services whose waypoint is a service.
    served: MultiMap<NamespacedHostname, NamespacedHostname>,
    policies: BTreeMap<NamespacedName, BTreeMap<PolicySource, Policy>>,
    /// The workloads that each object is or declares.
    located: HashMap<ObjectId, Vec<Uid>>,
    workloads: BTreeMap<Uid, Located>,
    endpoints: MultiMap<NamespacedHostname, Uid>,
    bound_workloads: MultiMap<GatewayAddress, Uid>,
    on_node: MultiMap<Text, Uid>,
    terminating: Terminating,
    pub(in crate::translate) vips: Vips,
}

/// What a policy is made of. Of two policies of one name that of the last counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::translate) enum PolicySource {
    /// An AuthorizationPolicy.
    Authorization(NamespacedName),
    /// That there are PeerAuthentications.
    Strict,
    /// A PeerAuthentication with modes of ports.
    Peer(NamespacedName),
}

/// What differs for node proxies since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Differs {
    pub(crate) services: BTreeSet<NamespacedHostname>,
    pub(crate) workloads: BTreeSet<Uid>,
    pub(crate) policies: BTreeSet<NamespacedName>,
    pub(crate) nodes: BTreeSet<Text>,
}

impl Facts {
    pub(in crate::translate) fn new(place: Place) -> Self {
        Self {
            place,
            world: World::default(),
            index: Index::default(),
            declared: HashMap::new(),
            declaring: MultiMap::default(),
            services: BTreeMap::new(),
            hosts: MultiMap::default(),
            bound_services: MultiMap::default(),
            served: MultiMap::default(),
            policies: BTreeMap::new(),
            located: HashMap::new(),
            workloads: BTreeMap::new(),
            endpoints: MultiMap::default(),
            bound_workloads: MultiMap::default(),
            on_node: MultiMap::default(),
            terminating: Terminating::default(),
            vips: Vips::default(),
        }
    }

    /// Sets the services that an object declares. Gives the facts that changed.
    pub(in crate::translate) fn declare(
        &mut self,
        id: &ObjectId,
        services: Vec<Service>,
        differs: &mut Differs,
    ) -> Vec<Fact> {
        let services: Vec<Arc<Service>> = services.into_iter().map(Arc::new).collect();
        let keys: BTreeSet<NamespacedHostname> = services.iter().map(|service| service.key.clone()).collect();
        let before = match services.is_empty() {
            true => self.declared.remove(id),
            false => self.declared.insert(id.clone(), services),
        };
        // Who declares a service is a part of the fact.
        let mut changed = Vec::new();
        for service in before.unwrap_or_default() {
            if !keys.contains(&service.key) && self.declaring.remove(&service.key, id) {
                changed.push(Fact::Service(service.key.clone()));
                self.settle_service(&service.key, differs, &mut changed);
            }
        }
        for key in &keys {
            if self.declaring.insert(key.clone(), id.clone()) {
                changed.push(Fact::Service(key.clone()));
            }
            self.settle_service(key, differs, &mut changed);
        }
        changed
    }

    /// Of several objects that declare one service a Kubernetes service counts before a ServiceEntry, and of those the last.
    fn settle_service(&mut self, key: &NamespacedHostname, differs: &mut Differs, changed: &mut Vec<Fact>) {
        let mut by_kind: Vec<&ObjectId> = self.declaring.get(key).collect();
        by_kind.sort_by_key(|id| id.kind == Kind::Service);
        let of_last = by_kind.last().and_then(|id| self.declared.get(*id));
        let now = of_last.and_then(|services| services.iter().rfind(|service| service.key == *key)).cloned();
        let before = self.services.get(key).cloned();
        if before.as_deref() == now.as_deref() {
            return;
        }
        changed.push(Fact::Service(key.clone()));
        differs.services.insert(key.clone());
        if before.is_some() != now.is_some() {
            changed.push(Fact::Host(key.hostname.clone()));
            match now.is_some() {
                true => self.hosts.insert(key.hostname.clone(), key.clone()),
                false => self.hosts.remove(&key.hostname, key),
            };
        }
        let (gone, come) = (waypoints(before.as_deref()), waypoints(now.as_deref()));
        for waypoint in gone.iter().filter(|waypoint| !come.contains(waypoint)) {
            self.bound_services.remove(waypoint, key);
            if let GatewayDestination::Hostname(host) = &waypoint.destination {
                self.served.remove(host, key);
                differs.services.insert(host.clone());
            }
            changed.push(Fact::BoundServices(waypoint.clone()));
        }
        for waypoint in come.iter().filter(|waypoint| !gone.contains(waypoint)) {
            self.bound_services.insert(waypoint.clone(), key.clone());
            changed.push(Fact::BoundServices(waypoint.clone()));
        }
        // Two addresses may be of one host, which is served as long as one of them is.
        for waypoint in &come {
            if let GatewayDestination::Hostname(host) = &waypoint.destination
                && self.served.insert(host.clone(), key.clone())
            {
                differs.services.insert(host.clone());
            }
        }
        match now {
            Some(now) => self.services.insert(key.clone(), now),
            None => self.services.remove(key),
        };
    }

    /// Sets the policy that is made of something. Node proxies are told; nothing that is computed reads it.
    pub(in crate::translate) fn set_policy(
        &mut self,
        source: &PolicySource,
        name: &NamespacedName,
        policy: Option<Policy>,
        differs: &mut Differs,
    ) {
        let before = self.policy(name).cloned();
        let of_name = self.policies.entry(name.clone()).or_default();
        match policy {
            Some(policy) => of_name.insert(source.clone(), policy),
            None => of_name.remove(source),
        };
        if of_name.is_empty() {
            self.policies.remove(name);
        }
        if before.as_ref() != self.policy(name) {
            differs.policies.insert(name.clone());
        }
    }

    /// Sets the workloads that an object is or declares. Gives the facts that changed. Of several of one uid the first counts.
    pub(in crate::translate) fn locate(
        &mut self,
        id: &ObjectId,
        workloads: Vec<Located>,
        differs: &mut Differs,
    ) -> Vec<Fact> {
        let mut changed = Vec::new();
        let mut uids: Vec<Uid> = Vec::with_capacity(workloads.len());
        for located in workloads {
            let uid = located.workload.uid.clone();
            if !uids.contains(&uid) {
                self.settle_workload(&uid, Some(located), differs, &mut changed);
                uids.push(uid);
            }
        }
        let before = match uids.is_empty() {
            true => self.located.remove(id).unwrap_or_default(),
            false => self.located.insert(id.clone(), uids.clone()).unwrap_or_default(),
        };
        let uids: BTreeSet<Uid> = uids.into_iter().collect();
        for uid in before.iter().filter(|uid| !uids.contains(*uid)) {
            self.settle_workload(uid, None, differs, &mut changed);
        }
        changed
    }

    fn settle_workload(&mut self, uid: &Uid, mut now: Option<Located>, differs: &mut Differs, changed: &mut Vec<Fact>) {
        let before = self.workloads.remove(uid);
        if let Some(before) = &before {
            self.terminating.remove(before);
        }
        if let Some(now) = &mut now {
            self.terminating.add(now);
            now.workload.health = self.terminating.health(now);
        }
        let both = before.iter().chain(&now).flat_map(|located| located.workload.services.keys());
        let others = self.terminating.among(both);
        let (same_workload, same_labels) = match (&before, &now) {
            (Some(before), Some(now)) => (before.workload == now.workload, before.labels.get() == now.labels.get()),
            (before, now) => (before.is_none() && now.is_none(), true),
        };
        if !same_workload {
            differs.workloads.insert(uid.clone());
        }
        if !same_workload || !same_labels {
            let both = before.iter().chain(&now).map(|located| &located.workload);
            for workload in both {
                changed.extend(workload.services.keys().cloned().map(Fact::Endpoints));
                changed.extend(workload.waypoint.clone().map(Fact::BoundWorkloads));
            }
            let identity = |located: &Option<Located>| {
                located.as_ref().map(|located| (located.workload.node.clone(), located.workload.identity.clone()))
            };
            if identity(&before) != identity(&now) {
                let both = before.iter().chain(&now);
                differs.nodes.extend(both.map(|located| located.workload.node.clone()));
            }
        }
        if let Some(Located { workload, .. }) = before {
            for key in workload.services.keys() {
                self.endpoints.remove(key, uid);
            }
            if let Some(waypoint) = &workload.waypoint {
                self.bound_workloads.remove(waypoint, uid);
            }
            self.on_node.remove(&workload.node, uid);
        }
        if let Some(located) = now {
            for key in located.workload.services.keys() {
                self.endpoints.insert(key.clone(), uid.clone());
            }
            if let Some(waypoint) = &located.workload.waypoint {
                self.bound_workloads.insert(waypoint.clone(), uid.clone());
            }
            self.on_node.insert(located.workload.node.clone(), uid.clone());
            self.workloads.insert(uid.clone(), located);
        }
        for uid in others {
            self.settle_health(uid, differs, changed);
        }
    }

    /// Sets the health of a workload on its way out, which hangs on the other endpoints of its services.
    fn settle_health(&mut self, uid: Uid, differs: &mut Differs, changed: &mut Vec<Fact>) {
        let Some(located) = self.workloads.get_mut(&uid) else { return };
        let health = self.terminating.health(located);
        if located.workload.health != health {
            located.workload.health = health;
            changed.extend(located.workload.services.keys().cloned().map(Fact::Endpoints));
            changed.extend(located.workload.waypoint.clone().map(Fact::BoundWorkloads));
            differs.workloads.insert(uid);
        }
    }

    /// All services, in the order of their keys.
    pub(in crate::translate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(Arc::as_ref)
    }

    pub(in crate::translate) fn service(&self, key: &NamespacedHostname) -> Option<&Service> {
        self.services.get(key).map(Arc::as_ref)
    }

    /// The services whose waypoint is this one.
    pub(in crate::translate) fn served(
        &self,
        waypoint: &NamespacedHostname,
    ) -> impl Iterator<Item = &NamespacedHostname> {
        self.served.get(waypoint)
    }

    /// All workloads, in the order of their uids.
    pub(in crate::translate) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values().map(|located| &located.workload)
    }

    pub(in crate::translate) fn workload(&self, uid: &Uid) -> Option<&Workload> {
        self.workloads.get(uid).map(|located| &located.workload)
    }

    /// The names of all policies, in their order.
    pub(in crate::translate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().filter_map(|sources| sources.values().next_back())
    }

    pub(in crate::translate) fn policy(&self, name: &NamespacedName) -> Option<&Policy> {
        self.policies.get(name)?.values().next_back()
    }

    /// The identities of the workloads on a node.
    pub(in crate::translate) fn identities(&self, node: &str) -> BTreeSet<SpiffeId> {
        let here = self.on_node.get(node).filter_map(|uid| self.workloads.get(uid));
        here.filter(|located| located.is_scheduled()).map(|located| located.workload.spiffe_id()).collect()
    }

    /// The identities of the workloads on each node.
    pub(in crate::translate) fn identities_by_node(&self) -> BTreeMap<String, BTreeSet<SpiffeId>> {
        let mut by_node: BTreeMap<String, BTreeSet<SpiffeId>> = BTreeMap::new();
        for located in self.workloads.values().filter(|located| located.is_scheduled()) {
            let workload = &located.workload;
            by_node.entry(workload.node.to_string()).or_default().insert(workload.spiffe_id());
        }
        by_node
    }

    pub(super) fn declaring(&self, key: &NamespacedHostname) -> impl Iterator<Item = &ObjectId> {
        self.declaring.get(key)
    }

    pub(super) fn of_host(&self, host: &Hostname) -> impl Iterator<Item = &NamespacedHostname> {
        self.hosts.get(host)
    }

    pub(super) fn endpoints(&self, service: &NamespacedHostname) -> impl Iterator<Item = &Located> {
        self.endpoints.get(service).filter_map(|uid| self.workloads.get(uid))
    }

    pub(super) fn bound_services(&self, waypoint: &GatewayAddress) -> impl Iterator<Item = &NamespacedHostname> {
        self.bound_services.get(waypoint)
    }

    pub(super) fn bound_workloads(&self, waypoint: &GatewayAddress) -> impl Iterator<Item = &Located> {
        self.bound_workloads.get(waypoint).filter_map(|uid| self.workloads.get(uid))
    }
}

/// The waypoints of a service, with that of a canary.
fn waypoints(service: Option<&Service>) -> Vec<GatewayAddress> {
    let Some(service) = service else { return Vec::new() };
    let weighted = service.weighted_waypoints.iter().map(|(waypoint, _)| waypoint);
    service.waypoint.iter().chain(weighted).cloned().collect()
}
