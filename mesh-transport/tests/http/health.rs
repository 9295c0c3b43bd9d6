use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::balance::{
    Assignment, Balancer, Cluster, Discovery, Endpoint, GrpcProbe, HealthCheck, HttpProbe, LocalityEndpoints, Probe,
    Probed, Probing, Setup, TcpProbe,
};
use mesh_core::name::Locality;
use mesh_identity::task::Tasks;
use mesh_transport::health::{HealthChecks, ProbeTarget};
use mesh_transport::http::{Accepted, Body, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::support::{downstream, manager, read};

const SECOND: Duration = Duration::from_secs(1);

/// What an endpoint does with a connection.
type Behaviour = fn(DuplexStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! server {
    ($handle:expr) => {
        |io| {
            Box::pin(async move {
                let service = tower::service_fn(|request: Request<Body>| async move {
                    Ok::<_, std::convert::Infallible>($handle(request).await)
                });
                let accepted = Accepted::new(downstream(), ());
                let _ = Server::new(&manager()).serve(io, accepted, service, CancellationToken::new()).await;
            })
        }
    };
}

async fn http(request: Request<Body>) -> Response<Body> {
    let is_right =
        request.uri() == "/healthz" && request.headers()["host"] == "shop" && request.headers()["x-probe"] == "1";
    let mut response = Response::new(Body::from("database: ok, queue: ok"));
    *response.status_mut() = if is_right { 200 } else { 418 }.try_into().unwrap();
    response
}

/// Serving for the service `shop`, not for others.
async fn grpc(request: Request<Body>) -> Response<Body> {
    assert_eq!(request.uri(), "/grpc.health.v1.Health/Check");
    let (message, _) = read(request.into_body()).await.unwrap();
    let status = if &message[..] == b"\0\0\0\0\x06\x0a\x04shop" { 1 } else { 2 };
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let answer = Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
    let frames = [Ok::<_, std::io::Error>(Frame::data(answer)), Ok(Frame::trailers(trailers))];
    Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
}

async fn without_trailers(_: Request<Body>) -> Response<Body> {
    Response::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]).into())
}

fn greets(mut io: DuplexStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut ask = [0; 4];
        if io.read_exact(&mut ask).await.is_ok() {
            let _ = io.write_all(b"+PO").await;
            tokio::task::yield_now().await;
            let _ = io.write_all(b"NG and more\r\n").await;
        }
    })
}

fn closes(_: DuplexStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {})
}

fn hangs(io: DuplexStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        std::future::pending::<()>().await;
        drop(io);
    })
}

fn lies(mut io: DuplexStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _ = io.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        std::future::pending::<()>().await;
    })
}

fn http_probe(edit: impl FnOnce(&mut HttpProbe)) -> Probe {
    let mut probe = HttpProbe::new("/healthz");
    probe.headers = vec![("x-probe".into(), "1".into())];
    edit(&mut probe);
    Probe::Http(probe)
}

fn grpc_probe(service: &str) -> Probe {
    Probe::Grpc(GrpcProbe { service: service.into(), ..GrpcProbe::default() })
}

fn tcp_probe(send: &[u8], receive: &[&[u8]]) -> Probe {
    Probe::Tcp(TcpProbe { send: send.to_vec(), receive: receive.iter().map(|part| part.to_vec()).collect() })
}

struct Scene {
    balancer: Balancer,
    checks: HealthChecks,
    connections: Arc<AtomicUsize>,
    address: SocketAddr,
}

impl Scene {
    fn new(check: HealthCheck, behaviour: Behaviour) -> Self {
        let address: SocketAddr = "10.0.0.7:80".parse().unwrap();
        let assignment =
            Assignment::new("shop", vec![LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(address)])]);
        let mut cluster = Cluster::new("shop", Discovery::Static(assignment.clone()));
        cluster.health_checks = vec![check];
        let cluster = Arc::new(cluster);
        let now = tokio::time::Instant::now().into_std();
        let balancer = Balancer::new(
            Arc::clone(&cluster),
            &assignment,
            Setup { probing: Probing::Active, ..Setup::default() },
            now,
        );
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let connector = tower::service_fn(move |target: ProbeTarget| {
            assert_eq!(target.address.port(), 80);
            counted.fetch_add(1, Ordering::SeqCst);
            let (near, far) = tokio::io::duplex(4096);
            tokio::spawn(behaviour(far));
            async move { Ok::<_, std::io::Error>(near) }
        });
        let checks =
            HealthChecks::start(balancer.clone(), &cluster, &assignment, connector, &Tasks::default()).unwrap();
        Self { balancer, checks, connections, address }
    }

    fn is_healthy(&self) -> bool {
        self.balancer.status().iter().all(|status| matches!(status.probed, Some(Probed::Passing | Probed::Degraded)))
    }
}

