//! What stands between the HTTP server of a chain and its filters: knows the connection, splices protocols that are changed
//! to, and keeps the access log.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use mesh_core::filter::{Connection, Exchange, Filtered, Flag};
use mesh_core::listener::HttpTimeouts;
use mesh_core::name::Text;
use mesh_core::resilience::{Forwarder, ResponseError};
use mesh_identity::task::Tasks;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::access::{AccessLog, Record};
use super::limits::{idle, over};
use super::upstreams::ClustersAtWork;
use crate::http::upgrade::{self, OnUpgrade};
use crate::http::{Body, BodyError, Requester};
use crate::relay::Counts;

/// Serves the requests of a chain.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) chain: Filtered<Forwarder<ClustersAtWork>>,
    pub(super) log: Arc<dyn AccessLog>,
    pub(super) tasks: Tasks,
    pub(super) timeouts: HttpTimeouts,
    /// Cancelled by the first request of the connection.
    pub(super) asked: CancellationToken,
}

impl Entry {
    /// The same, for a connection of which nothing was asked yet.
    pub(super) fn for_connection(&self) -> Self {
        Self { asked: CancellationToken::new(), ..self.clone() }
    }
}

impl Service<Request<Body>> for Entry {
    type Response = Response<Body>;
    type Error = Infallible;
    // Boxed, for its type cannot be named; one allocation per request.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.asked.cancel();
        let (tasks, log) = (self.tasks.clone(), Arc::clone(&self.log));
        let exchange = exchange(&mut request);
        let received = Arc::new(AtomicU64::new(0));
        let mut pending = Pending {
            record: Some(begin(&request, Arc::clone(&exchange.connection))),
            log,
            begun: Instant::now(),
            received: Arc::clone(&received),
        };
        let (method, timeouts) = (request.method().clone(), self.timeouts);
        let downstream = OnUpgrade::take(request.extensions_mut());
        request.extensions_mut().insert(exchange);
        let answered = self.chain.call(request.map(|body| Metered { body, count: received }));
        Box::pin(async move {
            let Ok(mut response) = answered.await;
            let mut idle_timeout = timeouts.stream_idle;
            if let Some(record) = &mut pending.record {
                record.status = Some(response.status());
                record.grpc_status = grpc_status(response.headers());
                if let Some(exchange) = response.extensions_mut().remove::<Exchange>() {
                    record.learn(&exchange);
                    let forward = exchange.selection().and_then(|selection| selection.selected().forward());
                    if let Some(limit) = forward.and_then(|forward| forward.idle_timeout) {
                        idle_timeout = Some(limit).filter(|limit| !limit.is_zero());
                    }
                }
            }
            if upgrade::is_switched(&method, &response)
                && let (Some(downstream), Some(upstream)) = (downstream, OnUpgrade::take(response.extensions_mut()))
            {
                let (head, body) = response.into_parts();
                tasks.spawn(async move {
                    // The endpoint is in use as long as it lasts.
                    let _body = body;
                    let counts = Counts::default();
                    let left = timeouts.stream.map(|limit| limit.saturating_sub(pending.begun.elapsed()));
                    let (complete, expired) = tokio::select! {
                        spliced = upgrade::splice(downstream, upstream, &counts) => (spliced.is_ok(), None),
                        () = idle(&counts, idle_timeout) => (false, Some((Flag::StreamIdleTimeout, "stream_idle_timeout"))),
                        () = over(left) => (false, Some((Flag::DurationTimeout, "max_duration_timeout"))),
                    };
                    if let (Some((flag, details)), Some(record)) = (expired, &mut pending.record) {
                        record.flags.insert(flag);
                        record.details = details.into();
                    }
                    pending.end(complete, (counts.sent(), counts.received()));
                });
                return Ok(Response::from_parts(head, Body::empty()));
            }
            if response.body().is_end_stream() {
                let received = pending.received.load(Ordering::Relaxed);
                pending.end(true, (received, 0));
                return Ok(response.map(Body::new));
            }
            Ok(response.map(|body| Body::new(Logged { body, sent: 0, pending })))
        })
    }
}

