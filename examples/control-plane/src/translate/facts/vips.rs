//! Virtual addresses of services that nobody gave any, as Istio's: out of 240.240.0.0/16 and 2001:2::/48.
//!
//! They are a function of the services that want some and of the addresses that others have, so that replicas agree,
//! and a restart changes nothing. Of two services that collide the older keeps its addresses (by the age of its
//! object); addresses change when a service comes or goes that is older, and collides.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use mesh_core::name::{Hostname, NamespacedHostname};

use crate::incremental::{Claimant, SLOTS, Slots};
use crate::resource::{Kind, ObjectId, ServiceEntry};
use crate::translate::clusterset;
use crate::world::World;

/// Label of a ServiceEntry: with `false` its hosts get no addresses.
const ENABLE: &str = "networking.istio.io/enable-autoallocate-ip";

const V4: u32 = 0xf0f0_0000;
const V6: u128 = 0x2001_0002_0000_0000_0000_0000_0000_0000;

/// The automatic virtual addresses of services.
#[derive(Debug, Default)]
pub(crate) struct Vips {
    /// What each object wants.
    wishes: HashMap<ObjectId, Wishes>,
    /// The objects that want addresses for a service, the oldest first.
    wanting: HashMap<NamespacedHostname, BTreeSet<(Duration, ObjectId)>>,
    slots: Slots<Candidate>,
}

/// What an object wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    age: Duration,
    /// Services that are to have addresses.
    services: BTreeSet<NamespacedHostname>,
    /// Numbers whose addresses it says itself.
    taken: BTreeSet<u32>,
}

/// A service that wants addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Candidate {
    age: Duration,
    service: NamespacedHostname,
    walk: (u64, u64),
}

impl Claimant for Candidate {
    fn walk(&self) -> (u64, u64) {
        self.walk
    }
}

impl Candidate {
    fn new(age: Duration, service: &NamespacedHostname) -> Self {
        let hash = digest(&SHA256, service.to_string().as_bytes());
        let word =
            |from: usize| hash.as_ref().iter().skip(from).take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        Self { age, service: service.clone(), walk: (word(0), word(8)) }
    }
}

impl Vips {
    /// The addresses of all services of a world.
    pub(crate) fn of(world: &World) -> Self {
        let mut vips = Self::default();
        for kind in [Kind::ServiceEntry, Kind::ServiceExport, Kind::ServiceImport] {
            for id in world.ids(kind) {
                vips.update(world, &id);
            }
        }
        vips
    }

    /// The addresses of a service; `None` if it wants none, or there are none for it.
    pub(crate) fn get(&self, service: &NamespacedHostname) -> Option<[IpAddr; 2]> {
        let number = self.slots.get(&self.candidate(service)?)?;
        let v4 = Ipv4Addr::from_bits(V4 + number + 1);
        let v6 = Ipv6Addr::from_bits(V6 + u128::from(number) + 1);
        Some([v4.into(), v6.into()])
    }

    /// The services that want addresses and have none: all that they tried have older ones.
    pub(crate) fn without(&self) -> impl Iterator<Item = (&NamespacedHostname, &ObjectId)> {
        let unserved = self.wanting.iter().filter(|(service, _)| self.get(service).is_none());
        unserved.filter_map(|(service, by)| Some((service, by.first().map(|(_, id)| id)?)))
    }

    /// Takes note that an object may have changed. Gives the services whose addresses may differ.
    pub(crate) fn update(&mut self, world: &World, id: &ObjectId) -> BTreeSet<NamespacedHostname> {
        let mut differ = BTreeSet::new();
        let Some(id) = owner(id) else { return differ };
        let now = wishes(world, &id);
        let before = self.wishes.remove(&id).unwrap_or_default();
        let moved = |moved: BTreeSet<Candidate>| moved.into_iter().map(|candidate| candidate.service);
        for number in before.taken.difference(&now.taken) {
            differ.extend(moved(self.slots.release(*number)));
        }
        for number in now.taken.difference(&before.taken) {
            differ.extend(moved(self.slots.take(*number)));
        }
        let same_age = before.age == now.age;
        for service in before.services.iter().filter(|service| !same_age || !now.services.contains(*service)) {
            self.want(service, &mut differ, |wanting| wanting.remove(&(before.age, id.clone())));
        }
        for service in now.services.iter().filter(|service| !same_age || !before.services.contains(*service)) {
            self.want(service, &mut differ, |wanting| wanting.insert((now.age, id.clone())));
        }
        if now != Wishes::default() {
            self.wishes.insert(id, now);
        }
        differ
    }

