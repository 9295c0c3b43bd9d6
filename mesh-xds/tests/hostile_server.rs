//! Servers that break the protocol, flood, or say nothing of use: the client keeps what it had, answers, holds little, and its
//! other servers are heard all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use mesh_core::balance::Assignment;
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group, Watch};
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE};
use mesh_xds::pb::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use mesh_xds::pb::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use mesh_xds::pb::{Any, Node};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};

/// What a server does with a stream: it is given the requests, and where responses go.
type Script = Arc<dyn Fn(Streaming<DeltaDiscoveryRequest>, mpsc::Sender<DeltaDiscoveryResponse>) + Send + Sync>;

#[derive(Clone)]
struct Scripted(Script);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Scripted {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        (self.0)(request.into_inner(), sender);
        Ok(Response::new(ReceiverStream::new(receiver).map(Ok).boxed()))
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn connect(script: Script) -> Box<dyn FnMut() -> Result<(Channel, MetadataMap), BoxError> + Send> {
    let (connections, mut accepted) = mpsc::unbounded_channel::<DuplexStream>();
    let incoming = futures_util::stream::poll_fn(move |context| {
        accepted.poll_recv(context).map(|one| one.map(Ok::<_, std::io::Error>))
    });
    let server = AggregatedDiscoveryServiceServer::new(Scripted(script));
    tokio::spawn(Server::builder().add_service(server).serve_with_incoming(incoming));
    Box::new(move || {
        let connections = connections.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            connections.send(theirs).unwrap();
            std::future::ready(Ok::<_, std::io::Error>(TokioIo::new(ours)))
        });
        Ok((Endpoint::from_static("http://peer").connect_with_connector_lazy(connector), MetadataMap::new()))
    })
}

fn good(name: &str, version: &str) -> Resource {
    let mut assignment = Assignment::new(name, vec![]);
    // So that versions differ in content too.
    assignment.overprovisioning_factor = std::num::NonZeroU32::new(100 + version.parse::<u32>().unwrap()).unwrap();
    let body = encode_assignment(&assignment);
    let resource = Some(Any { type_url: ENDPOINT_TYPE.into(), value: body });
    Resource { name: name.into(), version: version.into(), resource, ..Default::default() }
}

fn bad(name: &str, version: &str) -> Resource {
    let resource = Some(Any { type_url: ENDPOINT_TYPE.into(), value: vec![0xff; 1000] });
    Resource { name: name.into(), version: version.into(), resource, ..Default::default() }
}

fn response(nonce: &str, resources: Vec<Resource>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse { type_url: ENDPOINT_TYPE.into(), nonce: nonce.into(), resources, ..Default::default() }
}

/// A client of two servers, by authority: the hostile one, and one that serves a version after each that was accepted.
fn client(hostile: Script) -> (Client, Watch<Assignment>) {
    let well: Script = Arc::new(|mut requests, responses| {
        tokio::spawn(async move {
            let mut version = 0;
            while let Ok(Some(_)) = requests.message().await {
                version += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
                if responses.send(response(&version.to_string(), vec![good(WELL, &version.to_string())])).await.is_err()
                {
                    return;
                }
            }
        });
    });
    let group = || Group::new(vec![ServerTraits::new("s", Variant::Delta)]);
    let node = Node { id: "n".into(), ..Node::default() };
    let authorities = BTreeMap::from([("well".to_owned(), 1)]);
    let (client, driver) = Client::new(&node, vec![group(), group()], authorities, SystemTime::now);
    tokio::spawn(driver.run(vec![vec![connect(hostile)], vec![connect(well)]], CancellationToken::new()));
    let watch = client.watch::<Assignment>(WELL);
    (client, watch)
}

const WELL: &str = "xdstp://well/envoy.config.endpoint.v3.ClusterLoadAssignment/x";

fn version(watch: &Watch<Assignment>) -> u32 {
    watch.value().map_or(0, |value| value.overprovisioning_factor.get() - 100)
}