fn check(probe: Probe) -> HealthCheck {
    let mut check = HealthCheck::new(probe, SECOND, 10 * SECOND);
    check.no_traffic_interval = 10 * SECOND;
    check
}

#[tokio::test(start_paused = true)]
async fn each_probe_tells_the_good_from_the_bad() {
    let http: Behaviour = server!(http);
    let grpc: Behaviour = server!(grpc);
    let without_trailers: Behaviour = server!(without_trailers);
    for (name, probe, behaviour, healthy) in [
        ("HTTP", http_probe(|_| {}), http, true),
        ("HTTP/2", http_probe(|probe| probe.http2 = true), http, true),
        ("another status", http_probe(|probe| probe.expected_statuses = vec![201..300]), http, false),
        ("another path", http_probe(|probe| probe.path = "/".into()), http, false),
        (
            "an expected status",
            http_probe(|probe| {
                probe.path = "/".into();
                probe.expected_statuses = vec![400..500];
            }),
            http,
            true,
        ),
        (
            "what the body must say",
            http_probe(|probe| probe.receive = vec![b"database: ok".to_vec(), b"queue: ok".to_vec()]),
            http,
            true,
        ),
        ("what the body does not say", http_probe(|probe| probe.receive = vec![b"cache: ok".to_vec()]), http, false),
        (
            "what it says too late",
            http_probe(|probe| {
                probe.receive = vec![b"queue: ok".to_vec()];
                probe.body_limit = Some(12);
            }),
            http,
            false,
        ),
        ("HTTP, closed", http_probe(|_| {}), closes, false),
        ("HTTP, hanging", http_probe(|_| {}), hangs, false),
        ("HTTP, something else", http_probe(|_| {}), lies, false),
        ("HTTP/2, something else", http_probe(|probe| probe.http2 = true), lies, false),
        ("gRPC", grpc_probe("shop"), grpc, true),
        ("another service", grpc_probe("other"), grpc, false),
        ("gRPC without trailers", grpc_probe("shop"), without_trailers, false),
        ("gRPC, hanging", grpc_probe("shop"), hangs, false),
        ("TCP", tcp_probe(b"", &[]), hangs, true),
        ("TCP with bytes", tcp_probe(b"PING", &[b"+PONG"]), greets, true),
        ("TCP with other bytes", tcp_probe(b"PING", &[b"-ERR"]), greets, false),
        ("TCP, silent", tcp_probe(b"PING", &[b"+PONG"]), hangs, false),
    ] {
        let scene = Scene::new(check(probe), behaviour);
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(scene.is_healthy(), healthy, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_come_at_their_time_and_keep_their_connection_if_they_may() {
    for reuse in [true, false] {
        for http2 in [true, false] {
            let mut check = check(http_probe(|probe| probe.http2 = http2));
            check.reuse_connection = reuse;
            let scene = Scene::new(check, server!(http));
            tokio::time::sleep(35 * SECOND).await;
            let connections = scene.connections.load(Ordering::SeqCst);
            assert_eq!(connections, if reuse { 1 } else { 4 }, "HTTP/2: {http2}");
            scene.checks.handle_immediate_failure(scene.address);
            assert!(!scene.is_healthy());
            tokio::time::sleep(10 * SECOND).await;
            assert!(scene.is_healthy());
            let before = scene.connections.load(Ordering::SeqCst);
            drop(scene.checks);
            tokio::time::sleep(100 * SECOND).await;
            assert_eq!(scene.connections.load(Ordering::SeqCst), before);
        }
    }
}