    /// Changes who wants addresses for a service.
    fn want(
        &mut self,
        service: &NamespacedHostname,
        differ: &mut BTreeSet<NamespacedHostname>,
        change: impl FnOnce(&mut BTreeSet<(Duration, ObjectId)>) -> bool,
    ) {
        let before = self.candidate(service);
        let wanting = self.wanting.entry(service.clone()).or_default();
        change(wanting);
        if wanting.is_empty() {
            self.wanting.remove(service);
        }
        let now = self.candidate(service);
        if before == now {
            return;
        }
        differ.insert(service.clone());
        let gone = before.map(|before| self.slots.remove(&before)).unwrap_or_default();
        let come = now.map(|now| self.slots.insert(now)).unwrap_or_default();
        differ.extend(gone.into_iter().chain(come).map(|candidate| candidate.service));
    }

    fn candidate(&self, service: &NamespacedHostname) -> Option<Candidate> {
        let (age, _) = self.wanting.get(service)?.first()?;
        Some(Candidate::new(*age, service))
    }
}

/// The object whose wishes hang on an object. A service of the cluster set goes by its export, whether there is one or
/// not.
fn owner(id: &ObjectId) -> Option<ObjectId> {
    match id.kind {
        Kind::ServiceEntry => Some(id.clone()),
        Kind::Service | Kind::ServiceExport | Kind::ServiceImport => {
            Some(ObjectId { kind: Kind::ServiceExport, name: id.name.clone() })
        }
        _ => None,
    }
}

fn wishes(world: &World, id: &ObjectId) -> Wishes {
    if id.kind != Kind::ServiceEntry {
        let Some(age) = clusterset::wants_address(world, &id.name) else { return Wishes::default() };
        return Wishes { age, services: clusterset::key(&id.name).into_iter().collect(), taken: BTreeSet::new() };
    }
    let Some((_, entry)) = world.service_entries.get(&id.name) else { return Wishes::default() };
    let namespace = entry.metadata.namespace.as_str();
    let hosts = entry.spec.hosts.iter().filter(|host| is_automatic(entry, host));
    let services = hosts.filter_map(|host| Some(NamespacedHostname::new(namespace, Hostname::parse(host).ok()?)));
    // A range takes nothing: the exact address counts before it.
    let taken = entry.spec.addresses.iter().filter_map(|text| {
        let whole = || text.parse::<IpNet>().ok().filter(|range| range.prefix_len() == range.max_prefix_len());
        number(text.parse::<IpAddr>().ok().or_else(|| whole().map(|range| range.addr()))?)
    });
    Wishes { age: entry.metadata.created(), services: services.collect(), taken: taken.collect() }
}

/// Whether a host of a ServiceEntry is to have automatic addresses: it has none of its own, can be looked up as a name,
/// and its endpoints are found by something else than the address.
pub(crate) fn is_automatic(entry: &ServiceEntry, host: &str) -> bool {
    let is_refused = entry.metadata.labels.get(ENABLE).is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let is_found_by_address = entry.spec.resolution.as_deref().unwrap_or("NONE") == "NONE";
    entry.spec.addresses.is_empty() && !is_found_by_address && !is_refused && !host.starts_with('*')
}

/// The number of an address, if it is one of these.
fn number(address: IpAddr) -> Option<u32> {
    let number = match address.to_canonical() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(V4 + 1)?,
        IpAddr::V6(ip) => u32::try_from(ip.to_bits().checked_sub(V6 + 1)?).ok()?,
    };
    (number < SLOTS).then_some(number)
}
