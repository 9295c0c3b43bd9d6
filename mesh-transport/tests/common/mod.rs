//! A mesh of two workloads on loopback, for tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use mesh_core::authz::{PolicyDelta, PolicySet};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::Publisher;
use mesh_core::name::{
    Hostname, NamespacedHostname, Network, ServiceAccount, SpiffeId, parse_spiffe_id, parse_trust_domain,
};
use mesh_core::resolve::Destination;
use mesh_core::service::{AppProtocol, PortMap, Service, ServicePort};
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_transport::proxy::{Drain, Error, Failure, Inbound, Inputs, Outbound, Outcome, Terminator, WayIn, reevaluate};
use mesh_transport::socket::Listener;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Port on which tunnels arrive; every mesh has addresses of its own.
pub const HBONE: u16 = 15008;

pub struct Mesh {
    pub authority: Arc<Authority>,
    pub identities: Identities,
    pub catalog: Publisher<Catalog>,
    pub policies: Publisher<PolicySet>,
    pub inputs: Inputs,
    pub drain: Drain,
    block: u8,
}

static BLOCK: AtomicU8 = AtomicU8::new(1);

impl Mesh {
    pub fn new() -> Self {
        let clock = Arc::new(SystemClock);
        let domain = parse_trust_domain("cluster.local").unwrap();
        let authority = Arc::new(Authority::ephemeral(domain, Rules::default(), clock).unwrap());
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let bundles = BundleSet::default().with(authority.bundle());
        let identities = Identities::builder(Arc::new(source), bundles).build();
        let (catalog, live_catalog) = Publisher::new(Catalog::default());
        let (policies, live_policies) = Publisher::new(PolicySet::default());
        let inputs = Inputs::new(live_catalog, live_policies, identities.clone());
        let block = BLOCK.fetch_add(1, Ordering::Relaxed);
        let mesh = Self { authority, identities, catalog, policies, inputs, drain: Drain::new(), block };
        mesh.inputs.tasks.spawn(reevaluate(mesh.inputs.clone(), SystemClock));
        mesh.add("client", 1);
        mesh.add("server", 2);
        mesh
    }

    pub fn ip(&self, host: u8) -> IpAddr {
        // Tests of one process run beside each other, and processes beside each other too.
        let process = u8::try_from(std::process::id() % 200).unwrap();
        Ipv4Addr::new(127, 150_u8.wrapping_add(self.block), process, host).into()
    }

    pub fn add(&self, name: &str, host: u8) {
        let domain = parse_trust_domain("cluster.local").unwrap();
        let mut workload = Workload::new(uid(name), domain.clone(), "shop", name).unwrap();
        workload.identity = ServiceAccount::new(domain, "shop", name).unwrap();
        workload.addresses = vec![self.ip(host)];
        workload.tunnel = TunnelProtocol::Hbone;
        let mut delta = Delta::new();
        delta.upsert_workload(workload);
        self.catalog.publish(self.catalog.live().load().apply(delta));
    }

    pub fn policy(&self, change: impl FnOnce(&mut PolicyDelta)) {
        let mut delta = PolicyDelta::new();
        change(&mut delta);
        self.policies.publish(self.policies.live().load().apply(delta));
    }

    /// Serves the inbound side of a workload.
    pub async fn serve(&self, name: &str, host: u8) {
        let identity = self.identities.identity(&id(name)).await.unwrap();
        let listener = Listener::bind(SocketAddr::new(self.ip(host), HBONE)).unwrap();
        let inbound = Inbound::new(self.inputs.clone(), uid(name), identity).unwrap();
        self.inputs.tasks.spawn(inbound.serve(listener, self.drain.clone()));
    }

    /// Serves the inbound side of a workload with somebody else's identity.
    pub fn serve_as(&self, name: &str, host: u8, identity: Identity) {
        let listener = Listener::bind(SocketAddr::new(self.ip(host), HBONE)).unwrap();
        let inbound = Inbound::new(self.inputs.clone(), uid(name), identity).unwrap();
        self.inputs.tasks.spawn(inbound.serve(listener, self.drain.clone()));
    }