/// The other server is heard: several versions of it, one after the other.
async fn others_are_heard(watch: &mut Watch<Assignment>) {
    let start = version(watch);
    let heard = timeout(Duration::from_secs(30), async {
        while version(watch) < start + 20 {
            watch.changed().await.unwrap();
        }
    });
    assert!(heard.await.is_ok(), "only {} versions", version(watch) - start);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_stream_of_what_must_be_rejected() {
    let rejected = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rejected);
    let hostile: Script = Arc::new(move |mut requests, responses| {
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            assert!(responses.send(response("first", vec![good("a", "1")])).await.is_ok());
            for n in 0..u32::MAX {
                if responses.send(response(&n.to_string(), vec![bad("a", &n.to_string())])).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(error) = request.error_detail {
                    assert!(error.message.len() < 1000, "{}", error.message.len());
                    assert!(error.message.starts_with("a: malformed message"), "{}", error.message);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    let (client, mut well) = client(hostile);
    let mut a = client.watch::<Assignment>("a");
    let flooded = timeout(Duration::from_secs(30), async {
        while rejected.load(Ordering::Relaxed) < 2000 || version(&a) != 1 {
            a.changed().await.unwrap();
        }
    });
    assert!(flooded.await.is_ok(), "{} rejected", rejected.load(Ordering::Relaxed));
    assert!(a.error().is_some(), "it is said");
    others_are_heard(&mut well).await;
    assert_eq!(version(&a), 1, "the last good one stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_reads_is_not_read_either() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let hostile: Script = Arc::new(move |requests, responses| {
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            for n in 1..u32::MAX {
                if responses.send(response(&n.to_string(), vec![good("a", "1")])).await.is_err() {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            drop(requests);
        });
    });
    let (client, mut well) = client(hostile);
    let mut a = client.watch::<Assignment>("a");
    timeout(Duration::from_secs(30), async {
        while version(&a) != 1 {
            a.changed().await.unwrap();
        }
    })
    .await
    .expect("what it sends first is taken");
    let mut before = 0;
    // It comes to a halt, when the windows of the transport are full of answers that it does not take.
    let halted = timeout(Duration::from_secs(60), async {
        loop {
            others_are_heard(&mut well).await;
            match sent.load(Ordering::Relaxed) {
                now if now == before => return now,
                now => before = now,
            }
        }
    });
    let halted = halted.await.expect("it is read for ever");
    assert!(halted < 20_000, "{halted} responses were read");
}

#[tokio::test]
async fn nonsense_changes_nothing() {
    let hostile: Script = Arc::new(move |mut requests, responses| {
        tokio::spawn(async move {
            let _first = requests.message().await;
            let mut nonsense = vec![
                response("n1", vec![good("a", "1")]),
                DeltaDiscoveryResponse::default(),
                DeltaDiscoveryResponse { type_url: CLUSTER_TYPE.into(), nonce: "x".into(), ..Default::default() },
                response("", vec![Resource::default()]),
                response("n1", vec![good("a", "2"), good("a", "3")]),
                response("n2", vec![Resource { resource: None, ..good("a", "4") }]),
                response("n3", vec![Resource { name: "b".into(), ..good("stranger", "5") }]),
            ];
            let other = Some(Any { type_url: CLUSTER_TYPE.into(), value: vec![] });
            nonsense.push(response("n4", vec![Resource { resource: other, ..good("a", "6") }]));
            let mut removed = response("n5", vec![]);
            removed.removed_resources = vec![String::new(), "stranger".into()];
            nonsense.push(removed);
            nonsense.push(response("end", vec![good("b", "7")]));
            for response in nonsense {
                if responses.send(response).await.is_err() {
                    return;
                }
            }
            while let Ok(Some(_)) = requests.message().await {}
        });
    });
    let (client, mut well) = client(hostile);
    let (a, mut b) = (client.watch::<Assignment>("a"), client.watch::<Assignment>("b"));
    timeout(Duration::from_secs(30), async {
        while version(&b) != 7 {
            b.changed().await.unwrap();
        }
    })
    .await
    .expect("the stream goes on to its end");
    assert_eq!(version(&a), 1);
    assert!(a.error().is_some(), "what was rejected last is said: {:?}", a.error());
    others_are_heard(&mut well).await;
}

#[tokio::test]
async fn streams_that_end_at_once_are_not_opened_without_pause() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let hostile: Script = Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (client, mut well) = client(hostile);
    let _a = client.watch::<Assignment>("a");
    let began = std::time::Instant::now();
    for _ in 0..5 {
        others_are_heard(&mut well).await;
    }
    // A pause is a tenth of a second at least.
    let most = usize::try_from(began.elapsed().as_millis() / 100).unwrap() + 2;
    assert!(opened.load(Ordering::Relaxed) <= most, "{} in {:?}", opened.load(Ordering::Relaxed), began.elapsed());
}
