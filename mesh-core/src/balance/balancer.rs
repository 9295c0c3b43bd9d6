use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::assignment::{Assignment, Endpoint, Health};
use super::circuit::Circuit;
use super::cluster::Cluster;
use super::connection::ConnectionGuard;
use super::control::Control;
use super::member::Member;
use super::outlier::{Change, Detection, Detector};
use super::pick::{Pick, PickError, Request};
use super::picker::Ask;
use super::snapshot::Snapshot;
use super::zone::{Local, LocalCluster};
use crate::name::Locality;
use crate::route::Priority;

/// Picks endpoints of a cluster, from many tasks at once; clones share everything.
///
/// A pick waits for nobody (but for the order of endpoints of unequal weight, and of localities that are weighted) and
/// allocates nothing. What changes who takes part (a new assignment, an ejection, the result of a check) makes a new
/// snapshot beside the old one.
///
/// An endpoint keeps what is known of it (requests in flight, latency, ejection, since when it is there) as long as its
/// address is in the assignment.
#[derive(Debug, Clone)]
pub struct Balancer {
    inner: Arc<Inner>,
}

/// How a balancer is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setup {
    /// Seed of the draws that are not made with a generator handed in: enforcement, jitter, orders.
    pub seed: u64,
    /// Whether somebody probes the endpoints.
    pub probing: Probing,
}

/// Whether somebody probes the endpoints of a cluster and says so to [`Balancer::handle_probes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probing {
    /// Nobody does: endpoints are as healthy as the control plane says.
    #[default]
    Absent,
    /// Somebody does: an endpoint is unhealthy until it has passed, if the cluster has health checks.
    Active,
}

/// What a probe says of an endpoint, after its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probed {
    /// Healthy.
    Passing,
    /// Healthy, and says that it is degraded: used when there are not enough others.
    Degraded,
    /// Unhealthy.
    Failing,
}

/// An endpoint as it is seen now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Where it is.
    pub address: SocketAddr,
    /// The locality of the endpoint.
    pub locality: Arc<Locality>,
    /// The priority of the endpoint.
    pub priority: u32,
    /// What the control plane says.
    pub health: Health,
    /// What its last probe said.
    pub probed: Option<Probed>,
    /// Whether it is ejected for what it answered.
    pub ejected: bool,
    /// Requests in flight.
    pub active: u32,
}

