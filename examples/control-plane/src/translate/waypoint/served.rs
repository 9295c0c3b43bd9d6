//! What each waypoint serves, and who may be it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_core::name::{NamespacedHostname, NamespacedName, ServiceAccount, SpiffeId};
use mesh_core::service::{GatewayAddress, Service};
use mesh_core::workload::Workload;

use crate::admission::check::WAYPOINT_CLASS;
use crate::admission::schema::Gateway;
use crate::translate::binding::{self, GATEWAY_NAME};
use crate::translate::{Place, Translation, workload};
use crate::world::World;

/// Annotation of a Gateway: the service account of its instances, where it is not that of its name.
const ACCOUNT: &str = "gateway.istio.io/service-account";

/// What is looked up again and again.
pub(super) struct Index<'a> {
    pub(super) world: &'a World,
    pub(super) place: &'a Place,
    /// Services by key.
    pub(super) services: BTreeMap<&'a NamespacedHostname, &'a Service>,
    endpoints: HashMap<&'a NamespacedHostname, Vec<&'a Workload>>,
    labels: HashMap<String, &'a BTreeMap<String, String>>,
    bound_services: HashMap<&'a GatewayAddress, Vec<&'a Service>>,
    bound_workloads: HashMap<&'a GatewayAddress, Vec<&'a Workload>>,
}

/// A waypoint and what it serves.
pub(super) struct Served<'a> {
    /// The Gateway.
    pub(super) gateway: &'a NamespacedName,
    /// Services that are bound to it.
    pub(super) services: Vec<&'a Service>,
    /// Workloads that are bound to it.
    pub(super) workloads: Vec<&'a Workload>,
}

impl<'a> Index<'a> {
    pub(super) fn new(world: &'a World, place: &'a Place, translation: &'a Translation) -> Self {
        let mut index = Self {
            world,
            place,
            services: translation.services.iter().map(|service| (&service.key, service)).collect(),
            endpoints: HashMap::new(),
            labels: workload::labels(world, place),
            bound_services: HashMap::new(),
            bound_workloads: HashMap::new(),
        };
        for workload in &translation.workloads {
            for key in workload.services.keys() {
                index.endpoints.entry(key).or_default().push(workload);
            }
            if let Some(waypoint) = &workload.waypoint {
                index.bound_workloads.entry(waypoint).or_default().push(workload);
            }
        }
        for service in &translation.services {
            let weighted = service.weighted_waypoints.iter().map(|(waypoint, _)| waypoint);
            let waypoints: Vec<&GatewayAddress> = service.waypoint.iter().chain(weighted).collect();
            for (at, waypoint) in waypoints.iter().enumerate() {
                if !waypoints.iter().take(at).any(|before| before == waypoint) {
                    index.bound_services.entry(waypoint).or_default().push(service);
                }
            }
        }
        index
    }

    /// The waypoints that are served here.
    pub(super) fn waypoints(&self) -> impl Iterator<Item = &'a NamespacedName> {
        let all = self.world.gateways.iter().filter(|(_, (_, gateway))| is_served(gateway));
        all.map(|(key, _)| key)
    }

    /// A waypoint, if it is served here.
    pub(super) fn served(&self, waypoint: &NamespacedName) -> Option<(Served<'a>, &'a Gateway)> {
        let (key, (_, gateway)) = self.world.gateways.get_key_value(waypoint)?;
        if !is_served(gateway) {
            return None;
        }
        let address = binding::address(self.world, self.place, key);
        let services = self.bound_services.get(&address).cloned().unwrap_or_default();
        let workloads = self.bound_workloads.get(&address).cloned().unwrap_or_default();
        Some((Served { gateway: key, services, workloads }, gateway))
    }

    /// The endpoints of a service, in the order of their uids.
    pub(super) fn endpoints(&self, service: &NamespacedHostname) -> &[&'a Workload] {
        self.endpoints.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    /// The labels of a workload.
    pub(super) fn labels(&self, workload: &Workload) -> Option<&'a BTreeMap<String, String>> {
        self.labels.get(workload.uid.as_str()).copied()
    }

    /// Who may be a waypoint: the accounts of its instances, or, as long as there is none, the one that is meant for them.
    pub(super) fn accounts(&self, key: &NamespacedName, gateway: &Gateway) -> BTreeSet<SpiffeId> {
        let accounts: BTreeSet<SpiffeId> =
            self.instances(key).filter_map(|account| self.identity(key, account)).collect();
        if !accounts.is_empty() {
            return accounts;
        }
        let name = gateway.metadata.annotations.get(ACCOUNT).map_or(key.name.as_str(), String::as_str);
        self.identity(key, name).into_iter().collect()
    }

    /// The account of each instance.
    fn instances(&self, key: &NamespacedName) -> impl Iterator<Item = &'a str> {
        let is_of = |labels: &BTreeMap<String, String>| labels.get(GATEWAY_NAME).is_some_and(|name| key.name == **name);
        let pods = self.world.pods.values().map(|(_, pod)| pod);
        let pods = pods.filter(move |pod| key.namespace == *pod.metadata.namespace && is_of(&pod.metadata.labels));
        let pods = pods.map(|pod| pod.spec.service_account_name.as_deref());
        let entries = self.world.entries.values().map(|(_, entry)| entry);
        let entries = entries.filter(move |entry| {
            key.namespace == *entry.metadata.namespace && (is_of(&entry.metadata.labels) || is_of(&entry.spec.labels))
        });
        let accounts = pods.chain(entries.map(|entry| entry.spec.service_account.as_deref()));
        accounts.map(|account| account.unwrap_or("default"))
    }

    fn identity(&self, key: &NamespacedName, account: &str) -> Option<SpiffeId> {
        let account = ServiceAccount::new(self.place.trust_domain.clone(), key.namespace.as_str(), account).ok()?;
        Some(account.to_spiffe_id())
    }
}

fn is_served(gateway: &Gateway) -> bool {
    gateway.spec.gateway_class_name == WAYPOINT_CLASS
}
