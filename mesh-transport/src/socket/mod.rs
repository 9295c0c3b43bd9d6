//! TCP sockets as a proxy wants them: no Nagle, keep-alive, connect deadlines, listeners that never fail in accept, marks,
//! transparent sources, sockets in another network namespace, original destinations, the PROXY protocol.

#[cfg(target_os = "linux")]
mod namespace;
mod original;
pub mod proxy_protocol;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

#[cfg(target_os = "linux")]
pub use namespace::{NetNamespace, NotANamespace};
pub use original::original_destination;

/// How long a TCP connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted; what is more is refused by the kernel.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed for lack of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When TCP asks a silent peer whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub time: Duration,
    /// Pause between probes.
    pub interval: Duration,
    /// Probes without an answer before the peer counts as gone.
    pub probes: u32,
    /// Whether sent bytes without an acknowledgement count as well: for the same time in all (`TCP_USER_TIMEOUT`).
    pub user_timeout: bool,
}

impl Default for KeepAlive {
    /// 180 s, 180 s, 9 probes, as Istio's ztunnel.
    fn default() -> Self {
        Self { time: Duration::from_secs(180), interval: Duration::from_secs(180), probes: 9, user_timeout: false }
    }
}

/// Whether a connection to an application comes from the address of the client that it serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceAddress {
    /// Where the process is allowed to (`CAP_NET_ADMIN`).
    #[default]
    Auto,
    /// Always; a connection fails where it is not possible.
    Client,
    /// Never: from an address of this machine.
    Own,
}

/// How the sockets of one proxy, or of one captured pod, are made. Cheap to clone.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Sockets {
    /// The network namespace that they belong to; that of the process by default.
    #[cfg(target_os = "linux")]
    pub namespace: Option<NetNamespace>,
    /// Mark on all packets (`SO_MARK`), by which capture rules leave the proxy's own traffic alone.
    pub mark: Option<u32>,
    /// Whether a second process may listen on the same port (`SO_REUSEPORT`), for upgrades without a gap.
    pub reuse_port: bool,
    /// Source of connections to applications.
    pub source: SourceAddress,
    /// Keep-alive; none when `None`.
    pub keep_alive: Option<KeepAlive>,
}

impl Sockets {
    /// Sockets of the process's own namespace, with keep-alive.
    #[must_use]
    pub fn new() -> Self {
        Self { keep_alive: Some(KeepAlive::default()), ..Self::default() }
    }

    /// Listens at an address. A wildcard IPv6 address takes IPv4 as well.
    ///
    /// # Errors
    /// The address is in use or not of this machine.
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        let socket = self.socket(address, Type::STREAM, Protocol::TCP)?;
        // A restarted proxy must not wait for the connections of its predecessor to time out.
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        #[cfg(target_os = "linux")]
        if self.mark.is_some() {
            // Accepted sockets inherit it: answers to a redirected connection must carry the proxy's mark.
            self.set_mark(&socket)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener { listener: TcpListener::from_std(socket.into())?, keep_alive: self.keep_alive })
    }

    /// A UDP socket at an address.
    ///
    /// # Errors
    /// The address is in use or not of this machine.
    pub fn udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(address, Type::DGRAM, Protocol::UDP)?;
        #[cfg(unix)]
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        self.set_mark(&socket)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Connects within [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// As TCP's connect; [`io::ErrorKind::TimedOut`] at the deadline.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(to, Type::STREAM, Protocol::TCP)?;
        self.set_mark(&socket)?;
        self.finish(socket, to).await
    }

    /// Connects to a local application for a client: from the client's address where [`Sockets::source`] says so.
    ///
    /// # Errors
    /// As [`Sockets::connect`].
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn connect_for(&self, client: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
        let client = client.to_canonical();
        let same_family = client.is_ipv4() == to.is_ipv4();
        if self.source == SourceAddress::Own || !same_family || client == to.ip() || to.ip().is_loopback() {
            return self.connect(to).await;
        }
        let socket = self.socket(to, Type::STREAM, Protocol::TCP)?;
        self.set_mark(&socket)?;
        match take_source(&socket, client) {
            Ok(()) => self.finish(socket, to).await,
            Err(_) if self.source == SourceAddress::Auto => self.connect(to).await,
            Err(error) => Err(error),
        }
    }

    /// The options of an accepted or connected stream: wanted, not needed, as a socket without them still carries bytes.
    fn finish_options(keep_alive: Option<KeepAlive>, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let mut set = socket.set_tcp_nodelay(true);
        if let Some(settings) = keep_alive {
            let probes = TcpKeepalive::new().with_time(settings.time).with_interval(settings.interval);
            #[cfg(not(windows))]
            let probes = probes.with_retries(settings.probes);
            set = set.and_then(|()| socket.set_tcp_keepalive(&probes));
            #[cfg(target_os = "linux")]
            if settings.user_timeout {
                let limit = settings.time + settings.interval * settings.probes;
                set = set.and_then(|()| socket.set_tcp_user_timeout(Some(limit)));
            }
        }
        if let Err(error) = set {
            tracing::debug!(%error, "socket options not set");
        }
    }

    async fn finish(&self, socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
        let connecting = TcpSocket::from_std_stream(socket.into()).connect(to);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Self::finish_options(self.keep_alive, &stream);
        Ok(stream)
    }

    fn socket(&self, of: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let make = || Socket::new(Domain::for_address(of), kind, Some(protocol));
        #[cfg(target_os = "linux")]
        let socket = match &self.namespace {
            Some(namespace) => namespace.run(make)??,
            None => make()?,
        };
        #[cfg(not(target_os = "linux"))]
        let socket = make()?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    #[cfg_attr(not(target_os = "linux"), expect(clippy::unused_self, reason = "marks are Linux's"))]
    fn set_mark(&self, socket: &Socket) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(mark) = self.mark {
            return socket.set_mark(mark);
        }
        let _ = socket;
        Ok(())
    }
}

/// Binds a socket to an address that is another machine's.
#[cfg(target_os = "linux")]
fn take_source(socket: &Socket, client: IpAddr) -> io::Result<()> {
    match client {
        IpAddr::V4(_) => {
            socket.set_freebind_v4(true)?;
            socket.set_ip_transparent_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_ip_transparent_v6(true)?;
        }
    }
    socket.bind(&SocketAddr::new(client, 0).into())
}

#[cfg(not(target_os = "linux"))]
fn take_source(_socket: &Socket, _client: IpAddr) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// A TCP listener.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    keep_alive: Option<KeepAlive>,
}

impl Listener {
    /// Listens at an address of the process's own namespace.
    ///
    /// # Errors
    /// The address is in use or not of this machine.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Sockets::new().listen(address)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. Errors of a single connection are passed over; a lack of resources is waited out.
    ///
    /// # Cancel safety
    /// Safe: no accepted connection is lost.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    Sockets::finish_options(self.keep_alive, &stream);
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

/// Connects from the process's own namespace, within [`CONNECT_TIMEOUT`].
///
/// # Errors
/// As [`Sockets::connect`].
///
/// # Cancel safety
/// Safe: the attempt is given up.
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    Sockets::new().connect(to).await
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
