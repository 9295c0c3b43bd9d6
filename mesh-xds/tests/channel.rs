//! A tonic client whose servers are found by xDS: what it does with routes, clusters, endpoints, and with servers that fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mesh_core::balance::{
    Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints, OutlierSettings, PerMillion, Policy, RingHash,
};
use mesh_core::listener::{HttpManager, Listener, ListenerKind, RouteSource};
use mesh_core::name::Locality;
use mesh_core::request::{Condition, HeaderMatch};
use mesh_core::route::{
    Action, ClusterChoice, ClusterName, Forward, HashKey, HashPolicy, HeaderEdits, PathMatch, RetryOn, RetryPolicy,
    Route, RouteConfig, RouteMatch, RouteTable, Subset, VirtualHost, WeightedChoice, WeightedCluster, WeightedClusters,
};
use mesh_core::string_match::Pattern;
use mesh_xds::channel::{Channel, Plaintext};
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group};
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint as To, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const ORDER: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, Status> {
        Ok("somebody".into())
    }
}

/// A health service that says who it is, and fails as often as it is told.
#[derive(Clone, Default)]
struct Backend {
    name: &'static str,
    failures: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
    slow: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl Health for Backend {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(self.slow.load(Ordering::Relaxed).into())).await;
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.fetch_sub(1, Ordering::Relaxed);
            return Err(Status::unavailable("busy"));
        }
        let mut response = Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() });
        response.metadata_mut().insert("served-by", self.name.parse().unwrap());
        let attempts = request.metadata().get("grpc-previous-rpc-attempts").cloned();
        response.metadata_mut().insert("attempts", attempts.unwrap_or_else(|| "0".parse().unwrap()));
        Ok(response)
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

