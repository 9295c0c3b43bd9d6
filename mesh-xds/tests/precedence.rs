//! Both variants over real gRPC in memory, on a clock that stands still: what comes first is sent first, and a client that never
//! says whether it took it is not left without the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_xds::envoy::{CLUSTER_TYPE as CLUSTER, LISTENER_TYPE as LISTENER, ROUTE_TYPE as ROUTE};
use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Extensions, Status};

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok("anyone".into())
    }
}

fn put(name: &str, body: u8) -> Change {
    Change::Put(name.to_owned(), Entry::new(vec![body], vec![]))
}

/// A server that has one cluster, one listener and one route.
async fn serve() -> (CacheWriter, AggregatedDiscoveryServiceClient<Channel>) {
    let (writer, cache) = Cache::new(&[CLUSTER, LISTENER, ROUTE]);
    writer.apply([(CLUSTER, put("c", 1)), (LISTENER, put("l", 1)), (ROUTE, put("r", 1))]);
    let service = Service::new(cache, Arc::new(Anyone), &[CLUSTER, ROUTE]);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(theirs)).chain(tokio_stream::pending());
    tokio::spawn(Server::builder().add_service(service.server()).serve_with_incoming(incoming));
    let mut ours = Some(TokioIo::new(ours));
    let connector = tower::service_fn(move |_: Uri| {
        let ours = ours.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        std::future::ready(ours)
    });
    let channel = Endpoint::from_static("http://peer").connect_with_connector(connector).await.unwrap();
    (writer, AggregatedDiscoveryServiceClient::new(channel))
}

#[tokio::test(start_paused = true)]
async fn state_of_the_world() {
    let (_writer, mut client) = serve().await;
    let (requests, stream) = mpsc::channel(8);
    let ask = |url: &str, nonce: &str| DiscoveryRequest {
        type_url: url.into(),
        resource_names: if url == ROUTE { vec!["r".into()] } else { vec![] },
        response_nonce: nonce.into(),
        node: Some(Node::default()),
        ..DiscoveryRequest::default()
    };
    requests.send(ask(CLUSTER, "")).await.unwrap();
    requests.send(ask(LISTENER, "")).await.unwrap();
    requests.send(ask(ROUTE, "")).await.unwrap();
    let mut answers = client.stream_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.type_url, CLUSTER);
    // It is never accepted, nor what comes after it: each step takes its time.
    for wanted in [LISTENER, ROUTE] {
        let began = Instant::now();
        assert_eq!(answers.message().await.unwrap().unwrap().type_url, wanted);
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn delta() {
    let (_writer, mut client) = serve().await;
    let (requests, stream) = mpsc::channel(8);
    let ask = |url: &str| DeltaDiscoveryRequest {
        type_url: url.into(),
        node: Some(Node::default()),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(ask(CLUSTER)).await.unwrap();
    requests.send(ask(LISTENER)).await.unwrap();
    requests.send(ask(ROUTE)).await.unwrap();
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.type_url, CLUSTER);
    for wanted in [LISTENER, ROUTE] {
        let began = Instant::now();
        assert_eq!(answers.message().await.unwrap().unwrap().type_url, wanted);
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_accepts_one_after_another_is_waited_for_while_changes_never_cease_but_not_for_ever() {
    let (writer, mut client) = serve().await;
    let (requests, stream) = mpsc::channel(8);
    let ask = |url: &str, nonce: &str| DeltaDiscoveryRequest {
        type_url: url.into(),
        node: Some(Node::default()),
        response_nonce: nonce.into(),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(ask(CLUSTER, "")).await.unwrap();
    requests.send(ask(ROUTE, "")).await.unwrap();
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let began = Instant::now();
    let mut before = None;
    let mut body = 1;
    let waited = loop {
        let answer = answers.message().await.unwrap().unwrap();
        if answer.type_url == ROUTE {
            break began.elapsed();
        }
        // One is accepted when the next one is there, so that one is always open.
        if let Some(nonce) = before.replace(answer.nonce) {
            requests.send(ask(CLUSTER, &nonce)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        body += 1;
        writer.apply([(CLUSTER, put("c", body))]);
    };
    assert!((50..=70).contains(&waited.as_secs()), "{waited:?}");
}
