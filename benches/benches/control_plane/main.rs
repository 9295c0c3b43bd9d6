//! What the control plane costs: from a directory of manifests to the first publication, memory, one changed endpoint and one
//! changed policy to a subscriber's stream and to a thousand, in a large mesh and in one of a tenth of its size. Subscribers are
//! in the same process, over HTTP/2 in plaintext on loopback. A changed object is handed over as sources hand it over: as
//! another world that shares all else with the one before.
//!
//! `cargo bench -p mesh-benches --bench control_plane [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a bench"
)]

mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_control_plane::admission::admit;
use mesh_control_plane::projection::Projection;
use mesh_control_plane::source::dir::{self, SourceFile};
use mesh_control_plane::translate::Place;
use mesh_control_plane::world::{Objects, Placed, World};
use mesh_core::name::{NamespacedName, parse_spiffe_id, parse_trust_domain};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mesh_xds::server::{Access, Cache, Service};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server};
use tonic::{Extensions, Status, Streaming};

use self::world::Size;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (size, rounds, subscribers) = if short { (Size::LARGE.part(100), 6, 20) } else { (Size::LARGE, 50, 1_000) };
    runtime.block_on(async {
        let small = measure(size.part(if short { 2 } else { 10 }), rounds, 1).await;
        let large = measure(size, rounds, subscribers).await;
        println!(
            "ratio of one change in the large mesh to the small one: endpoint {:.2}, endpoint at a waypoint {:.2}, policy at a waypoint {:.2}",
            large[0] / small[0],
            large[1] / small[1],
            large[2] / small[2]
        );
    });
}

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok("anyone".to_owned())
    }
}

/// A mesh as it is served, and the world that it is of.
struct Mesh {
    size: Size,
    world: World,
    projection: Projection,
}

impl Mesh {
    /// Publishes an object that changed. The text is read before the time begins to run.
    fn change(&mut self, text: &str) -> (Instant, u64) {
        let file = SourceFile { path: PathBuf::from("changed.yaml"), text: Ok(text.to_owned()) };
        let read = admit(&[file]).unwrap_or_else(|findings| panic!("{findings:?}")).0;
        take(&mut self.world.pods, &read.pods);
        take(&mut self.world.policies, &read.policies);
        let start = Instant::now();
        let published = self.projection.publish(self.world.clone(), tokio::time::Instant::now());
        (start, published.computed)
    }
}

fn take<T>(into: &mut Objects<T>, from: &Objects<T>) {
    for (key, _) in from {
        let Placed { origin, digest, object } = from.placed(key).unwrap();
        into.set(
            key.clone(),
            Some(Arc::new(Placed { origin: origin.clone(), digest: *digest, object: Arc::clone(object) })),
        );
    }
}

fn place() -> Place {
    Place {
        trust_domain: parse_trust_domain("cluster.local").unwrap(),
        cluster_id: "Kubernetes".into(),
        network: String::new(),
        root_namespace: "istio-system".into(),
        cluster_domain: "cluster.local".into(),
    }
}