async fn backend(name: &'static str) -> (Backend, SocketAddr) {
    let backend = Backend { name, ..Backend::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(HealthServer::new(backend.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (backend, address)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

struct Mesh {
    writer: CacheWriter,
    health: HealthClient<Channel>,
}

impl Mesh {
    async fn new(variant: Variant) -> Self {
        let (writer, cache) = Cache::new(&ORDER);
        let service = Service::new(cache, Arc::new(Anyone), &ORDER);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(
            Server::builder().add_service(service.server()).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let node = Node { id: "n".into(), ..Node::default() };
        let groups = vec![Group::new(vec![ServerTraits::new("s", variant)])];
        let (client, driver) = Client::new(&node, groups, BTreeMap::new(), SystemTime::now);
        let (channel, keeper) = Channel::by_xds(&client, "shop", "shop", Plaintext, SystemTime::now);
        let connect = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            Ok((To::from_shared(format!("http://{at}"))?.connect_lazy(), MetadataMap::new()))
        };
        let stop = CancellationToken::new();
        tokio::spawn(driver.run(vec![vec![connect]], stop.clone()));
        tokio::spawn(keeper.run(stop));
        let mesh = Self { writer, health: HealthClient::new(channel) };
        let manager = HttpManager::new(RouteSource::Rds("routes".into()));
        let listener = Listener { name: "shop".into(), kind: ListenerKind::Api(Box::new(manager)) };
        mesh.put(LISTENER_TYPE, "shop", encode_listener(&listener));
        mesh
    }

    fn put(&self, url: &str, name: &str, body: Vec<u8>) {
        self.writer.apply([(url, Change::Put(name.into(), Entry::new(body, vec![])))]);
    }

    fn routes(&self, routes: Vec<Route>) {
        let host = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let config = RouteConfig { name: "routes".into(), hosts: vec![host], ..RouteConfig::default() };
        self.put(ROUTE_TYPE, "routes", encode_route_table(&RouteTable::new(config).unwrap()));
    }

    fn cluster(&self, name: &str, change: impl FnOnce(&mut Cluster), localities: Vec<LocalityEndpoints>) {
        self.assign(name, localities);
        let mut cluster = Cluster::new(name, Discovery::Eds { service_name: None });
        change(&mut cluster);
        self.put(CLUSTER_TYPE, name, encode_cluster(&cluster));
    }

    fn assign(&self, name: &str, localities: Vec<LocalityEndpoints>) {
        self.put(ENDPOINT_TYPE, name, encode_assignment(&Assignment::new(name, localities)));
    }

    async fn call(&mut self) -> Result<String, Status> {
        self.call_with(&[]).await
    }

    async fn call_with(&mut self, headers: &[(&'static str, &str)]) -> Result<String, Status> {
        let mut request = Request::new(HealthCheckRequest::default());
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let response = self.health.check(request).await?;
        let text = |name: &str| response.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        Ok(match text("attempts").as_str() {
            "0" => text("served-by"),
            attempts => format!("{} after {attempts}", text("served-by")),
        })
    }

    /// Until the answer is this one.
    async fn until(&mut self, wanted: &str) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.call().await.unwrap_or_else(|status| status.message().to_owned()) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for `{wanted}`, there is {:?}", self.call().await);
    }
}

fn at(addresses: &[SocketAddr]) -> LocalityEndpoints {
    let mut locality =
        LocalityEndpoints::new(Locality::default(), addresses.iter().map(|at| Endpoint::new(*at)).collect());
    locality.weight = NonZeroU32::new(1);
    locality
}

fn to(cluster: &str) -> Route {
    Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(Forward::to(cluster))))
}

fn retrying(cluster: &str, retries: u32) -> Route {
    let mut forward = Forward::to(cluster);
    forward.retry = Some(RetryPolicy { on: RetryOn::GRPC_UNAVAILABLE, retries, ..RetryPolicy::default() });
    Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(forward)))
}

#[tokio::test]
async fn routes_clusters_and_endpoints_are_followed() {
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let ((_, one), (_, two)) = (backend("one").await, backend("two").await);
        let mut mesh = Mesh::new(variant).await;
        mesh.cluster("a", |_| {}, vec![at(&[one])]);
        mesh.routes(vec![to("a")]);
        assert_eq!(mesh.call().await.unwrap(), "one", "the first call waits for the configuration");
        mesh.assign("a", vec![at(&[two])]);
        mesh.until("two").await;
        // Another cluster in the place of the first, and by a header.
        mesh.cluster("b", |_| {}, vec![at(&[one])]);
        let mut canary = to("a");
        let header = HeaderMatch::new("x-canary".parse().unwrap(), Condition::Text(Pattern::exact("yes")));
        canary.matcher.headers.push(header);
        mesh.routes(vec![canary, to("b")]);
        mesh.until("one").await;
        assert_eq!(mesh.call_with(&[("x-canary", "yes")]).await.unwrap(), "two");
        // What is wrong is told as gRPC tells it.
        mesh.routes(vec![to("nowhere")]);
        mesh.until("cluster `nowhere`: does not exist").await;
        assert_eq!(mesh.call().await.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn weights_are_kept() {
    let ((_, one), (_, two)) = (backend("one").await, backend("two").await);
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |_| {}, vec![at(&[one])]);
    mesh.cluster("b", |_| {}, vec![at(&[two])]);
    let weighted = |name: &str, weight| WeightedCluster {
        cluster: ClusterName::Named(name.into()),
        weight,
        subset: Subset::new(),
        headers: HeaderEdits::default(),
        host: None,
        filters: BTreeMap::new(),
    };
    let mut forward = Forward::to("");
    let clusters = vec![weighted("a", 3), weighted("b", 1)];
    forward.cluster = ClusterChoice::Weighted(WeightedClusters { clusters, choice: WeightedChoice::Random });
    mesh.routes(vec![Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(forward)))]);
    let mut ones = 0;
    for _ in 0..400 {
        ones += u32::from(mesh.call().await.unwrap() == "one");
    }
    // Six deviations of a fair draw.
    assert!((248..=352).contains(&ones), "{ones} of 400");
}

