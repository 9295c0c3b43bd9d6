//! Protocols that a connection changes to: WebSocket and others by `upgrade`, and CONNECT.
//!
//! Inside, every upgrade has the form of HTTP/1.1, whatever the client speaks and whatever the server will: a `GET` with
//! `upgrade` and `connection: upgrade`, answered by 101. Extended CONNECT (RFC 8441) is translated at both ends.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, InvalidHeaderValue, UPGRADE};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mesh_core::listener::UpgradeSupport;
use mesh_core::route::Upgrade;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::hbone::{self, HboneStream};
use crate::relay::{AnySource, Counts, Sink, Source, Split, relay};

/// A connection or stream that will carry another protocol. Stands in the extensions of a request that may change
/// protocols, and of a response that says it does.
#[derive(Debug, Clone)]
pub struct OnUpgrade {
    pending: Arc<Mutex<Option<Pending>>>,
}

/// Anything that is to be dropped when both directions of an upgraded connection have ended.
type Guard = Arc<Mutex<dyn Any + Send>>;

#[derive(Debug)]
enum Pending {
    Http1(hyper::upgrade::OnUpgrade, Option<Guard>),
    Http2(oneshot::Receiver<(HboneStream, Guard)>),
    Ready(HboneStream, Guard),
}

/// Who serves a connection knows by this when a changed protocol has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended(CancellationToken);

impl Ended {
    pub(super) async fn wait(&self) {
        self.0.cancelled().await;
    }

    fn guard(&self) -> Guard {
        guard(self.0.clone().drop_guard())
    }
}

fn guard(guarded: impl Send + 'static) -> Guard {
    Arc::new(Mutex::new(guarded))
}

/// The bytes of the other protocol, both ways.
#[derive(Debug)]
pub struct Upgraded {
    io: Io,
    guard: Option<Guard>,
}

#[derive(Debug)]
enum Io {
    Http1(TokioIo<hyper::upgrade::Upgraded>),
    Http2(HboneStream),
}

impl OnUpgrade {
    /// Takes it from the extensions of a message.
    #[must_use]
    pub fn take(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove::<Self>()
    }

    /// Waits until the last byte of HTTP is through. For a request, that is after the answer was handed to the server.
    ///
    /// # Errors
    /// The connection ended, or the answer was another one, or this was called before.
    ///
    /// # Cancel safety
    /// Not safe: the connection is lost.
    pub async fn upgraded(self) -> io::Result<Upgraded> {
        let pending = self.pending.lock().take();
        let (io, guard) = match pending {
            Some(Pending::Http1(pending, guard)) => {
                (Io::Http1(TokioIo::new(pending.await.map_err(io::Error::other)?)), guard)
            }
            Some(Pending::Http2(pending)) => {
                let (stream, guard) = pending.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
                (Io::Http2(stream), Some(guard))
            }
            Some(Pending::Ready(stream, guard)) => (Io::Http2(stream), Some(guard)),
            None => return Err(io::Error::from(io::ErrorKind::NotConnected)),
        };
        Ok(Upgraded { io, guard })
    }

    /// Of a connection to an endpoint.
    pub(super) fn http1(pending: hyper::upgrade::OnUpgrade) -> Self {
        Self::of(Pending::Http1(pending, None))
    }

    /// Of a client's connection, and what tells when it has ended.
    pub(super) fn http1_client(pending: hyper::upgrade::OnUpgrade) -> (Ended, Self) {
        let ended = Ended::default();
        let guard = ended.guard();
        (ended, Self::of(Pending::Http1(pending, Some(guard))))
    }

    /// Of a client's stream, which is still to come.
    pub(super) fn http2_client() -> (Http2Switch, Self) {
        let (sender, receiver) = oneshot::channel();
        (Http2Switch(sender), Self::of(Pending::Http2(receiver)))
    }

    /// Of a stream to an endpoint.
    pub(super) fn ready(stream: HboneStream, guarded: impl Send + 'static) -> Self {
        Self::of(Pending::Ready(stream, guard(guarded)))
    }

    fn of(pending: Pending) -> Self {
        Self { pending: Arc::new(Mutex::new(Some(pending))) }
    }
}

/// Hands a stream over to whoever asked for it.
pub(super) struct Http2Switch(oneshot::Sender<(HboneStream, Guard)>);

impl Http2Switch {
    /// Gives what tells when it has ended.
    pub(super) fn switch(self, stream: HboneStream) -> Ended {
        let ended = Ended::default();
        // Whoever asked may have thought better of it; then the stream is reset.
        let _ = self.0.send((stream, ended.guard()));
        ended
    }
}

/// Relays between both ends until both directions have ended; half-close is passed on.
///
/// # Errors
/// An end did not change protocols, or its connection failed.
///
/// # Cancel safety
/// Dropping the future closes both ends.
pub async fn splice(downstream: OnUpgrade, upstream: OnUpgrade, counts: &Counts) -> io::Result<()> {
    let (downstream, upstream) = tokio::try_join!(downstream.upgraded(), upstream.upgraded())?;
    relay(downstream, upstream, counts).await
}

/// The protocol that a request wants to change to: `CONNECT`, or what `upgrade` names.
#[must_use]
pub fn requested<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    if method == Method::CONNECT {
        return Some("CONNECT");
    }
    headers.get(UPGRADE)?.to_str().ok()
}

/// Whether a protocol may be changed to: the route decides, and where it says nothing, the listener. What neither names
/// may not.
#[must_use]
pub fn is_allowed(protocol: &str, listener: &[UpgradeSupport], route: &[Upgrade]) -> bool {
    let of_route = route.iter().find(|one| one.protocol.as_str().eq_ignore_ascii_case(protocol)).map(|one| one.enabled);
    let of_listener = || listener.iter().any(|one| one.enabled && one.protocol.as_str().eq_ignore_ascii_case(protocol));
    of_route.unwrap_or_else(of_listener)
}

