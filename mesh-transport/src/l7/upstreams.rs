use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, Request, Response, Version};
use mesh_core::balance::{
    self, Assignment, Balancer, Circuit, Cluster, ConnectionGuard, Endpoint, HttpProtocol, Pick, PickError,
};
use mesh_core::config::{Clusters, Upstream as Configured};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::Text;
use mesh_core::resilience::{SendError, SendFailure, Upstream, Upstreams};
use mesh_core::tls::UpstreamTls;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Credentials;
use parking_lot::Mutex;
use tower::Service;

use super::dial::{Connector, Prober, Reach};
use super::{BoxError, ClusterClient, Connect};
use crate::health::HealthChecks;
use crate::http::{Body, Client, ClientSettings, Counting, Transport};

/// By this header of a response an endpoint says that it fails its health checks from now on. It is passed on, as Envoy does.
const FAILS: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// The clusters of a proxy, with the connections to their endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClustersAtWork {
    live: Live<BTreeMap<Text, Arc<ClusterAtWork>>>,
    tasks: Tasks,
}

/// A cluster, with the connections to its endpoints.
#[derive(Debug)]
pub struct ClusterAtWork {
    upstream: Arc<Configured>,
    /// One per cluster with endpoints: its own, or those of its members.
    leaves: BTreeMap<Text, Arc<Leaf>>,
}

/// There is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Its cluster has been taken away.
    #[error("the cluster is gone")]
    Gone,
    /// There are as many as there may be, to the cluster or to the endpoint.
    #[error("too many connections")]
    Overflow,
    /// None came about in time.
    #[error("no connection in time")]
    Timeout,
    /// None came about.
    #[error("no connection")]
    Unreachable(#[source] BoxError),
}

/// Connections to the endpoints of one cluster.
#[derive(Debug)]
struct Leaf {
    client: Client<Reach>,
    connector: Connector,
    made: Made,
    balancer: Balancer,
    /// The probes of its endpoints, if the cluster wants them.
    checks: Mutex<Option<HealthChecks>>,
    /// The endpoints that there are connections to.
    assignment: Mutex<Option<Arc<Assignment>>>,
}

fn by_address(assignment: &Assignment) -> HashMap<SocketAddr, &Endpoint> {
    assignment.endpoints().map(|endpoint| (endpoint.address, endpoint)).collect()
}

/// Whether a connection to the one serves for the other, which has the same address.
fn is_reached_alike(one: &Endpoint, other: &Endpoint) -> bool {
    let Endpoint { tunnel, hostname, transport_labels, .. } = one;
    *tunnel == other.tunnel && *hostname == other.hostname && *transport_labels == other.transport_labels
}

/// What the connections of a cluster are made by: if it changes, they are made anew.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    settings: ClientSettings,
    circuit: balance::CircuitSettings,
    tls: Option<UpstreamTls>,
    matches: Vec<balance::TransportMatch>,
}

impl Made {
    fn of(cluster: &Cluster) -> Self {
        Self {
            settings: ClientSettings { counting: Counting::ByCaller, ..ClientSettings::of(cluster) },
            circuit: cluster.circuit,
            tls: cluster.tls.clone(),
            matches: cluster.transport_matches.clone(),
        }
    }
}

impl Leaf {
    /// What is spoken with an endpoint about a request of this version.
    fn spoken(&self, version: Version) -> HttpProtocol {
        match (self.made.settings.protocol, version) {
            (HttpProtocol::Downstream, Version::HTTP_2) => HttpProtocol::Http2,
            (HttpProtocol::Downstream, _) => HttpProtocol::Http1,
            (protocol, _) => protocol,
        }
    }