#[tokio::test]
async fn what_cannot_be_reached_is_passed_over_without_a_policy() {
    let (_, one) = backend("one").await;
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |_| {}, vec![at(&[nobody().await, one])]);
    mesh.routes(vec![to("a")]);
    for _ in 0..50 {
        assert_eq!(mesh.call().await.unwrap(), "one");
    }
    // And with nobody at all it is said.
    mesh.assign("a", vec![at(&[nobody().await])]);
    let status = loop {
        if let Err(status) = mesh.call().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn the_next_priority_takes_over() {
    let ((_, far), (near, near_at)) = (backend("far").await, backend("near").await);
    let mut mesh = Mesh::new(Variant::StateOfTheWorld).await;
    let level = |at: SocketAddr, priority| LocalityEndpoints {
        priority,
        locality: Locality::new(if priority == 0 { "near" } else { "far" }, "", ""),
        ..self::at(&[at])
    };
    let outlier = |cluster: &mut Cluster| {
        let settings = OutlierSettings { consecutive_5xx: 3, max_ejection_percent: 100, ..OutlierSettings::default() };
        cluster.outlier = Some(settings);
        cluster.panic_threshold = 0;
    };
    mesh.cluster("a", outlier, vec![level(near_at, 0), level(far, 1)]);
    mesh.routes(vec![to("a")]);
    for _ in 0..20 {
        assert_eq!(mesh.call().await.unwrap(), "near");
    }
    // Ejected for what it answers, it is not asked any more.
    near.failures.store(1000, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(mesh.call().await.unwrap_err().message(), "busy");
    }
    let before = near.calls.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(mesh.call().await.unwrap(), "far");
    }
    assert_eq!(near.calls.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn calls_are_tried_again_as_the_route_says() {
    let (one, at_one) = backend("one").await;
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |_| {}, vec![at(&[at_one])]);
    mesh.routes(vec![retrying("a", 2)]);
    assert_eq!(mesh.call().await.unwrap(), "one");
    one.failures.store(2, Ordering::Relaxed);
    assert_eq!(mesh.call().await.unwrap(), "one after 2");
    one.failures.store(3, Ordering::Relaxed);
    assert_eq!(mesh.call().await.unwrap_err().message(), "busy");
    assert_eq!(mesh.call().await.unwrap(), "one");
}

#[tokio::test]
async fn too_many_calls_in_flight_are_refused() {
    let (one, at_one) = backend("one").await;
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |cluster| cluster.circuit.default.max_requests = 2, vec![at(&[at_one])]);
    mesh.routes(vec![to("a")]);
    assert_eq!(mesh.call().await.unwrap(), "one");
    one.slow.store(300, Ordering::Relaxed);
    let calls = (0..6).map(|_| {
        let mut health = mesh.health.clone();
        async move { health.check(HealthCheckRequest::default()).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    let refused: Vec<&Status> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 4);
    for status in refused {
        assert_eq!(status.message(), "cluster `a`: too many requests are in flight to the cluster");
    }
    one.slow.store(0, Ordering::Relaxed);
    assert_eq!(mesh.call().await.unwrap(), "one", "those that ended make room");
}

#[tokio::test]
async fn a_hash_stays_with_its_endpoint() {
    let mut addresses = Vec::new();
    for name in ["one", "two", "three"] {
        addresses.push(backend(name).await.1);
    }
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |cluster| cluster.policy = Policy::RingHash(RingHash::default()), vec![at(&addresses)]);
    let mut forward = Forward::to("a");
    let key = HashKey::Header { name: "x-user".parse().unwrap(), rewrite: None };
    forward.hash = vec![HashPolicy { key, terminal: false }];
    mesh.routes(vec![Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(forward)))]);
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..30 {
        let user = user.to_string();
        let first = mesh.call_with(&[("x-user", &user)]).await.unwrap();
        for _ in 0..3 {
            assert_eq!(mesh.call_with(&[("x-user", &user)]).await.unwrap(), first);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3, "and users are spread");
}

#[tokio::test]
async fn aggregates_fail_over_and_circles_are_told() {
    let (_, one) = backend("one").await;
    let mut mesh = Mesh::new(Variant::Delta).await;
    let members = |names: &[&str]| Discovery::Aggregate(names.iter().map(|name| (*name).into()).collect());
    mesh.cluster("empty", |_| {}, vec![]);
    mesh.cluster("a", |_| {}, vec![at(&[one])]);
    mesh.cluster("all", |cluster| cluster.discovery = members(&["empty", "a"]), vec![]);
    mesh.routes(vec![to("all")]);
    assert_eq!(mesh.call().await.unwrap(), "one");
    mesh.cluster("all", |cluster| cluster.discovery = members(&["ring"]), vec![]);
    mesh.cluster("ring", |cluster| cluster.discovery = members(&["all", "all"]), vec![]);
    mesh.until("cluster `all`: `ring`: `all`: aggregates of clusters are a circle, or too deep").await;
}

#[tokio::test]
async fn a_share_may_be_dropped_on_purpose() {
    let (_, one) = backend("one").await;
    let mut mesh = Mesh::new(Variant::Delta).await;
    mesh.cluster("a", |_| {}, vec![]);
    let mut assignment = Assignment::new("a", vec![at(&[one])]);
    assignment.drops = vec![mesh_core::balance::Drop { category: "test".into(), share: PerMillion::new(1_000_000) }];
    mesh.put(ENDPOINT_TYPE, "a", encode_assignment(&assignment));
    mesh.routes(vec![to("a")]);
    let status = mesh.call().await.unwrap_err();
    assert_eq!(status.message(), "cluster `a`: dropped under category `test`");
}
