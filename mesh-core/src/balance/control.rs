use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::assignment::{Assignment, Endpoint, Health};
use super::balancer::{Inner, Probed, Probing, Setup};
use super::circuit::Circuit;
use super::cluster::Cluster;
use super::load::Track;
use super::member::Member;
use super::outlier::Detector;
use super::snapshot::Snapshot;
use super::spread::{Condition, Place, Terms};
use super::zone::Local;
use crate::name::Locality;

/// What changes seldom, and all that decides what changes.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) cluster: Arc<Cluster>,
    pub(super) local: Option<Local>,
    /// Without its endpoints, which are in `places`.
    assignment: Assignment,
    places: Vec<OwnedPlace>,
    pub(super) known: HashMap<SocketAddr, Known>,
    pub(super) detector: Option<Detector>,
    probing: Probing,
    epoch: Instant,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct OwnedPlace {
    locality: Arc<Locality>,
    priority: u32,
    weight: u32,
    members: Vec<(Arc<Member>, Condition)>,
}

impl OwnedPlace {
    fn view(&self) -> Place<'_> {
        Place { locality: &self.locality, priority: self.priority, weight: self.weight, members: &self.members }
    }
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) track: Arc<Track>,
    pub(super) probed: Option<Probed>,
}

impl Control {
    /// Without endpoints.
    pub(super) fn new(cluster: Arc<Cluster>, setup: Setup, now: Instant) -> Self {
        Self {
            assignment: Assignment::new(cluster.name.clone(), Vec::new()),
            cluster,
            local: None,
            places: Vec::new(),
            known: HashMap::new(),
            detector: None,
            probing: setup.probing,
            epoch: now,
            rng: fastrand::Rng::with_seed(setup.seed),
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.places.iter().flat_map(|place| &place.members).map(|(member, _)| member)
    }

    pub(super) fn replace(&mut self, inner: &Arc<Inner>, cluster: Arc<Cluster>, assignment: &Assignment, now: Instant) {
        let mut before = std::mem::take(&mut self.known);
        self.places.clear();
        for locality in &assignment.localities {
            let place = Arc::new(locality.locality.clone());
            let mut member = |endpoint: &Endpoint| {
                let address = endpoint.address;
                let new = || Known { track: Arc::new(Track::new(self.epoch, now)), probed: None };
                let stays = before.remove(&address);
                let known = self.known.entry(address).or_insert_with(|| stays.unwrap_or_else(new));
                let member = Member {
                    endpoint: endpoint.clone(),
                    locality: Arc::clone(&place),
                    priority: locality.priority,
                    track: Arc::clone(&known.track),
                    cluster: Arc::clone(&cluster),
                    balancer: Arc::downgrade(inner),
                };
                (Arc::new(member), Condition::Unhealthy)
            };
            let members = locality.endpoints.iter().map(&mut member).collect();
            let weight = locality.weight.map_or(0, |weight| weight.get());
            self.places.push(OwnedPlace { locality: place, priority: locality.priority, weight, members });
        }
        self.places.sort_by_key(|place| place.priority);
        self.assignment = Assignment { localities: Vec::new(), ..assignment.clone() };
        self.replace_detector(&cluster, now);
        self.cluster = cluster;
    }

    fn replace_detector(&mut self, cluster: &Cluster, now: Instant) {
        let Some(settings) = cluster.outlier.clone() else {
            self.detector = None;
            return;
        };
        match &mut self.detector {
            Some(detector) if cluster.outlier != self.cluster.outlier => detector.handle_settings(settings, now),
            Some(_) => {}
            None => self.detector = Some(Detector::new(settings, self.rng.u64(..), now)),
        }
        if let Some(detector) = &mut self.detector {
            detector.handle_endpoints(self.known.iter().map(|(at, known)| (*at, Arc::clone(&known.track.monitor))));
        }
    }

    pub(super) fn snapshot(&mut self, circuit: Circuit) -> Snapshot {
        let mut places = std::mem::take(&mut self.places);
        for (member, condition) in places.iter_mut().flat_map(|place| &mut place.members) {
            *condition = self.condition(member);
        }
        self.places = places;
        let places: Vec<_> = self.places.iter().map(OwnedPlace::view).collect();
        let terms = Terms {
            cluster: &self.cluster,
            localities: self.cluster.localities,
            local: self.local.as_ref(),
            factor: self.assignment.overprovisioning_factor.get(),
            by_weight: self.assignment.weighted_priority_health,
        };
        Snapshot::new(&places, terms, &self.assignment.drops, circuit, &mut self.rng)
    }

    fn condition(&self, member: &Member) -> Condition {
        let probed = match self.probing {
            Probing::Active if !self.cluster.health_checks.is_empty() && !member.endpoint.probe.disabled => {
                self.known.get(&member.address()).and_then(|known| known.probed)
            }
            _ => Some(Probed::Passing),
        };
        if self.is_ejected(member.address()) || probed == Some(Probed::Failing) {
            return Condition::Unhealthy;
        }
        match member.endpoint.health {
            Health::Unhealthy | Health::Draining | Health::Timeout => Condition::Unhealthy,
            _ if probed.is_none() && self.cluster.ignore_unchecked => Condition::Excluded,
            _ if probed.is_none() => Condition::Unhealthy,
            Health::Degraded => Condition::Degraded,
            _ if probed == Some(Probed::Degraded) => Condition::Degraded,
            Health::Unknown | Health::Healthy => Condition::Healthy,
        }
    }

    pub(super) fn is_ejected(&self, address: SocketAddr) -> bool {
        self.detector.as_ref().is_some_and(|detector| detector.is_ejected(address))
    }
}
