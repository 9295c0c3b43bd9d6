use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use mesh_core::balance::{Circuit, CircuitSettings};
use mesh_core::listener::{HttpManager, RouteSource};
use mesh_core::route::Priority;
use mesh_identity::task::Tasks;
use mesh_transport::http::{Accepted, Body, BodyError, Client, ClientSettings, Downstream, Failed, ServeError, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

pub fn manager() -> HttpManager {
    HttpManager::new(RouteSource::Rds("routes".into()))
}

pub fn downstream() -> Downstream {
    Downstream::new([10, 0, 0, 1].into(), 80)
}

pub type Served = JoinHandle<Result<(), ServeError>>;

/// A server of one connection.
pub fn serve<F, R>(manager: &HttpManager, handle: F) -> (DuplexStream, Served, CancellationToken)
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let server = Server::new(manager);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let drain = CancellationToken::new();
    let token = drain.clone();
    let served = tokio::spawn(async move {
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        server.serve(far, Accepted::new(downstream(), ()), service, token).await
    });
    (near, served, drain)
}

/// Answers with what it was asked: method, target, headers, body, trailers.
pub async fn describe(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    match read(body).await {
        Ok((bytes, trailers)) => {
            text.push_str(&format!("body={}\n", String::from_utf8_lossy(&bytes)));
            for (name, value) in &trailers {
                text.push_str(&format!("trailer {name}: {}\n", value.to_str().unwrap()));
            }
        }
        Err(error) => text.push_str(&format!("broken: {error}\n")),
    }
    Response::new(Body::from(text))
}

pub async fn read(body: Body) -> Result<(Bytes, HeaderMap), BodyError> {
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok((collected.to_bytes(), trailers))
}

pub async fn text(response: Response<Body>) -> String {
    String::from_utf8(read(response.into_body()).await.unwrap().0.to_vec()).unwrap()
}

/// Sends bytes and reads to the end.
pub async fn exchange(io: &mut DuplexStream, bytes: &[u8]) -> String {
    io.write_all(bytes).await.unwrap();
    to_end(io).await
}

pub async fn to_end(io: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5000), io.read_to_end(&mut answer)).await;
    read.expect("the connection is closed").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` has come.
pub async fn until(io: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    let mut answer = String::new();
    let whole = async {
        while !answer.contains(end) {
            let mut bytes = [0; 4096];
            let count = io.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the connection ended after {answer:?}");
            answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    let whole = tokio::time::timeout(Duration::from_secs(5), whole).await;
    assert!(whole.is_ok(), "{end:?} has not come, but {answer:?}");
    answer
}

/// Who takes connections, by address. Connections are pipes, so that time can be paused: then whoever sleeps goes on when all
/// others have nothing left to do.
static NETWORK: Mutex<BTreeMap<SocketAddr, mpsc::UnboundedSender<DuplexStream>>> = Mutex::new(BTreeMap::new());

/// A connection to whoever takes it at this address.
pub async fn dial(address: SocketAddr) -> io::Result<DuplexStream> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let taken = NETWORK.lock().unwrap().get(&address).is_some_and(|backend| backend.send(far).is_ok());
    if taken { Ok(near) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// An address that nobody else has.
pub fn address() -> SocketAddr {
    static LAST: AtomicU32 = AtomicU32::new(0x0a00_0000);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    SocketAddr::new(Ipv4Addr::from(number).into(), 80)
}

/// A backend that does with each connection what it likes.
pub async fn backend<F, R>(handle: F) -> SocketAddr
where
    F: Fn(DuplexStream, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (sender, mut connections) = mpsc::unbounded_channel();
    let address = address();
    NETWORK.lock().unwrap().insert(address, sender);
    tokio::spawn(async move {
        for count in 0.. {
            let Some(stream) = connections.recv().await else { return };
            tokio::spawn(handle(stream, count));
        }
    });
    address
}

/// A backend that is a server of ours.
pub async fn server<F, R>(manager: HttpManager, handle: F) -> SocketAddr
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let server = Server::new(&manager);
    backend(move |stream, _| {
        let (server, handle) = (server.clone(), handle.clone());
        async move {
            let service = service_fn(move |request| {
                let answer = handle(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ = server.serve(stream, Accepted::new(downstream(), ()), service, CancellationToken::new()).await;
        }
    })
    .await
}

/// A client of addresses.
pub fn client(settings: ClientSettings, circuit: CircuitSettings) -> (Client<SocketAddr>, Tasks) {
    let tasks = Tasks::default();
    let connector = service_fn(dial);
    (Client::new(connector, settings, Circuit::new(circuit), tasks.clone()), tasks)
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "a.example").body(Body::empty()).unwrap()
}

pub async fn send(
    client: &Client<SocketAddr>,
    to: SocketAddr,
    request: Request<Body>,
) -> Result<Response<Body>, Box<Failed>> {
    let sent = client.send(&to, Priority::Default, request);
    tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an answer or an error")
}
