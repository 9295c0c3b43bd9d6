//! A server on loopback and clients that say exactly what a test tells them to.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use mesh_xds::pb::{Node, Status as Detail};
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Observe, Permissions, Service, Settings, View};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Extensions, Request, Status, Streaming};

pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub const OTHER: &str = "type.example/other";

/// A client is what it says in `client`; its view and permissions are what the test says.
#[derive(Debug, Default)]
pub struct Doors {
    /// Caches by node id; nodes named `stranger` are refused.
    pub caches: Vec<(String, Cache)>,
    /// Clients that may not see names that begin with this.
    pub hidden: Option<(String, String)>,
}

#[derive(Debug)]
pub struct Hides(pub String);

impl Permissions for Hides {
    fn permits(&self, _type_url: &str, name: &str) -> bool {
        !name.starts_with(&self.0)
    }
}

impl Access for Doors {
    fn admit(&self, metadata: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        let client = metadata.get("client").and_then(|client| client.to_str().ok());
        client.map(str::to_owned).ok_or_else(|| Status::unauthenticated("who?"))
    }

    fn view(&self, client: &str, node: &Node) -> Result<View, Status> {
        if node.id == "stranger" {
            return Err(Status::permission_denied("another node than its certificate says"));
        }
        let cache = self.caches.iter().find(|(id, _)| *id == node.id).map(|(_, cache)| cache.clone());
        let hidden = self.hidden.as_ref().filter(|(of, _)| of == client);
        let permissions = hidden.map(|(_, prefix)| Arc::new(Hides(prefix.clone())) as Arc<dyn Permissions>);
        Ok(View { cache, permissions, ..View::default() })
    }

    fn inspect(&self, metadata: &MetadataMap, _: &Extensions) -> Result<(), Status> {
        match metadata.get("client").is_some_and(|client| client == "operator") {
            true => Ok(()),
            false => Err(Status::permission_denied("operators only")),
        }
    }
}

pub struct Running {
    pub writer: CacheWriter,
    pub service: Service,
    pub address: SocketAddr,
}

impl Running {
    pub fn put(&self, url: &str, names: &[&str], body: u8) {
        let put = |name: &&str| (url.to_owned(), Change::Put((*name).to_owned(), Entry::new(vec![body], vec![])));
        self.writer.apply(names.iter().map(put));
    }
}

/// Serves all types of a cache.
pub async fn serve(doors: Doors, settings: Settings) -> Running {
    serve_observed(doors, settings, Arc::new(Nobody)).await
}

#[derive(Debug)]
struct Nobody;

impl Observe for Nobody {}

/// The same, and somebody is told of it.
pub async fn serve_observed(doors: Doors, settings: Settings, observer: Arc<dyn Observe>) -> Running {
    let (writer, cache) = Cache::new(&[CLUSTER, ENDPOINTS, OTHER]);
    let service = Service::observed(cache, Arc::new(doors), settings, observer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (discovery, status) =
        (service.server(), service.status_server(|| std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)));
    let server = Server::builder().add_service(discovery).add_service(status);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Running { writer, service, address }
}

pub async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub fn by<T>(client: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("client", client.parse().unwrap());
    request
}

pub fn node(id: &str) -> Option<Node> {
    Some(Node { id: id.into(), ..Node::default() })
}

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A delta stream.
pub struct Delta {
    pub requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub answers: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    pub async fn open(address: SocketAddr, client: &str) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(64);
        let mut service = AggregatedDiscoveryServiceClient::new(connect(address).await);
        let answers = service.delta_aggregated_resources(by(client, ReceiverStream::new(stream))).await?.into_inner();
        Ok(Self { requests, answers })
    }

    /// With a first request.
    pub async fn subscribe(address: SocketAddr, client: &str, id: &str, url: &str, names: &[&str]) -> Self {
        let stream = Self::open(address, client).await.unwrap();
        let first = DeltaDiscoveryRequest { node: node(id), ..ask(url, names) };
        stream.requests.send(first).await.unwrap();
        stream
    }

    /// The next answer, which is accepted.
    pub async fn take(&mut self) -> DeltaDiscoveryResponse {
        let answer = self.answers.message().await.unwrap().expect("an answer");
        self.say(&answer, None).await;
        answer
    }

    pub async fn say(&self, answer: &DeltaDiscoveryResponse, against: Option<&str>) {
        let error_detail = against.map(|reason| Detail { code: 3, message: reason.to_owned(), details: vec![] });
        let said =
            DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), error_detail, ..ask(&answer.type_url, &[]) };
        self.requests.send(said).await.unwrap();
    }

    /// The status with which the stream ends.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a status"),
                Err(status) => return status,
            }
        }
    }
}

pub fn ask(url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: url.into(),
        resource_names_subscribe: strings(names),
        ..DeltaDiscoveryRequest::default()
    }
}

pub fn names(answer: &DeltaDiscoveryResponse) -> BTreeSet<&str> {
    answer.resources.iter().map(|resource| resource.name.as_str()).collect()
}

/// Names and codes of the errors in an answer.
pub fn errors(errors: &[mesh_xds::pb::discovery::ResourceError]) -> Vec<(&str, i32)> {
    errors
        .iter()
        .map(|error| {
            let name = error.resource_name.as_ref().unwrap().name.as_str();
            (name, error.error_detail.as_ref().unwrap().code)
        })
        .collect()
}

/// A state-of-the-world stream.
pub struct Sotw {
    pub requests: mpsc::Sender<DiscoveryRequest>,
    pub answers: Streaming<DiscoveryResponse>,
}

impl Sotw {
    pub async fn open(address: SocketAddr, client: &str, first: DiscoveryRequest) -> Self {
        let (requests, stream) = mpsc::channel(64);
        requests.send(first).await.unwrap();
        let mut service = AggregatedDiscoveryServiceClient::new(connect(address).await);
        let answers = service.stream_aggregated_resources(by(client, ReceiverStream::new(stream))).await.unwrap();
        Self { requests, answers: answers.into_inner() }
    }
}
