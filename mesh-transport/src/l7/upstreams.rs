use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::balance::{self, Assignment, Balancer, Circuit, Cluster, Endpoint, Pick, PickError};
use mesh_core::config::{Clusters, Upstream as Configured};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::Text;
use mesh_core::resilience::{SendError, SendFailure, Upstream, Upstreams};
use mesh_core::tls::UpstreamTls;
use mesh_identity::task::Tasks;

use tower::Service;

use super::{BoxError, Connect, Target};
use crate::health::{HealthChecks, ProbeTarget};
use crate::http::{self as transport, Body, Client, ClientSettings, Counting, Transport};

/// The clusters of a proxy, with the connections to their endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClustersAtWork {
    live: Live<BTreeMap<Text, Arc<ClusterAtWork>>>,
}

/// A cluster, with the connections to its endpoints.
#[derive(Debug)]
pub struct ClusterAtWork {
    upstream: Arc<Configured>,
    /// One per cluster with endpoints: its own, or those of its members.
    leaves: BTreeMap<Text, Arc<Leaf>>,
}

/// Connections to the endpoints of one cluster.
#[derive(Debug)]
struct Leaf {
    client: Client<SocketAddr>,
    connector: Connector,
    made: Made,
    balancer: Balancer,
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

/// Puts clusters to work as they change.
pub(super) struct Works {
    connect: Arc<dyn Connect>,
    tasks: Tasks,
    leaves: BTreeMap<Text, Arc<Leaf>>,
    /// By the cluster whose endpoints are probed.
    checks: BTreeMap<Text, HealthChecks>,
    publisher: Publisher<BTreeMap<Text, Arc<ClusterAtWork>>>,
}

impl Works {
    pub(super) fn new(connect: Arc<dyn Connect>, tasks: Tasks) -> (Self, ClustersAtWork) {
        let (publisher, live) = Publisher::new(BTreeMap::new());
        (Self { connect, tasks, leaves: BTreeMap::new(), checks: BTreeMap::new(), publisher }, ClustersAtWork { live })
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
        let Self { leaves, checks, .. } = self;
        checks.retain(|name, _| leaves.contains_key(name));
        self.publisher.publish(works);
    }

    /// Has the endpoints of a cluster probed, if it says so.
    fn check(&mut self, cluster: &Arc<Cluster>, assignment: &Assignment, leaf: &Leaf) {
        match self.checks.get(&cluster.name) {
            _ if cluster.health_checks.is_empty() => drop(self.checks.remove(&cluster.name)),
            Some(checks) => checks.update(&cluster.health_checks, assignment),
            None => {
                let connector = Prober(leaf.connector.clone());
                let started = HealthChecks::start(leaf.balancer.clone(), cluster, assignment, connector, &self.tasks);
                self.checks.extend(started.map(|checks| (cluster.name.clone(), checks)));
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
                let name = &cluster.name;
                if !self.leaves.contains_key(name) {
                    let made = Made::of(cluster);
                    let kept = before.remove(name).filter(|leaf| leaf.made == made);
                    let leaf = kept.unwrap_or_else(|| Arc::new(self.leaf(cluster, balancer, made)));
                    let there: HashSet<SocketAddr> = assignment.endpoints().map(|endpoint| endpoint.address).collect();
                    leaf.client.retain(|address| there.contains(address));
                    self.check(cluster, assignment, &leaf);
                    self.leaves.insert(name.clone(), leaf);
                }
                if let Some(leaf) = self.leaves.get(name) {
                    leaves.insert(name.clone(), Arc::clone(leaf));
                }
            }
            Configured::Aggregate(members) => {
                members.iter().for_each(|member| self.collect(member, before, leaves));
            }
            Configured::OriginalDestination(_) => {}
        }
    }

    fn leaf(&self, cluster: &Arc<Cluster>, balancer: &Balancer, made: Made) -> Leaf {
        let connector =
            Connector { connect: Arc::clone(&self.connect), cluster: Arc::clone(cluster), balancer: balancer.clone() };
        let client = Client::new(connector.clone(), made.settings, balancer.circuit(), self.tasks.clone());
        Leaf { client, connector, made, balancer: balancer.clone() }
    }
}

/// Connects to endpoints of one cluster, to probe them.
#[derive(Clone)]
struct Prober(Connector);

impl Service<ProbeTarget> for Prober {
    type Response = Box<dyn Transport>;
    type Error = BoxError;
    type Future = super::connect::Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: ProbeTarget) -> Self::Future {
        self.0.reach(target.address, Some(&target.endpoint))
    }
}

/// Connects to endpoints of one cluster, by their addresses.
#[derive(Clone)]
struct Connector {
    connect: Arc<dyn Connect>,
    cluster: Arc<Cluster>,
    balancer: Balancer,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("cluster", &self.cluster.name).finish_non_exhaustive()
    }
}

impl Service<SocketAddr> for Connector {
    type Response = Box<dyn Transport>;
    type Error = BoxError;
    type Future = super::connect::Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: SocketAddr) -> Self::Future {
        self.reach(address, self.balancer.endpoint(address).as_ref())
    }
}

impl Connector {
    fn reach(&self, address: SocketAddr, endpoint: Option<&Endpoint>) -> super::connect::Connecting {
        let hostname = endpoint.map(|endpoint| endpoint.hostname.clone()).unwrap_or_default();
        let tls = match endpoint {
            Some(endpoint) => self.cluster.tls_of(endpoint),
            None => self.cluster.tls.as_ref(),
        };
        let tls = tls.map(|tls| Arc::new(tls.clone()));
        let tunnel = endpoint.and_then(|endpoint| endpoint.tunnel.clone());
        self.connect.connect(Target { address, hostname, cluster: self.cluster.name.clone(), tls, tunnel })
    }
}

impl ClustersAtWork {
    /// The cluster of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<ClusterAtWork>> {
        self.live.load().get(name).map(Arc::clone)
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
    pub(super) async fn connect(&self, pick: &Pick) -> Result<Box<dyn Transport>, BoxError> {
        let leaf = self.leaves.get(&pick.cluster().name).ok_or("the cluster is gone")?;
        let dialled = leaf.connector.clone().call(pick.address());
        tokio::time::timeout(pick.cluster().connect_timeout, dialled).await.map_err(|_| "no connection in time")?
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
            let sent = leaf.client.send(&address, limits, request).await;
            sent.map_err(|failed| to_send_error(failed.error))
        })
    }
}

fn to_send_error(error: transport::SendError) -> SendError {
    use transport::SendError as From;
    let failure = match &error {
        From::Overflow(_) => SendFailure::Overflow,
        From::Connect(_) => SendFailure::Connect,
        From::ConnectTimeout => SendFailure::ConnectTimeout,
        From::Refused(_) => SendFailure::Refused,
        From::Reset { sent, by_stream: true, .. } => SendFailure::Reset { sent: *sent },
        From::Reset { sent, by_stream: false, .. } => SendFailure::Closed { sent: *sent },
        From::Protocol(_) => SendFailure::Protocol,
        _ => SendFailure::Local,
    };
    SendError::new(failure, error)
}
