//! A proxy between a client and a backend that are both in the test, over pipes: so time can be paused, and every byte is
//! seen.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::{Cluster, HttpProtocol};
use mesh_core::config::Upstream;
use mesh_core::listener::HttpManager;
use mesh_core::route::{Action, Forward, PathMatch, Route, RouteMatch};
use mesh_transport::http::Transport;
use mesh_transport::l7::{Connect, Connecting, Settings, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::Scene;

/// Where the backend is said to be.
const BACKEND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 8080);

/// Connects to whoever takes the other end.
struct Wire<F>(F);

impl<F, R> Connect for Wire<F>
where
    F: Fn(DuplexStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn connect(&self, _: Target) -> Connecting {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn((self.0)(far));
        Box::pin(std::future::ready(Ok(Box::new(near) as Box<dyn Transport>)))
    }
}

/// Everything goes to `backend`, which gets each connection; `change` is for what is not by default.
pub(super) async fn proxied<F, R>(
    protocol: HttpProtocol,
    change: impl FnOnce(&mut Forward, &mut HttpManager),
    backend: F,
) -> Scene
where
    F: Fn(DuplexStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let mut scene = Scene::with(Settings { connect: Arc::new(Wire(backend)), ..Settings::default() });
    scene.cluster("shop", &[BACKEND]);
    let cluster = scene.resources.clusters.get_mut("shop").unwrap();
    *cluster = Arc::new(Cluster { protocol, ..Cluster::clone(cluster) });
    let mut forward = Forward::to("shop");
    scene.http(|manager| change(&mut forward, manager));
    scene.routes(vec![Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)))]);
    scene.apply().await;
    scene
}

/// Everything goes to a backend of which the test gets each connection.
pub(super) async fn handed(protocol: HttpProtocol) -> (Scene, mpsc::UnboundedReceiver<DuplexStream>) {
    let (connections, backends) = mpsc::unbounded_channel();
    let scene = proxied(
        protocol,
        |_, _| {},
        move |io| {
            let _ = connections.send(io);
            std::future::ready(())
        },
    );
    (scene.await, backends)
}

/// Waits until nothing is left of what was under way: no client, and no request at an endpoint.
pub(super) async fn settles(scene: &Scene) {
    let left = || {
        let clusters = scene.proxy.clusters().all();
        let upstreams = clusters.values().map(|cluster| match &**cluster.upstream() {
            Upstream::Endpoints { balancer, .. } => {
                balancer.circuit().requests() + balancer.status().iter().map(|status| status.active).sum::<u32>()
            }
            _ => 0,
        });
        (scene.proxy.open(), upstreams.sum::<u32>())
    };
    let settled = async {
        while left() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let settled = tokio::time::timeout(super::SOON, settled).await;
    assert!(settled.is_ok(), "clients and requests are left: {:?}", left());
}

/// Waits until so many requests are at endpoints.
pub(super) async fn under_way(scene: &Scene, count: u32) {
    let waiting = async {
        loop {
            let clusters = scene.proxy.clusters().all();
            let Upstream::Endpoints { balancer, .. } = &**clusters["shop"].upstream() else {
                panic!("a cluster with endpoints");
            };
            if balancer.status().iter().map(|status| status.active).sum::<u32>() >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::SOON, waiting).await.expect("the request reaches the backend");
}

/// Reads a head of HTTP/1.1.
pub(super) async fn head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends bytes, and reads to the end of the connection.
pub(super) async fn exchange(io: DuplexStream, bytes: &[u8]) -> String {
    let (mut read, mut write) = tokio::io::split(io);
    let writing = async {
        // The connection may be closed before the last byte.
        let _ = write.write_all(bytes).await;
    };
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(5000), read.read_to_end(&mut answer));
    let (read, ()) = tokio::join!(reading, writing);
    let _ = read.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}
