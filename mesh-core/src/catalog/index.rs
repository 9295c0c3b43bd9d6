use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use ipnet::IpNet;

use super::{claim, parse_service_key};
use crate::name::{Hostname, NamespacedHostname, Network, Uid};
use crate::service::Service;
use crate::workload::{NetworkMode, Workload};

/// The persistent maps behind a catalog. Every map is derived from `workloads` and `services`.
#[derive(Clone, Default)]
pub(super) struct Index {
    pub(super) workloads: HashMap<Uid, Arc<Workload>>,
    pub(super) by_address: HashMap<(Network, IpAddr), Vec<Arc<Workload>>>,
    pub(super) services: HashMap<NamespacedHostname, Arc<Service>>,
    pub(super) by_vip: HashMap<(Network, IpAddr), Vec<Arc<Service>>>,
    pub(super) by_hostname: HashMap<Hostname, Vec<Arc<Service>>>,
    /// Independent of `services`: an endpoint may arrive before its service does.
    pub(super) endpoints: HashMap<NamespacedHostname, OrdMap<Uid, Arc<Workload>>>,
    ranges: HashMap<(Network, IpNet), Vec<Arc<Service>>>,
    /// How many ranges of each prefix length exist in a network, so that a lookup asks only for lengths in use.
    range_lengths: OrdMap<(Network, Family, u8), usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Index {
    pub(super) fn insert_workload(&mut self, workload: Arc<Workload>) {
        self.remove_workload(workload.uid.as_str());
        if workload.network_mode == NetworkMode::Standard {
            for ip in &workload.addresses {
                let claims = self.by_address.entry((workload.network.clone(), *ip)).or_default();
                if !claims.iter().any(|other| other.uid == workload.uid) {
                    claims.push(Arc::clone(&workload));
                    claims.sort_by(|a, b| claim(a).cmp(&claim(b)));
                }
            }
        }
        for key in workload.services.keys() {
            self.endpoints.entry(key.clone()).or_default().insert(workload.uid.clone(), Arc::clone(&workload));
        }
        self.workloads.insert(workload.uid.clone(), workload);
    }

    pub(super) fn insert_service(&mut self, service: Arc<Service>) {
        self.remove_service(&service.key);
        for (network, vip) in &service.vips {
            if vip.prefix_len() == vip.max_prefix_len() {
                insert_sorted(&mut self.by_vip, (network.clone(), vip.addr()), &service);
            } else if insert_sorted(&mut self.ranges, (network.clone(), vip.trunc()), &service) {
                *self.range_lengths.entry(length_key(network, vip)).or_default() += 1;
            }
        }
        insert_sorted(&mut self.by_hostname, service.key.hostname.clone(), &service);
        self.services.insert(service.key.clone(), service);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if !self.remove_workload(name)
            && let Some(key) = parse_service_key(name)
        {
            self.remove_service(&key);
        }
    }

    pub(super) fn covering(&self, network: &Network, ip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        let family = Family::of(ip);
        let lowest = (network.clone(), family, 0);
        let highest = (network.clone(), family, u8::MAX);
        let network = network.clone();
        self.range_lengths
            .range(lowest..=highest)
            .rev()
            .filter_map(move |((_, _, length), _)| {
                let range = IpNet::new(ip, *length).ok()?.trunc();
                self.ranges.get(&(network.clone(), range))
            })
            .flatten()
    }

    fn remove_workload(&mut self, uid: &str) -> bool {
        let Some(workload) = self.workloads.remove(uid) else {
            return false;
        };
        for ip in &workload.addresses {
            remove_where(&mut self.by_address, &(workload.network.clone(), *ip), |other| other.uid == workload.uid);
        }
        for key in workload.services.keys() {
            if let Some(endpoints) = self.endpoints.get_mut(key) {
                endpoints.remove(&workload.uid);
                if endpoints.is_empty() {
                    self.endpoints.remove(key);
                }
            }
        }
        true
    }

    fn remove_service(&mut self, key: &NamespacedHostname) {
        let Some(service) = self.services.remove(key) else {
            return;
        };
        for (network, vip) in &service.vips {
            if vip.prefix_len() == vip.max_prefix_len() {
                remove_where(&mut self.by_vip, &(network.clone(), vip.addr()), |other| other.key == *key);
            } else if remove_where(&mut self.ranges, &(network.clone(), vip.trunc()), |other| other.key == *key) {
                let length = length_key(network, vip);
                if let Some(count) = self.range_lengths.get_mut(&length) {
                    *count -= 1;
                    if *count == 0 {
                        self.range_lengths.remove(&length);
                    }
                }
            }
        }
        remove_where(&mut self.by_hostname, &key.hostname, |other| other.key == *key);
    }
}

fn length_key(network: &Network, vip: &IpNet) -> (Network, Family, u8) {
    (network.clone(), Family::of(vip.addr()), vip.prefix_len())
}

/// Adds a service to the list of a key, in the order of service keys. False when it stood there already.
fn insert_sorted<K: Hash + Eq + Clone>(
    map: &mut HashMap<K, Vec<Arc<Service>>>,
    key: K,
    service: &Arc<Service>,
) -> bool {
    let list = map.entry(key).or_default();
    match list.binary_search_by(|other| other.key.cmp(&service.key)) {
        Ok(_) => false,
        Err(index) => {
            list.insert(index, Arc::clone(service));
            true
        }
    }
}

/// Removes the entries of a key's list that fit; the key goes with its last entry. False when none fitted.
fn remove_where<K: Hash + Eq + Clone, T: Clone>(
    map: &mut HashMap<K, Vec<T>>,
    key: &K,
    fits: impl Fn(&T) -> bool,
) -> bool {
    let Some(list) = map.get_mut(key) else {
        return false;
    };
    let before = list.len();
    list.retain(|entry| !fits(entry));
    let removed = list.len() < before;
    if list.is_empty() {
        map.remove(key);
    }
    removed
}
