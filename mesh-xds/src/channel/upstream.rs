//! A cluster at work: its balancer, and the transports to its endpoints.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::balance::{Assignment, Balancer, Cluster, Pick, PickError, Request, Setup, Tunnel};
use parking_lot::Mutex;

use super::connect::{AnyTransport, Dial, Target};
use crate::client::BoxTransport;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long an endpoint that could not be reached is passed over, if there are others. gRPC begins with as long a pause.
const SET_ASIDE: Duration = Duration::from_secs(1);

/// How often it is picked again when an endpoint that is set aside is picked.
const PICKS: u32 = 8;

/// Makes transports, with their type forgotten.
pub(super) type Dialer = Arc<dyn Fn(Target<'_>) -> Result<Arc<dyn AnyTransport>, BoxError> + Send + Sync>;

pub(super) fn dialer<D: Dial>(dial: D) -> Dialer {
    Arc::new(move |target| Ok(Arc::new(Mutex::new(dial.dial(target)?))))
}

/// A cluster that calls are sent to.
pub(super) enum Upstream {
    /// One with endpoints.
    Endpoints(Endpoints),
    /// Others, the most important first.
    Aggregate(Vec<Arc<Self>>),
}

/// A cluster with endpoints.
pub(super) struct Endpoints {
    balancer: Balancer,
    authority: Arc<str>,
    dialer: Dialer,
    state: Mutex<State>,
}

struct State {
    cluster: Arc<Cluster>,
    assignment: Arc<Assignment>,
    transports: HashMap<SocketAddr, Arc<dyn AnyTransport>>,
    aside: HashMap<SocketAddr, Instant>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoints(endpoints) => {
                f.debug_tuple("Endpoints").field(&endpoints.state.lock().cluster.name).finish()
            }
            Self::Aggregate(members) => f.debug_tuple("Aggregate").field(members).finish(),
        }
    }
}

/// An endpoint for one attempt.
pub(super) struct Picked<'a> {
    pub(super) pick: Pick,
    pub(super) from: &'a Endpoints,
}

impl Upstream {
    /// An endpoint for a call. Of an aggregate, from the first cluster that has one.
    pub(super) fn pick(&self, request: &Request<'_>, now: Instant) -> Result<Picked<'_>, PickError> {
        match self {
            Self::Endpoints(endpoints) => endpoints.pick(request, now),
            Self::Aggregate(members) => {
                let mut last = PickError::NoEndpoints;
                for member in members {
                    match member.pick(request, now) {
                        Err(error) if error.is_absence() => last = error,
                        decided => return decided,
                    }
                }
                Err(last)
            }
        }
    }
}

impl Endpoints {
    pub(super) fn new(cluster: Arc<Cluster>, assignment: Arc<Assignment>, authority: Arc<str>, dialer: Dialer) -> Self {
        let setup = Setup { seed: fastrand::u64(..), ..Setup::default() };
        let balancer = Balancer::new(Arc::clone(&cluster), &assignment, setup, now());
        let state = State { cluster, assignment, transports: HashMap::new(), aside: HashMap::new() };
        Self { balancer, authority, dialer, state: Mutex::new(state) }
    }

    pub(super) fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Goes on with another version of the cluster, or other endpoints. Transports to endpoints that stay are kept, unless
    /// they are to be made in another way.
    pub(super) fn update(&self, cluster: &Arc<Cluster>, assignment: &Arc<Assignment>) {
        let mut state = self.state.lock();
        if Arc::ptr_eq(&state.cluster, cluster) && Arc::ptr_eq(&state.assignment, assignment) {
            return;
        }
        let made =
            |cluster: &Cluster| (cluster.connect_timeout, cluster.tls.clone(), cluster.transport_matches.clone());
        if made(&state.cluster) != made(cluster) {
            state.transports.clear();
        }
        let tunnels = |assignment: &Assignment| -> HashMap<SocketAddr, Option<Tunnel>> {
            assignment.endpoints().map(|endpoint| (endpoint.address, endpoint.tunnel.clone())).collect()
        };
        let (before, there) = (tunnels(&state.assignment), tunnels(assignment));
        state.transports.retain(|at, _| there.get(at).is_some_and(|tunnel| before.get(at) == Some(tunnel)));
        state.aside.retain(|address, _| there.contains_key(address));
        state.cluster = Arc::clone(cluster);
        state.assignment = Arc::clone(assignment);
        drop(state);
        self.balancer.update(Arc::clone(cluster), assignment, now());
    }

    fn pick(&self, request: &Request<'_>, now: Instant) -> Result<Picked<'_>, PickError> {
        let mut rng = fastrand::Rng::new();
        let mut request = *request;
        let mut picked = self.balancer.pick(&request, &mut rng, now)?;
        for _ in 1..PICKS {
            if !self.is_aside(picked.address(), now) {
                break;
            }
            // Consistent hashing goes on to the next endpoint.
            request.attempt += 1;
            picked = self.balancer.pick(&request, &mut rng, now)?;
        }
        Ok(Picked { pick: picked, from: self })
    }

    fn is_aside(&self, address: SocketAddr, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.aside.get(&address) {
            Some(until) if *until > now => true,
            Some(_) => {
                state.aside.remove(&address);
                false
            }
            None => false,
        }
    }

    /// The endpoint could not be reached.
    pub(super) fn set_aside(&self, address: SocketAddr, now: Instant) {
        self.state.lock().aside.insert(address, now + SET_ASIDE);
    }

    /// The transport to an endpoint.
    pub(super) fn transport(&self, pick: &Pick) -> Result<BoxTransport, BoxError> {
        let address = pick.address();
        let mut state = self.state.lock();
        if let Some(transport) = state.transports.get(&address) {
            return Ok(transport.transport());
        }
        let (tls, timeout) = (state.cluster.tls_of(pick.endpoint()), state.cluster.connect_timeout);
        let tunnel = pick.endpoint().tunnel.as_ref();
        let transport = (self.dialer)(Target { address, authority: &self.authority, tls, tunnel, timeout })?;
        let boxed = transport.transport();
        state.transports.insert(address, transport);
        Ok(boxed)
    }
}

/// Balancing goes by the monotonic clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