impl Balancer {
    /// A balancer of the endpoints that are assigned to a cluster.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, assignment: &Assignment, setup: Setup, now: Instant) -> Self {
        let circuit = Circuit::new(cluster.circuit);
        let mut control = Control::new(Arc::clone(&cluster), setup, now);
        let empty = control.snapshot(circuit);
        let inner = Inner {
            snapshot: ArcSwap::from_pointee(empty),
            control: Mutex::new(control),
            used: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        };
        let balancer = Self { inner: Arc::new(inner) };
        balancer.update(cluster, assignment, now);
        balancer
    }

    /// Goes on with another version of the cluster, or other endpoints.
    pub fn update(&self, cluster: Arc<Cluster>, assignment: &Assignment, now: Instant) {
        let mut control = self.inner.control();
        control.replace(&self.inner, cluster, assignment, now);
        self.inner.publish(&mut control);
        self.inner.generation.fetch_add(1, Relaxed);
    }

    /// Says where the one who balances is, and who does the same beside it, so that requests can stay in their zone
    /// ([`Localities::ZoneAware`](super::Localities)). Without, they go everywhere.
    pub fn set_local_cluster(&self, local: Option<&LocalCluster>) {
        let mut control = self.inner.control();
        control.local = local.map(Local::new);
        self.inner.publish(&mut control);
    }

    /// An endpoint for a request.
    ///
    /// # Errors
    ///
    /// Without one, says why; see [`PickError`].
    pub fn pick(&self, request: &Request<'_>, rng: &mut fastrand::Rng, now: Instant) -> Result<Pick, PickError> {
        // Read first: in the usual case nobody has to own the cache line.
        if !self.inner.used.load(Relaxed) {
            self.inner.used.store(true, Relaxed);
        }
        let snapshot = self.inner.snapshot.load();
        if let Some(drop) = snapshot.dropped(rng) {
            return Err(PickError::Dropped { category: drop.category.clone() });
        }
        let hash = request.hash.filter(|_| snapshot.hashes).unwrap_or_else(|| rng.u64(..));
        let active = snapshot.circuit.requests();
        let avoided = request.avoided_priorities;
        let mut ask = Ask { hash, attempt: request.attempt, avoided, now, active, rng };
        let preferred = request.preferred.map(|preferred| (preferred, snapshot.healthy(preferred.address)));
        let member = match preferred {
            Some((_, Some(member))) => member,
            Some((preferred, None)) if preferred.strict => return Err(PickError::NoHealthyEndpoint),
            _ => snapshot.choose(request.subset, &mut ask)?,
        };
        let admitted = snapshot.circuit.try_request(request.priority, now).ok_or(PickError::CircuitOpen)?;
        Ok(Pick::new(Arc::clone(member), admitted, request.priority, now))
    }

    /// Admits a new connection to an endpoint, by the limits of the cluster and of the endpoint
    /// ([`CircuitSettings::max_connections_per_endpoint`](super::CircuitSettings)).
    pub fn try_connection(&self, endpoint: SocketAddr, priority: Priority) -> Option<ConnectionGuard> {
        let of_cluster = self.circuit().try_connection(priority)?;
        let control = self.inner.control();
        let limit = control.cluster.circuit.max_connections_per_endpoint;
        ConnectionGuard::try_new(&control.known.get(&endpoint)?.track, limit, of_cluster)
    }

    /// Says what probes said. Tells whose ejection this ends.
    pub fn handle_probes(&self, probes: impl IntoIterator<Item = (SocketAddr, Probed)>, now: Instant) -> Vec<Change> {
        let mut control = self.inner.control();
        let mut changes = Vec::new();
        let mut changed = false;
        for (address, probed) in probes {
            let Control { known, detector, .. } = &mut *control;
            let Some(known) = known.get_mut(&address) else { continue };
            let passes = probed != Probed::Failing;
            if known.probed.is_none() && passes {
                known.track.join(now);
            }
            changed |= known.probed.replace(probed) != Some(probed);
            if passes && let Some(detector) = detector {
                changes.extend(detector.handle_passing_check(address, now));
            }
        }
        if changed || !changes.is_empty() {
            self.inner.publish(&mut control);
        }
        changes
    }

    /// To be called at [`next_tick`](Self::next_tick) or later. Tells who was ejected and who returned.
    pub fn handle_tick(&self, now: Instant) -> Vec<Change> {
        let mut control = self.inner.control();
        let changes = control.detector.as_mut().map(|detector| detector.handle_tick(now)).unwrap_or_default();
        if !changes.is_empty() {
            self.inner.publish(&mut control);
        }
        changes
    }

    /// When [`handle_tick`](Self::handle_tick) is to be called next; never, if outlier detection is off.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        self.inner.control().detector.as_ref().map(Detector::next_tick)
    }

    /// The circuit breakers, for requests that wait, and those that are tried again. Requests in flight are counted by
    /// [`pick`](Self::pick), connections by [`try_connection`](Self::try_connection).
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.inner.snapshot.load().circuit.clone()
    }

    /// Whether an endpoint was ever asked for: before that, probes are rare ([`Checker::handle_traffic`](super::Checker)).
    #[must_use]
    pub fn has_been_used(&self) -> bool {
        self.inner.used.load(Relaxed)
    }

    /// Whether another is a clone of this one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The endpoint at an address, if it is assigned.
    #[must_use]
    pub fn endpoint(&self, address: SocketAddr) -> Option<Endpoint> {
        let control = self.inner.control();
        control.members().find(|member| member.address() == address).map(|member| member.endpoint.clone())
    }

    /// The endpoints as they are seen now.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let control = self.inner.control();
        let status = |member: &Arc<Member>| Status {
            address: member.address(),
            locality: Arc::clone(&member.locality),
            priority: member.priority,
            health: member.endpoint.health,
            probed: control.known.get(&member.address()).and_then(|known| known.probed),
            ejected: control.is_ejected(member.address()),
            active: member.track.active(),
        };
        control.members().map(status).collect()
    }
}

impl Balancer {
    pub(super) fn generation(&self) -> u64 {
        self.inner.generation.load(Relaxed)
    }

    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.inner.control().members().cloned().collect()
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    snapshot: ArcSwap<Snapshot>,
    control: Mutex<Control>,
    used: AtomicBool,
    /// How often it was updated.
    generation: AtomicU64,
}

impl Inner {
    pub(super) fn handle_detection(&self, at: SocketAddr, detection: Detection, now: Instant) -> Option<Change> {
        let mut control = self.control();
        let change = control.detector.as_mut()?.handle_detection(at, detection, now)?;
        self.publish(&mut control);
        Some(change)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the lock, so that an older snapshot never replaces a newer one.
    fn publish(&self, control: &mut Control) {
        let circuit = self.snapshot.load().circuit.with_settings(control.cluster.circuit);
        self.snapshot.store(Arc::new(control.snapshot(circuit)));
    }
}
