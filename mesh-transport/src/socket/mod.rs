//! TCP sockets as a proxy wants them: no Nagle, keep-alive, connect deadlines, listeners that never fail in accept.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// How long a TCP connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted; what is more is refused by the kernel.
const BACKLOG: i32 = 4096;

/// Keep-alive: the first probe after 180 s of silence, then every 180 s, gone after 9 without an answer.
const KEEP_ALIVE: Duration = Duration::from_secs(180);
const KEEP_ALIVE_PROBES: u32 = 9;

/// Pause after an accept that failed for lack of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A TCP listener.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// The address is in use or not of this machine.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted proxy must not wait for the connections of its predecessor to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self(TcpListener::from_std(socket.into())?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection. Errors of a single connection are passed over; a lack of resources is waited out.
    ///
    /// # Cancel safety
    /// Safe: no accepted connection is lost.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    set_options(&stream);
                    return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Connects within [`CONNECT_TIMEOUT`].
///
/// # Errors
/// As TCP's connect; [`io::ErrorKind::TimedOut`] at the deadline.
///
/// # Cancel safety
/// Safe: the attempt is given up.
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    set_options(&stream);
    Ok(stream)
}

/// Options that are wanted, not needed: a socket without them still carries bytes.
fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    #[cfg(not(windows))]
    let keep_alive = keep_alive.with_retries(KEEP_ALIVE_PROBES);
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keep_alive));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options not set");
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
