use std::collections::{BTreeSet, HashMap};

use mesh_core::name::{NamespacedHostname, Uid};
use mesh_core::workload::{Health, Workload};

use super::Located;
use crate::incremental::MultiMap;

/// Whether a workload takes traffic, by what is said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::translate) enum Readiness {
    /// It does.
    #[default]
    Ready,
    /// It would, and is on its way out: it does as long as a service of which it is an endpoint has none that is ready,
    /// as with kube-proxy (KEP-1669).
    Terminating,
    /// It would, and its operator takes it out of service.
    Draining,
    /// It does not.
    Unready,
}

/// Endpoints that are on their way out, and whether there are others.
#[derive(Debug, Default)]
pub(super) struct Terminating {
    /// Those of each service.
    endpoints: MultiMap<NamespacedHostname, Uid>,
    /// How many endpoints of each service are ready.
    ready: HashMap<NamespacedHostname, usize>,
}

impl Terminating {
    /// Takes note that a workload is there.
    pub(super) fn add(&mut self, located: &Located) {
        let workload = &located.workload;
        for key in workload.services.keys() {
            match located.readiness {
                Readiness::Ready if workload.capacity > 0 => *self.ready.entry(key.clone()).or_default() += 1,
                Readiness::Terminating => {
                    self.endpoints.insert(key.clone(), workload.uid.clone());
                }
                _ => {}
            }
        }
    }

    /// Takes note that a workload is no more.
    pub(super) fn remove(&mut self, located: &Located) {
        let workload = &located.workload;
        for key in workload.services.keys() {
            match located.readiness {
                Readiness::Ready if workload.capacity > 0 => {
                    let left = self.ready.get(key).map_or(0, |count| count.saturating_sub(1));
                    match left {
                        0 => self.ready.remove(key),
                        left => self.ready.insert(key.clone(), left),
                    };
                }
                Readiness::Terminating => {
                    self.endpoints.remove(key, &workload.uid);
                }
                _ => {}
            }
        }
    }

    /// The health of a workload among the endpoints of its services.
    pub(super) fn health(&self, located: &Located) -> Health {
        let is_last = |workload: &Workload| workload.services.keys().any(|key| !self.ready.contains_key(key));
        match located.readiness {
            Readiness::Ready => Health::Healthy,
            Readiness::Terminating if is_last(&located.workload) => Health::Healthy,
            _ => Health::Unhealthy,
        }
    }

    /// The workloads on their way out among the endpoints of services.
    pub(super) fn among<'k>(&self, services: impl Iterator<Item = &'k NamespacedHostname>) -> BTreeSet<Uid> {
        services.flat_map(|key| self.endpoints.get(key)).cloned().collect()
    }
}
