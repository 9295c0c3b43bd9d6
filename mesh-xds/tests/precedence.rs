//! Both variants over real gRPC on loopback, on a clock that stands still: what comes first is sent first, and a client that never
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

use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use mesh_xds::server::{Access, Cache, Change, Entry, Service};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Extensions, Status};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok("anyone".into())
    }
}

/// A server that has one cluster and one route.
async fn serve() -> AggregatedDiscoveryServiceClient<Channel> {
    let (writer, cache) = Cache::new(&[CLUSTER, ROUTE]);
    let put = |name: &str| Change::Put(name.to_owned(), Entry::new(vec![1], vec![]));
    writer.apply([(CLUSTER, put("c")), (ROUTE, put("r"))]);
    let service = Service::new(cache, Arc::new(Anyone), &[CLUSTER, ROUTE]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let _writer = writer;
        Server::builder().add_service(service.server()).serve_with_incoming(TcpListenerStream::new(listener)).await
    });
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    AggregatedDiscoveryServiceClient::new(channel)
}

#[tokio::test(start_paused = true)]
async fn state_of_the_world() {
    let mut client = serve().await;
    let (requests, stream) = mpsc::channel(8);
    let ask = |url: &str, nonce: &str| DiscoveryRequest {
        type_url: url.into(),
        resource_names: if url == ROUTE { vec!["r".into()] } else { vec![] },
        response_nonce: nonce.into(),
        node: Some(Node::default()),
        ..DiscoveryRequest::default()
    };
    requests.send(ask(CLUSTER, "")).await.unwrap();
    requests.send(ask(ROUTE, "")).await.unwrap();
    let mut answers = client.stream_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.type_url, CLUSTER);
    // It is never accepted.
    let began = Instant::now();
    let second = answers.message().await.unwrap().unwrap();
    assert_eq!(second.type_url, ROUTE);
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn delta() {
    let mut client = serve().await;
    let (requests, stream) = mpsc::channel(8);
    let ask = |url: &str| DeltaDiscoveryRequest {
        type_url: url.into(),
        node: Some(Node::default()),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(ask(CLUSTER)).await.unwrap();
    requests.send(ask(ROUTE)).await.unwrap();
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.type_url, CLUSTER);
    let began = Instant::now();
    let second = answers.message().await.unwrap().unwrap();
    assert_eq!(second.type_url, ROUTE);
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
}