    /// Keeps the connections to endpoints that are reached as before: under the address of another, who must prove to be
    /// another, requests do not go to who was there.
    fn keep(&self, assignment: &Arc<Assignment>) {
        let before = self.assignment.lock().replace(Arc::clone(assignment));
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, assignment)) {
            return;
        }
        let now = by_address(assignment);
        let before = before.as_deref().map(by_address).unwrap_or_default();
        self.client.retain(|reach| {
            let (now, before) = (now.get(&reach.address), before.get(&reach.address));
            now.is_some_and(|now| before.is_none_or(|before| is_reached_alike(before, now)))
        });
    }

    /// An endpoint says that it fails. Where nobody probes, nobody would find out that it is back: then it goes on.
    fn fail(&self, endpoint: SocketAddr) {
        if let Some(checks) = &*self.checks.lock() {
            checks.handle_immediate_failure(endpoint);
        }
    }
}

/// Puts clusters to work as they change.
pub(super) struct Works {
    connect: Arc<dyn Connect>,
    credentials: Credentials,
    tasks: Tasks,
    leaves: BTreeMap<Text, Arc<Leaf>>,
    publisher: Publisher<BTreeMap<Text, Arc<ClusterAtWork>>>,
}

impl Works {
    pub(super) fn new(connect: Arc<dyn Connect>, credentials: Credentials, tasks: Tasks) -> (Self, ClustersAtWork) {
        let (publisher, live) = Publisher::new(BTreeMap::new());
        let clusters = ClustersAtWork { live, tasks: tasks.clone() };
        (Self { connect, credentials, tasks, leaves: BTreeMap::new(), publisher }, clusters)
    }

    /// Goes on with these clusters. Connections to endpoints that stay are kept.
    pub(super) fn update(&mut self, clusters: &Clusters) {
        let mut before = std::mem::take(&mut self.leaves);
        let mut works = BTreeMap::new();
        for (name, upstream) in clusters {
            let mut leaves = BTreeMap::new();
            self.collect(upstream, &mut before, &mut leaves);
            works.insert(name.clone(), Arc::new(ClusterAtWork { upstream: Arc::clone(upstream), leaves }));
        }
        self.publisher.publish(works);
        // Requests may hold on to what is gone; nobody has to know any more how its endpoints are.
        before.values().for_each(|leaf| drop(leaf.checks.lock().take()));
    }

    /// Has the endpoints of a cluster probed, if it says so.
    fn check(&self, cluster: &Arc<Cluster>, assignment: &Assignment, leaf: &Leaf) {
        let mut checks = leaf.checks.lock();
        match &*checks {
            _ if cluster.health_checks.is_empty() => *checks = None,
            Some(checks) => checks.update(&cluster.health_checks, assignment),
            None => {
                let connector = Prober(leaf.connector.clone());
                *checks = HealthChecks::start(leaf.balancer.clone(), cluster, assignment, connector, &self.tasks);
            }
        }
    }

    fn collect(
        &mut self,
        upstream: &Configured,
        before: &mut BTreeMap<Text, Arc<Leaf>>,
        leaves: &mut BTreeMap<Text, Arc<Leaf>>,
    ) {
        match upstream {
            Configured::Endpoints { cluster, assignment, balancer } => {
                let leaf = self.leaf(cluster, balancer, before);
                leaf.keep(assignment);
                self.check(cluster, assignment, &leaf);
                leaves.insert(cluster.name.clone(), leaf);
            }
            Configured::Aggregate(members) => {
                members.iter().for_each(|member| self.collect(member, before, leaves));
            }
            Configured::OriginalDestination(original) => {
                let leaf = self.leaf(original.cluster(), original.balancer(), before);
                leaves.insert(original.cluster().name.clone(), leaf);
            }
        }
    }

    /// The connections of a cluster: those there are, if they are made as they must be.
    fn leaf(
        &mut self,
        cluster: &Arc<Cluster>,
        balancer: &Balancer,
        before: &mut BTreeMap<Text, Arc<Leaf>>,
    ) -> Arc<Leaf> {
        let name = &cluster.name;
        if let Some(leaf) = self.leaves.get(name) {
            return Arc::clone(leaf);
        }
        let made = Made::of(cluster);
        let leaf = match before.entry(name.clone()) {
            Entry::Occupied(leaf) if leaf.get().made == made && leaf.get().balancer.is(balancer) => leaf.remove(),
            _ => Arc::new(self.connections(cluster, balancer, made)),
        };
        self.leaves.insert(name.clone(), Arc::clone(&leaf));
        leaf
    }