/// What is known of a request when it comes.
fn exchange(request: &mut Request<Body>) -> Exchange {
    let extensions = request.extensions_mut();
    let connection = extensions.remove::<Arc<Connection>>().unwrap_or_else(|| {
        let nowhere = std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        Arc::new(Connection::new(nowhere, nowhere))
    });
    let mut exchange = Exchange::new(connection);
    if let Some(requester) = extensions.get::<Requester>() {
        exchange.remote = requester.address;
    }
    match request.headers().get("x-forwarded-proto").map(http::HeaderValue::as_bytes) {
        Some(b"https") => exchange.scheme = "https",
        Some(b"http") => exchange.scheme = "http",
        _ => {}
    }
    exchange
}

fn begin(request: &Request<Body>, connection: Arc<Connection>) -> Record {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().into();
    Record {
        connection,
        method: request.method().clone(),
        authority: text("host"),
        path: request.uri().path_and_query().map_or_else(Text::default, |path| path.as_str().into()),
        version: request.version(),
        request_id: text("x-request-id"),
        user_agent: text("user-agent"),
        status: None,
        grpc_status: None,
        bytes: (0, 0),
        took: std::time::Duration::ZERO,
        complete: false,
        flags: mesh_core::filter::Flags::default(),
        details: Text::default(),
        route: Text::default(),
        upstream: None,
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A record that is written when its request has ended, however it ends.
struct Pending {
    record: Option<Record>,
    log: Arc<dyn AccessLog>,
    begun: Instant,
    received: Arc<AtomicU64>,
}

impl Pending {
    fn end(&mut self, complete: bool, bytes: (u64, u64)) {
        let Some(mut record) = self.record.take() else { return };
        record.complete = complete;
        record.bytes = bytes;
        record.took = self.begun.elapsed();
        self.log.record(&record);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record {
            record.flags.insert(record.given_up());
        }
        let received = self.received.load(Ordering::Relaxed);
        self.end(false, (received, 0));
    }
}

/// The body of a request, counted.
pub(super) struct Metered {
    body: Body,
    count: Arc<AtomicU64>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, at whose end the record is written.
struct Logged<B> {
    body: B,
    sent: u64,
    pending: Pending,
}

impl<B> http_body::Body for Logged<B>
where
    B: http_body::Body<Data = Bytes, Error = ResponseError> + Unpin,
{
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let (Some(trailers), Some(record)) = (frame.trailers_ref(), &mut this.pending.record) {
                    record.grpc_status = grpc_status(trailers).or(record.grpc_status);
                }
                // Nobody asks for more of a body that says it is over.
                if this.body.is_end_stream() {
                    this.end(true);
                }
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(record) = &mut this.pending.record {
                    let (flag, details) = broken(error);
                    record.flags.insert(flag);
                    record.details = details.into();
                }
                this.end(false);
            }
            Poll::Ready(None) => this.end(true),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Logged<B> {
    fn end(&mut self, complete: bool) {
        let received = self.pending.received.load(Ordering::Relaxed);
        self.pending.end(complete, (received, self.sent));
    }
}

/// Why a response broke off, as Envoy's logs say it.
fn broken(error: &ResponseError) -> (Flag, &'static str) {
    let flag = match error {
        ResponseError::Expired(expired) => return (expired.flag(), expired.as_str()),
        ResponseError::Server(source) => match source.downcast_ref() {
            Some(BodyError::Http2(error)) if error.is_library() => Flag::UpstreamProtocolError,
            Some(BodyError::Http2(error)) if error.is_reset() => Flag::UpstreamRemoteReset,
            _ => Flag::UpstreamConnectionTermination,
        },
        _ => error.flag(),
    };
    let details = match flag {
        Flag::UpstreamProtocolError => "upstream_reset_after_response_started{protocol_error}",
        Flag::UpstreamRemoteReset => "upstream_reset_after_response_started{remote_reset}",
        _ => "upstream_reset_after_response_started{connection_termination}",
    };
    (flag, details)
}
