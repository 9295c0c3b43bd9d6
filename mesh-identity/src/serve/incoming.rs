use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use mesh_core::live::Live;
use mesh_core::report::chain;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::Caller;
use crate::bundle::BundleSet;
use crate::clock::Clock;
use crate::task::Tasks;
use crate::tls::Identity;
use crate::verify::{self, Purpose};

/// Deadline of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes under way at a time.
const CONCURRENT_HANDSHAKES: usize = 256;

/// Most connections at a time, unless set.
const MAX_CONNECTIONS: usize = 20_000;

/// How long a connection may outlive its caller's certificate.
const AFTER_EXPIRY: Duration = Duration::from_secs(60 * 60);

/// Connections that have completed a TLS handshake.
///
/// Slow and failing handshakes wait beside each other, never before others. A connection ends when its caller stops to be
/// trusted: when its chain does not verify any more after the bundles changed, and an hour after its certificate's end.
pub struct Incoming {
    accepted: mpsc::Receiver<Connection>,
    address: Option<SocketAddr>,
    tasks: Tasks,
}

impl Incoming {
    /// Connections to a listener, by a configuration of `identity`, whose bundles and clock judge the callers. There are 20,000
    /// at a time at most; others wait to be accepted.
    #[must_use]
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>, identity: &Identity) -> Self {
        Self::at_most(MAX_CONNECTIONS, listener, config, identity)
    }

    /// As [`Incoming::new`], with another number of connections at a time.
    #[must_use]
    pub fn at_most(most: usize, listener: TcpListener, config: Arc<ServerConfig>, identity: &Identity) -> Self {
        let (sender, accepted) = mpsc::channel(64);
        let (address, tasks) = (listener.local_addr().ok(), Tasks::default());
        let judge = Judge { bundles: identity.bundles().clone(), clock: identity.clock() };
        let places = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        tasks.spawn(accept(listener, TlsAcceptor::from(config), judge, places, sender, tasks.clone()));
        Self { accepted, address, tasks }
    }

    /// Where it listens, as long as the socket told.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The next connection; `None` when there will be none.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Option<Connection> {
        self.accepted.recv().await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(cx).map(|next| next.map(Ok))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    judge: Judge,
    places: Arc<Semaphore>,
    sender: mpsc::Sender<Connection>,
    tasks: Tasks,
) {
    let permits = Arc::new(Semaphore::new(CONCURRENT_HANDSHAKES));
    loop {
        if places.available_permits() == 0 {
            tracing::warn!(address = ?listener.local_addr(), "as many connections as there may be; others wait");
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, judge, sender) = (acceptor.clone(), judge.clone(), sender.clone());
        tasks.spawn(async move {
            let made = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, tcp, address, judge, place)).await;
            drop(permit);
            match made {
                Ok(Ok(connection)) => {
                    // Nobody takes it when the server is gone.
                    let _ = sender.send(connection).await;
                }
                Ok(Err(error)) => {
                    let reason = verify::rejection(&error).map_or_else(|| chain(&error), |reason| chain(reason));
                    tracing::debug!(%address, reason, "TLS handshake failed");
                }
                Err(_) => tracing::debug!(%address, "TLS handshake not completed in time"),
            }
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
    judge: Judge,
    place: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    let _ = tcp.set_nodelay(true);
    let tls = acceptor.accept(tcp).await?;
    let certificates: Option<Arc<[CertificateDer<'static>]>> =
        tls.get_ref().1.peer_certificates().map(|chain| chain.iter().map(|der| der.clone().into_owned()).collect());
    let bundles = judge.bundles.snapshot();
    let peer = match &certificates {
        Some(chain) => Some(judge.verify(chain, &bundles)?),
        None => None,
    };
    let watch = certificates.map(|chain| Watch { chain, bundles, judge });
    Ok(Connection { tls, caller: Caller { address, peer }, watch, _place: place })
}

/// By what callers are judged.
#[derive(Clone)]
struct Judge {
    bundles: Live<BundleSet>,
    clock: Arc<dyn Clock>,
}

impl Judge {
    fn verify(&self, chain: &[CertificateDer<'_>], bundles: &BundleSet) -> io::Result<verify::VerifiedPeer> {
        verify::peer(Some(chain), bundles, Purpose::Client, self.clock.now())
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))
    }
}

/// Judges a caller again when trust has changed.
struct Watch {
    chain: Arc<[CertificateDer<'static>]>,
    /// By which it was judged last.
    bundles: Arc<BundleSet>,
    judge: Judge,
}

impl Watch {
    fn look(&mut self, not_after: SystemTime) -> io::Result<()> {
        let refuse = |error| io::Error::new(io::ErrorKind::PermissionDenied, error);
        let now = self.judge.clock.now();
        if now > not_after + AFTER_EXPIRY {
            return Err(refuse(verify::Error::Expired("the caller".to_owned())));
        }
        if std::ptr::eq(&*self.judge.bundles.load(), &*self.bundles) {
            return Ok(());
        }
        let bundles = self.judge.bundles.snapshot();
        verify::still_trusted(&self.chain, &bundles, Purpose::Client, now).map_err(refuse)?;
        self.bundles = bundles;
        Ok(())
    }
}

/// A TLS connection whose caller is known.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    caller: Caller,
    watch: Option<Watch>,
    /// One of the connections that there may be at a time.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Who called.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The protocol that was agreed on (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.tls.get_ref().1.alpn_protocol()
    }

    fn look(&mut self) -> io::Result<()> {
        let (Some(watch), Some(peer)) = (&mut self.watch, &self.caller.peer) else { return Ok(()) };
        watch.look(peer.not_after()).inspect_err(|error| {
            tracing::info!(peer = %peer.id(), %error, "a connection ends: its caller is not trusted any more");
        })
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.tls).poll_read(cx, buf))?;
        if let Err(error) = self.look() {
            // What came from somebody who is not trusted is not handed on.
            buf.set_filled(before);
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look()?;
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("caller", &self.caller).finish_non_exhaustive()
    }
}