    fn connections(&self, cluster: &Arc<Cluster>, balancer: &Balancer, made: Made) -> Leaf {
        let connector =
            Connector::new(Arc::clone(&self.connect), &self.credentials, Arc::clone(cluster), balancer.clone());
        let (circuit, admits) = (balancer.circuit().of_picked(), balancer.clone());
        let admit = move |to: &Reach, priority| admits.try_connection(to.address, priority);
        let client = Client::admitted(connector.clone(), made.settings, circuit, admit, self.tasks.clone());
        Leaf {
            client,
            connector,
            made,
            balancer: balancer.clone(),
            checks: Mutex::default(),
            assignment: Mutex::default(),
        }
    }
}

impl ClustersAtWork {
    /// The cluster of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<ClusterAtWork>> {
        self.live.load().get(name).map(Arc::clone)
    }

    /// Where work goes on that requests leave behind.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Sends requests of our own to the cluster of this name, whether or not it is known yet.
    #[must_use]
    pub fn client(&self, cluster: &str) -> ClusterClient {
        ClusterClient::new(cluster, self)
    }

    /// All clusters, by name.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<Text, Arc<ClusterAtWork>>> {
        self.live.snapshot()
    }
}

impl ClusterAtWork {
    /// The endpoints.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Configured> {
        &self.upstream
    }

    /// A connection of its own to an endpoint.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub(super) async fn connect(&self, pick: &Pick) -> Result<(Box<dyn Transport>, ConnectionGuard), ConnectError> {
        let leaf = self.leaves.get(&pick.cluster().name).ok_or(ConnectError::Gone)?;
        let admitted = leaf.balancer.try_connection(pick.address(), pick.limits()).ok_or(ConnectError::Overflow)?;
        let dialled = leaf.connector.clone().call(Reach { address: pick.address(), protocol: None });
        let dialled = tokio::time::timeout(pick.cluster().connect_timeout, dialled);
        let stream = dialled.await.map_err(|_| ConnectError::Timeout)?.map_err(ConnectError::Unreachable)?;
        Ok((stream, admitted))
    }

    /// How many connections there are to its endpoints.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.leaves.values().map(|leaf| leaf.client.connections()).sum()
    }
}

impl<B> Upstreams<B> for ClustersAtWork
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Upstream = Picking;

    fn upstream(&self, cluster: &str) -> Option<Picking> {
        self.get(cluster).map(Picking)
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send>>;

/// A cluster that requests are forwarded to.
#[derive(Debug, Clone)]
pub struct Picking(Arc<ClusterAtWork>);

impl<B> Upstream<B> for Picking
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = Body;
    type Sending = Sending;

    fn pick(&self, request: &balance::Request<'_>, now: Instant) -> Result<Pick, PickError> {
        self.0.upstream.pick(request, &mut fastrand::Rng::new(), now).map(|(pick, _)| pick)
    }

    fn circuit(&self, pick: &Pick) -> Circuit {
        match self.0.leaves.get(&pick.cluster().name) {
            Some(leaf) => leaf.balancer.circuit(),
            None => Circuit::new(pick.cluster().circuit),
        }
    }

    // Boxed twice: the body, because connections are shared by requests of all kinds; the future, because its type cannot
    // be named.
    fn send(&self, pick: &Pick, request: Request<B>) -> Sending {
        let leaf = self.0.leaves.get(&pick.cluster().name).map(Arc::clone);
        let (address, limits, request) = (pick.address(), pick.limits(), request.map(Body::new));
        Box::pin(async move {
            let Some(leaf) = leaf else { return Err(SendFailure::Local.into()) };
            let to = Reach { address, protocol: Some(leaf.spoken(request.version())) };
            let sent = leaf.client.send(&to, limits, request).await;
            let response = sent.map_err(|failed| SendError::new(failed.error.failure(), failed.error))?;
            if response.headers().contains_key(FAILS) {
                leaf.fail(address);
            }
            Ok(response)
        })
    }
}