async fn serve(cache: Cache, types: &[&'static str]) -> SocketAddr {
    let service = Service::new(cache, Arc::new(Anyone), types);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4096).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(service.server()).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// A client of one type that accepts all that it is sent.
struct Subscriber {
    type_url: &'static str,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
}

impl Subscriber {
    /// Subscribes to one name.
    async fn open(address: SocketAddr, type_url: &'static str, name: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let (requests, stream) = mpsc::channel(4);
        let first = DeltaDiscoveryRequest {
            node: Some(Node::default()),
            type_url: type_url.to_owned(),
            resource_names_subscribe: vec![name.to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
        let mut subscriber = Self { type_url, requests, answers };
        subscriber.next().await;
        subscriber
    }

    async fn next(&mut self) {
        let answer = self.answers.message().await.unwrap().unwrap();
        let accepted = DeltaDiscoveryRequest {
            type_url: self.type_url.to_owned(),
            response_nonce: answer.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(accepted).await.unwrap();
    }
}

/// The size of this process in MiB: now, and at its largest.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    (of("VmRSS:").unwrap_or(0) / 1024, of("VmHWM:").unwrap_or(0) / 1024)
}

async fn measure(size: Size, rounds: usize, subscribers: usize) -> [f64; 3] {
    println!("{size:?}");
    let directory = tempfile::tempdir().unwrap();
    world::write(directory.path(), size);
    let start = Instant::now();
    let files = dir::read(directory.path()).unwrap();
    let read = start.elapsed();
    let (world, findings) = admit(&files).unwrap_or_else(|findings| panic!("{:?}", findings.first()));
    drop((files, findings));
    let admitted = start.elapsed();
    let (projection, cache, _assignments) = Projection::new(place());
    projection.publish(world.clone(), tokio::time::Instant::now());
    let published = start.elapsed();
    let (now, peak) = memory();
    println!(
        "    cold start: read {} ms, judged {} ms, published {} ms; memory {now} MiB, at most {peak} MiB",
        read.as_millis(),
        (admitted - read).as_millis(),
        (published - admitted).as_millis()
    );
    let mut mesh = Mesh { size, world, projection };
    let nodes = serve(cache, &[POLICY_TYPE, ADDRESS_TYPE]).await;
    let uid = "Kubernetes//Pod/n0/s0-0".to_owned();
    let waypoint = parse_spiffe_id("spiffe://cluster.local/ns/n0/sa/w").unwrap();
    let node = Node { id: "waypoint~10.0.0.1~w-1.n0~n0.svc.cluster.local".into(), ..Node::default() };
    let view = mesh.projection.of_waypoint(&waypoint, &node).unwrap();
    let waypoint = serve(view, &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE]).await;

    let one = Subscriber::open(nodes, ADDRESS_TYPE, &uid).await;
    let endpoint = one_by_one(&mut mesh, one, rounds, "one changed endpoint to a node proxy", |size, ready| {
        world::pod(size, 0, 0, ready)
    })
    .await;
    let one = Subscriber::open(waypoint, ENDPOINT_TYPE, "inbound-vip|80|http|s0.n0.svc.cluster.local").await;
    let at_waypoint = one_by_one(&mut mesh, one, rounds, "one changed endpoint to a waypoint", |size, ready| {
        world::pod(size, 0, 0, ready)
    })
    .await;
    let one = Subscriber::open(waypoint, LISTENER_TYPE, "main_internal").await;
    let methods = |ready| if ready { "GET" } else { "PUT" };
    let policy = one_by_one(&mut mesh, one, rounds, "one changed policy to a waypoint", |size, ready| {
        world::policy(size, 0, methods(ready))
    })
    .await;
    if subscribers > 1 {
        many(&mut mesh, nodes, &uid, subscribers).await;
    }
    assert!(mesh.world.pods.contains_key(&NamespacedName::new("n0", "s0-0")));
    [endpoint, at_waypoint, policy]
}

/// The median of the times from publication to a subscriber, in microseconds.
async fn one_by_one(
    mesh: &mut Mesh,
    mut subscriber: Subscriber,
    rounds: usize,
    what: &str,
    text: impl Fn(Size, bool) -> String,
) -> f64 {
    let (mut took, mut translated, mut computed) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        let (start, values) = mesh.change(&text(mesh.size, round % 2 == 1));
        translated.push(start.elapsed());
        subscriber.next().await;
        took.push(start.elapsed());
        computed = values;
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let (translated, took) = (median(translated), median(took));
    println!("    {what}: {took:.0} us, of which {translated:.0} us to the cache; {computed} values computed");
    took
}

async fn many(mesh: &mut Mesh, address: SocketAddr, uid: &str, subscribers: usize) {
    let mut all = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        all.push(Subscriber::open(address, ADDRESS_TYPE, uid).await);
    }
    let mut took = Vec::new();
    for round in 0..5 {
        let (start, _) = mesh.change(&world::pod(mesh.size, 0, 0, round % 2 == 1));
        let taking = all.drain(..).map(|mut subscriber| {
            tokio::spawn(async move {
                subscriber.next().await;
                subscriber
            })
        });
        let taking: Vec<_> = taking.collect();
        for task in taking {
            all.push(task.await.unwrap());
        }
        took.push(start.elapsed());
    }
    took.sort();
    println!(
        "    one changed endpoint to {subscribers} node proxies that ask for it: the last has it after {:.1} ms",
        took[2].as_secs_f64() * 1e3
    );
}