    /// Serves the server's inbound side at another port, trusting these bundles.
    pub async fn with_bundles(&self, bundles: &BundleSet) -> SocketAddr {
        let identity = self.identities.identity(&id("server")).await.unwrap();
        let identity = Identity::new(
            id("server"),
            identity.state().clone(),
            mesh_core::live::Live::constant(bundles.clone()),
            Arc::new(SystemClock),
        );
        let listener = Listener::bind(SocketAddr::new(self.ip(2), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let inbound = Inbound::new(self.inputs.clone(), uid("server"), identity).unwrap();
        self.inputs.tasks.spawn(inbound.serve(listener, self.drain.clone()));
        address
    }

    /// The server as a program that answers every tunnel with who asked and for what, and then echoes; it refuses port 1.
    pub async fn greet(&self) {
        let identity = self.identities.identity(&id("server")).await.unwrap();
        let inputs = &self.inputs;
        let terminator = Terminator::new(identity, inputs.tracker.clone(), inputs.tasks.clone()).unwrap();
        let listener = Listener::bind(SocketAddr::new(self.ip(2), HBONE)).unwrap();
        let answering = terminator.clone();
        let serve = terminator.serve(listener, self.drain.clone(), move |connect, peer| {
            let terminator = answering.clone();
            async move {
                let facts = terminator.facts(&connect, &peer);
                if facts.requested.ends_with(":1") {
                    let outcome = Outcome::Failed(Failure::Connect, "not here".to_owned());
                    return terminator.refuse(connect, facts, StatusCode::NOT_FOUND, "nothing_here", &outcome);
                }
                let greeting = format!("{} wants {}\n", peer.identity(), facts.requested);
                let Some((mut stream, registration)) = terminator.accept(connect, &peer, facts, None) else { return };
                registration
                    .run(async move {
                        stream.write_all(greeting.as_bytes()).await?;
                        let mut byte = [0];
                        while stream.read(&mut byte).await? == 1 {
                            stream.write_all(&byte).await?;
                        }
                        stream.shutdown().await
                    })
                    .await;
            }
        });
        self.inputs.tasks.spawn(serve);
    }

    pub fn outbound(&self, name: &str) -> Outbound {
        Outbound::new(self.inputs.clone(), uid(name))
    }

    /// A SOCKS5 way in of a workload.
    pub fn socks(&self, name: &str) -> SocketAddr {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let serve = WayIn::Socks5.serve(self.inputs.clone(), self.outbound(name), listener, self.drain.clone());
        self.inputs.tasks.spawn(serve);
        address
    }

    /// An application that echoes and ends when its client does.
    pub async fn echo(&self, host: u8) -> SocketAddr {
        let listener = TcpListener::bind(SocketAddr::new(self.ip(host), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        address
    }
}

pub fn uid(name: &str) -> String {
    format!("c1//Pod/shop/{name}")
}

pub fn id(name: &str) -> SpiffeId {
    parse_spiffe_id(&format!("spiffe://cluster.local/ns/shop/sa/{name}")).unwrap()
}

/// Dials through SOCKS5; the error is the reply code.
pub async fn dial(socks: SocketAddr, to: SocketAddr) -> Result<TcpStream, u8> {
    let mut stream = TcpStream::connect(socks).await.unwrap();
    stream.write_all(&[5, 1, 0, 5, 1, 0, 1]).await.unwrap();
    let IpAddr::V4(ip) = to.ip() else { panic!("IPv4 only") };
    stream.write_all(&ip.octets()).await.unwrap();
    stream.write_all(&to.port().to_be_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..3], [5, 0, 5]);
    if answer[3] == 0 { Ok(stream) } else { Err(answer[3]) }
}

/// Whether a way in closes at once.
pub async fn refused(socks: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(socks).await else { return true };
    let _ = stream.write_all(&[5, 1, 0]).await;
    !matches!(tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await, Ok(Ok(_)))
}

/// A TLS connection to an HBONE port.
pub async fn tls(identity: &Identity, to: SocketAddr, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let config = identity.client_config(Expected::Anyone, alpn).unwrap();
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(config).connect(ServerName::IpAddress(to.ip().into()), tcp).await
}

/// HTTP/2 on it.
pub async fn h2(stream: TlsStream<TcpStream>) -> h2::client::SendRequest<Bytes> {
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// Sends a request and drops its stream: the status, whether the answer ended the stream, and its reason.
pub async fn status(
    requests: &h2::client::SendRequest<Bytes>,
    method: Method,
    uri: &str,
) -> (StatusCode, bool, String) {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let (response, _stream) = requests.clone().ready().await.unwrap().send_request(request, false).unwrap();
    let (head, body) = response.await.unwrap().into_parts();
    let reason = head.headers.get("x-mesh-reason").map(|value| value.to_str().unwrap().to_owned());
    (head.status, body.is_end_stream(), reason.unwrap_or_default())
}

/// Connects as a workload and gives the application's end of the connection.
pub async fn open(outbound: &Outbound, to: &Destination) -> Result<TcpStream, Error> {
    let entry = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(entry.local_addr().unwrap()).await.unwrap();
    let (far, client) = entry.accept().await.unwrap();
    let connected = outbound.connect(to, client).await?;
    tokio::spawn(connected.relay(far));
    Ok(near)
}

/// Whether bytes come back.
pub async fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 5];
    stream.write_all(b"hello").await.is_ok() && stream.read_exact(&mut answer).await.is_ok() && &answer == b"hello"
}

/// Publishes another record of a workload.
pub fn change(mesh: &Mesh, name: &str, edit: impl FnOnce(&mut Workload)) {
    let catalog = mesh.catalog.live().snapshot();
    let mut workload = Workload::clone(catalog.workload(&uid(name)).unwrap());
    edit(&mut workload);
    let mut delta = Delta::new();
    delta.upsert_workload(workload);
    mesh.catalog.publish(catalog.apply(delta));
}

/// Publishes a service with one endpoint, at its port 80.
pub fn service(mesh: &Mesh, endpoint: &str, target: u16, names: Vec<SpiffeId>) -> Destination {
    let key = NamespacedHostname::new("shop", Hostname::parse("web.shop.svc.cluster.local").unwrap());
    let mut service = Service::new(key.clone(), "web");
    let port = ServicePort { service_port: 80, target_port: Some(target), protocol: AppProtocol::Tcp };
    service.ports = PortMap::from_iter([port]);
    service.subject_alt_names = names;
    service.vips = vec![(Network::default(), "10.96.7.7/32".parse().unwrap())];
    change(mesh, endpoint, |workload| {
        workload.services.insert(key, PortMap::default());
    });
    let mut delta = Delta::new();
    delta.upsert_service(service);
    mesh.catalog.publish(mesh.catalog.live().load().apply(delta));
    "web.shop.svc.cluster.local:80".parse().unwrap()
}
