//! What the demo's callers do: dial through their node's SOCKS5 way in, then speak HTTP or gRPC.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::{Channel, Endpoint};

use crate::Error;
use crate::scene::{Scene, Who};

const PATIENCE: Duration = Duration::from_secs(5);

/// A caller: a workload and its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    own: IpAddr,
    socks: SocketAddr,
}

/// How the mesh refused to make a connection.
#[derive(Debug, thiserror::Error)]
#[error("the mesh refused the connection: SOCKS5 reply {0:#04x}")]
pub(crate) struct Refused(pub u8);

impl Caller {
    /// A workload of the scene as caller.
    pub(crate) fn new(scene: &Scene, who: Who) -> Self {
        Self { own: scene.ip(who), socks: scene.socks(who) }
    }

    /// Opens a connection to `host:port` through the mesh; `host` is a name or an address (RFC 1928).
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        tokio::time::timeout(PATIENCE, self.handshake(host, port)).await.map_err(|_| "no answer from the mesh")?
    }

    async fn handshake(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.own, 0))?;
        let mut stream = socket.connect(self.socks).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[5, 1, 0]).await?;
        let mut method = [0; 2];
        stream.read_exact(&mut method).await?;
        if method != [5, 0] {
            return Err("the way in wants authentication".into());
        }
        let mut request = vec![5, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Err(_) => {
                request.extend([3, u8::try_from(host.len())?]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        if head[1] != 0 {
            return Err(Refused(head[1]).into());
        }
        let rest = match head[3] {
            1 => 4,
            4 => 16,
            other => return Err(format!("reply with address type {other}").into()),
        };
        stream.read_exact(&mut [0; 18][..rest + 2]).await?;
        Ok(stream)
    }

    /// Opens an HTTP/1.1 connection through the mesh.
    pub(crate) async fn http(&self, host: &str, port: u16) -> Result<Http, Error> {
        let stream = self.dial(host, port).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = spawn(async move {
            let _ = connection.await;
        });
        Ok(Http { sender, host: host.to_owned(), _driver: driver })
    }

    /// A gRPC channel through the mesh, and how many connections it has made.
    pub(crate) async fn grpc(&self, host: &'static str, port: u16) -> Result<(Channel, Arc<AtomicUsize>), Error> {
        let dials = Arc::new(AtomicUsize::new(0));
        let (caller, counter) = (*self, Arc::clone(&dials));
        let connector = tower::service_fn(move |_: Uri| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move { caller.dial(host, port).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))?.timeout(PATIENCE);
        Ok((endpoint.connect_with_connector(connector).await?, dials))
    }
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Http {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    _driver: Task,
}

impl Http {
    /// Sends a request and gives the response, its body still to come.
    pub(crate) async fn send(&mut self, path: &str) -> Result<Response<Incoming>, Error> {
        let request = Request::get(path).header("host", &self.host).body(Empty::new())?;
        Ok(tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await.map_err(|_| "no response")??)
    }

    /// Sends a request and gives the whole body of a 200 answer as text.
    pub(crate) async fn get(&mut self, path: &str) -> Result<String, Error> {
        let response = self.send(path).await?;
        if response.status() != 200 {
            return Err(format!("{path} answered {}", response.status()).into());
        }
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.map_err(|_| "no body")??;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    }
}

/// A plain HTTP GET outside the mesh, for admin endpoints.
pub(crate) async fn admin(address: SocketAddr, path: &str) -> Result<String, Error> {
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_| "no connection")??;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = spawn(async move {
        let _ = connection.await;
    });
    Http { sender, host: address.to_string(), _driver: driver }.get(path).await
}

/// A task that ends with its handle.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a task that ends with its handle.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    #[expect(clippy::disallowed_methods, reason = "the one place of the demo that spawns")]
    Task(tokio::spawn(future).abort_handle())
}