/// Whether a response says that its request's connection changes protocols.
#[must_use]
pub fn is_switched<B>(method: &Method, response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (*method == Method::CONNECT && response.status().is_success())
}

const WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// Extended CONNECT, as `upgrade` (RFC 8441 section 5).
pub(super) fn from_extended(headers: &mut HeaderMap, protocol: &str) -> Result<(), InvalidHeaderValue> {
    headers.insert(UPGRADE, HeaderValue::from_str(protocol)?);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(())
}

/// 101 as the answer to extended CONNECT.
pub(super) fn to_extended_response<B>(response: &mut Response<B>) {
    *response.status_mut() = StatusCode::OK;
    for name in [UPGRADE, CONNECTION, WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
}

/// What the answer to a translated WebSocket request needs.
#[derive(Debug, Clone)]
pub(super) struct Translated {
    protocol: HeaderValue,
    accept: Option<HeaderValue>,
}

/// `upgrade`, as extended CONNECT: gives the protocol, and takes what HTTP/2 does not know.
pub(super) fn to_extended(headers: &mut HeaderMap) -> Option<(h2::ext::Protocol, Translated)> {
    let protocol = headers.remove(UPGRADE)?;
    headers.remove(CONNECTION);
    let key = headers.remove(WEBSOCKET_KEY);
    let named = h2::ext::Protocol::from(protocol.to_str().ok()?);
    Some((named, Translated { protocol, accept: key.and_then(|key| accept(key.as_bytes())) }))
}

/// 200 as the answer to a request that was translated to extended CONNECT.
pub(super) fn from_extended_response<B>(response: &mut Response<B>, translated: Translated) {
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, translated.protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(accept) = translated.accept {
        headers.insert(WEBSOCKET_ACCEPT, accept);
    }
}

/// HTTP/1.1 servers want a key that clients of HTTP/2 do not send.
pub(super) fn with_websocket_key(headers: &mut HeaderMap) {
    use base64::Engine as _;
    let is_websocket = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket || headers.contains_key(WEBSOCKET_KEY) {
        return;
    }
    let key = base64::engine::general_purpose::STANDARD.encode(fastrand::u128(..).to_be_bytes());
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.insert(WEBSOCKET_KEY, key);
    }
}

/// RFC 6455 section 4.2.2.
fn accept(key: &[u8]) -> Option<HeaderValue> {
    use base64::Engine as _;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let text = base64::engine::general_purpose::STANDARD.encode(context.finish());
    HeaderValue::from_str(&text).ok()
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Http1(io) => Pin::new(io).poll_read(cx, buf),
            Io::Http2(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Http1(io) => Pin::new(io).poll_write(cx, buf),
            Io::Http2(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Http1(io) => Pin::new(io).poll_flush(cx),
            Io::Http2(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Http1(io) => Pin::new(io).poll_shutdown(cx),
            Io::Http2(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

type Http1Io = TokioIo<hyper::upgrade::Upgraded>;

/// Where the bytes of an upgraded connection come from.
#[derive(Debug)]
pub struct UpgradedSource {
    source: SourceOf,
    _guard: Option<Guard>,
}

/// Where the bytes of an upgraded connection go.
#[derive(Debug)]
pub struct UpgradedSink {
    sink: SinkOf,
    _guard: Option<Guard>,
}

#[derive(Debug)]
enum SourceOf {
    Http1(AnySource<ReadHalf<Http1Io>>),
    Http2(hbone::ReadHalf),
}

#[derive(Debug)]
enum SinkOf {
    Http1(WriteHalf<Http1Io>),
    Http2(hbone::WriteHalf),
}

impl Split for Upgraded {
    type Source = UpgradedSource;
    type Sink = UpgradedSink;

    fn split(self) -> (UpgradedSource, UpgradedSink) {
        match self.io {
            Io::Http1(io) => {
                let (read, write) = tokio::io::split(io);
                let (source, sink) = (SourceOf::Http1(AnySource::new(read)), SinkOf::Http1(write));
                (UpgradedSource { source, _guard: self.guard.clone() }, UpgradedSink { sink, _guard: self.guard })
            }
            Io::Http2(io) => {
                let (read, write) = io.into_split();
                let (source, sink) = (SourceOf::Http2(read), SinkOf::Http2(write));
                (UpgradedSource { source, _guard: self.guard.clone() }, UpgradedSink { sink, _guard: self.guard })
            }
        }
    }
}

impl Source for UpgradedSource {
    async fn chunk(&mut self) -> io::Result<Option<bytes::Bytes>> {
        match &mut self.source {
            SourceOf::Http1(source) => source.chunk().await,
            SourceOf::Http2(source) => source.chunk().await,
        }
    }

    fn release(&mut self, bytes: usize) {
        match &mut self.source {
            SourceOf::Http1(source) => source.release(bytes),
            SourceOf::Http2(source) => source.release(bytes),
        }
    }
}

impl Sink for UpgradedSink {
    async fn send(&mut self, bytes: bytes::Bytes) -> io::Result<()> {
        match &mut self.sink {
            SinkOf::Http1(sink) => sink.send(bytes).await,
            SinkOf::Http2(sink) => sink.send(bytes).await,
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        match &mut self.sink {
            SinkOf::Http1(sink) => sink.finish().await,
            SinkOf::Http2(sink) => Sink::finish(sink).await,
        }
    }
}
