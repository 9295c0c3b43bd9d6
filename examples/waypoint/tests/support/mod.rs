//! What the tests of the waypoint share: addresses of their own, processes, a client by SOCKS5, applications, and a scene of
//! servers behind tunnels.

pub mod application;
pub mod manifests;
pub mod process;
pub mod scene;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mesh_core::name::{SpiffeId, parse_spiffe_id};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Loopback addresses that nobody else has: other tests of this process and other processes run beside it.
#[derive(Debug, Clone, Copy)]
pub struct Block(u8);

static BLOCKS: AtomicU8 = AtomicU8::new(0);

impl Block {
    pub fn new() -> Self {
        Self(BLOCKS.fetch_add(1, Ordering::Relaxed))
    }

    pub fn ip(self, host: u8) -> IpAddr {
        let process = u8::try_from(std::process::id() % 250).unwrap();
        Ipv4Addr::new(127, 77 + self.0, process, host).into()
    }

    pub fn at(self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(host), port)
    }

    /// Where the waypoint is.
    pub fn waypoint(self) -> IpAddr {
        self.ip(10)
    }
}

pub fn id(name: &str) -> SpiffeId {
    parse_spiffe_id(&format!("spiffe://cluster.local/ns/shop/sa/{name}")).unwrap()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("did not come about: {what}"));
}

/// One request of HTTP/1.1, and all that comes back until the other end closes.
pub async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    path: &str,
    headers: &str,
) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: carts\r\n{headers}connection: close\r\n\r\n");
    let asking = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    tokio::time::timeout(SOON, asking).await.expect("an answer comes").unwrap()
}

/// The name of the application that answered.
pub fn name_of(answer: &str) -> &str {
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().lines().next().unwrap_or_default()
}

/// A connection out of the workload at `from`, by its node proxy's SOCKS5 way in; the error is the reply code.
pub async fn dial(from: IpAddr, to: SocketAddr) -> Result<TcpStream, u8> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut stream = socket.connect(SocketAddr::new(from, process::SOCKS_PORT)).await.map_err(|_| u8::MAX)?;
    let IpAddr::V4(ip) = to.ip() else { panic!("IPv4 only") };
    let mut request = vec![5, 1, 0, 5, 1, 0, 1];
    request.extend(ip.octets());
    request.extend(to.port().to_be_bytes());
    stream.write_all(&request).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.expect("the node proxy answers");
    match read {
        Ok(_) if answer[3] == 0 => Ok(stream),
        Ok(_) => Err(answer[3]),
        Err(_) => Err(u8::MAX),
    }
}
