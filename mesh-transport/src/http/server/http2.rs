use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::answer::{BoxError, Context, is_bodiless, with_length};
use super::io::{ClientIo, Stall};
use super::{ServeError, Settings};
use crate::hbone::HboneStream;
use crate::http::body::{Body, BodyError};
use crate::http::limits::{FRAME_BYTES, HTTP2_HANDSHAKE_TIMEOUT, RESET_BURST, RESETS_PER_SECOND, SEND_BUFFER_BYTES};
use crate::http::pipe::{Pipe, PipeError};
use crate::http::upgrade::{OnUpgrade, to_extended_response};
use crate::http::watch::{Expiry, Watch};

/// How a stream ended.
enum Ended {
    Done,
    /// The client reset it before it had its answer.
    Reset,
}

pub(super) async fn serve<I, S, X>(
    io: I,
    ahead: Bytes,
    context: Arc<Context<S, X>>,
    drain: CancellationToken,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    X: Clone + Send + Sync + 'static,
{
    let settings = Arc::clone(&context.settings);
    let stall = Arc::<Stall>::default();
    let io = ClientIo::new(io, ahead, Arc::new(()), Arc::clone(&stall), settings.timeouts.delayed_close);
    let handshake = tokio::time::timeout(HTTP2_HANDSHAKE_TIMEOUT, builder(&settings).handshake(io));
    let mut connection =
        handshake.await.unwrap_or_else(|_| Err(Reason::SETTINGS_TIMEOUT.into())).map_err(ServeError::Http2)?;

    let mut streams = FuturesUnordered::new();
    let mut life = Life::new(&settings, stall);
    let mut drain = pin!(drain.cancelled_owned());
    let mut timer = pin!(tokio::time::sleep_until(life.deadline()));
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while let Poll::Ready(accepted) = connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => {
                        streams.push(stream(Arc::clone(&context), request, respond));
                        life.began();
                    }
                    // A client that was told to go may do so without a word.
                    Some(Err(error)) if error.is_io() && life.draining && streams.is_empty() => {
                        return Poll::Ready(Ok(()));
                    }
                    Some(Err(error)) => return Poll::Ready(Err(ServeError::Http2(error))),
                    None => return Poll::Ready(Ok(())),
                }
            }
            while let Poll::Ready(Some(ended)) = streams.poll_next_unpin(cx) {
                moved = true;
                if !life.ended(ended, streams.is_empty()) {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    // The frame leaves with the next poll, if the client takes it.
                    let _ = connection.poll_closed(cx);
                    return Poll::Ready(Err(ServeError::RapidReset));
                }
            }
            if !life.draining && (life.wants_drain() || drain.as_mut().poll(cx).is_ready()) {
                life.drain();
                connection.graceful_shutdown();
                moved = true;
            }
            if moved {
                continue;
            }
            let deadline = life.deadline();
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if life.is_stalled(now) {
                return Poll::Ready(Err(ServeError::Expired(Expiry::Idle)));
            }
            if life.passed(now) {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                let _ = connection.poll_closed(cx);
                return Poll::Ready(Ok(()));
            }
            timer.as_mut().reset(life.deadline());
        }
    })
    .await
}

fn builder(settings: &Settings) -> h2::server::Builder {
    let limits = &settings.limits;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(limits.request_headers_kib.saturating_mul(1024))
        .max_frame_size(FRAME_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    if let Some(bytes) = limits.stream_window_bytes {
        builder.initial_window_size(bytes);
    }
    if let Some(bytes) = limits.connection_window_bytes {
        builder.initial_connection_window_size(bytes);
    }
    if limits.connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// How long a connection lives, and how often its streams may be reset.
struct Life<'a> {
    settings: &'a Settings,
    stall: Arc<Stall>,
    created: Instant,
    /// Since when there is no stream; `None` while there is one.
    idle: Option<Instant>,
    draining: bool,
    drain_began: Option<Instant>,
    /// Whether it was idle for too long, or is too old.
    is_due: bool,
    served: u64,
    resets: f64,
    resets_at: Instant,
}

/// Longer than any connection lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl<'a> Life<'a> {
    fn new(settings: &'a Settings, stall: Arc<Stall>) -> Self {
        let now = Instant::now();
        Self {
            settings,
            stall,
            created: now,
            idle: Some(now),
            draining: false,
            drain_began: None,
            is_due: false,
            served: 0,
            resets: f64::from(RESET_BURST),
            resets_at: now,
        }
    }

    fn began(&mut self) {
        self.idle = None;
        self.served += 1;
    }

    /// Whether the connection may go on.
    fn ended(&mut self, ended: Ended, last: bool) -> bool {
        if last {
            self.idle = Some(Instant::now());
        }
        if matches!(ended, Ended::Done) {
            return true;
        }
        let now = Instant::now();
        let gained = (now - self.resets_at).as_secs_f64() * RESETS_PER_SECOND;
        self.resets_at = now;
        self.resets = (self.resets + gained).min(f64::from(RESET_BURST)) - 1.0;
        self.resets >= 0.0
    }

    fn wants_drain(&self) -> bool {
        self.settings.limits.requests_per_connection.is_some_and(|limit| self.served >= u64::from(limit)) || self.is_due
    }

    fn drain(&mut self) {
        self.draining = true;
        self.drain_began = Some(Instant::now());
    }

    /// When the connection is to be drained.
    fn due(&self) -> Option<Instant> {
        let timeouts = &self.settings.timeouts;
        let idle = timeouts.idle.and_then(|limit| Some(self.idle? + limit));
        let age = timeouts.connection.map(|limit| self.created + limit);
        idle.into_iter().chain(age).min()
    }

    fn deadline(&self) -> Instant {
        let closes = || Some(self.drain_began?.max(self.idle?) + self.settings.timeouts.drain);
        let next = if self.draining { closes() } else { self.due() };
        let stall = self.stall.since().zip(self.settings.timeouts.stream_idle).map(|(since, limit)| since + limit);
        next.into_iter().chain(stall).min().unwrap_or(self.created + NEVER)
    }

    fn is_stalled(&self, now: Instant) -> bool {
        self.stall.since().zip(self.settings.timeouts.stream_idle).is_some_and(|(since, limit)| since + limit <= now)
    }

    /// A deadline may have passed; whether the client was told to go, has nothing more to get, and had long enough to leave.
    fn passed(&mut self, now: Instant) -> bool {
        let passed = self.deadline() <= now;
        self.is_due |= passed;
        passed && self.draining
    }
}

async fn stream<S, X>(
    context: Arc<Context<S, X>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Ended
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    X: Clone + Send + Sync + 'static,
{
    let watch = Arc::new(Watch::start());
    let mut timer = pin!(Timer::new(&watch, &context.settings));
    let (parts, receive) = request.into_parts();
    let mut method = parts.method.clone();
    let mut request = Request::from_parts(parts, Body::empty());
    let mut tunnel = None;
    let mut extended = false;
    if method == Method::CONNECT {
        watch.request_ended();
        if request.extensions().get::<h2::ext::Protocol>().is_some() {
            extended = true;
            method = Method::GET;
        }
        let (sender, pending) = OnUpgrade::http2();
        request.extensions_mut().insert(pending);
        tunnel = Some((sender, receive));
    } else {
        let body = Body::http2(receive, request.headers()).with_watch(Arc::clone(&watch));
        *request.body_mut() = body;
    }

    let mut response = match context.admit(request) {
        Err(refused) => *refused,
        Ok((request, admitted)) => {
            if admitted.expects_continue && !request.body().is_end_stream() {
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::CONTINUE;
                // The client may be gone, and is found to be below.
                let _ = respond.send_informational(interim);
            }
            let answered = {
                let mut called = pin!(context.call(request, &watch));
                poll_fn(|cx| {
                    if let Poll::Ready(answer) = called.as_mut().poll(cx) {
                        return Poll::Ready(Some(answer));
                    }
                    if respond.poll_reset(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    // Found in the watch by whoever calls, which is asked again at once.
                    if timer.as_mut().poll(cx).is_ready() {
                        return called.as_mut().poll(cx).map(Some);
                    }
                    Poll::Pending
                })
                .await
            };
            match answered {
                None => return Ended::Reset,
                Some(Ok(response)) => response,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a service failed");
                    respond.send_reset(reason(&*error.0));
                    return Ended::Done;
                }
            }
        }
    };

    let Ok(switches) = context.finish(&method, tunnel.is_some(), &mut response) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ended::Done;
    };
    response.headers_mut().remove(http::header::CONNECTION);
    *response.version_mut() = Version::HTTP_2;
    if let Some((sender, receive)) = tunnel.take_if(|_| switches) {
        if extended {
            to_extended_response(&mut response);
        }
        if let Ok(send) = respond.send_response(response.map(drop), false) {
            // Whoever asked may have thought better of it; then the stream is reset.
            let _ = sender.send(HboneStream::new(send, receive));
        }
        return Ended::Done;
    }

    let bodiless = is_bodiless(&method, response.status()) || response.body().is_end_stream();
    if !bodiless {
        with_length(&mut response);
    }
    let (head, body) = response.into_parts();
    let Ok(send) = respond.send_response(Response::from_parts(head, ()), bodiless) else { return Ended::Reset };
    if bodiless {
        return Ended::Done;
    }
    watch.touch();
    let mut pipe = Pipe::new(Outgoing { body, watch: &watch }, send);
    let sent = poll_fn(|cx| match Pin::new(&mut pipe).poll(cx) {
        Poll::Ready(sent) => Poll::Ready(Ok(sent)),
        Poll::Pending => timer.as_mut().poll(cx).map(Err),
    });
    match sent.await {
        Ok(Ok(())) => Ended::Done,
        Ok(Err(PipeError::Peer)) => Ended::Reset,
        Ok(Err(PipeError::Body(error))) => {
            tracing::debug!(%error, "a response broke off");
            Ended::Done
        }
        Err(expiry) => {
            tracing::debug!(%expiry, "a response broke off");
            pipe.reset(BodyError::Expired(expiry).reason());
            Ended::Done
        }
    }
}

/// The reason for a reset that a service asks for by its error.
fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason().unwrap_or(Reason::INTERNAL_ERROR);
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}

/// The body of a response; every frame counts as movement.
struct Outgoing<'a> {
    body: Body,
    watch: &'a Watch,
}

impl http_body::Body for Outgoing<'_> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.watch.touch();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Ends when a limit of time of a request has passed.
struct Timer<'a> {
    watch: &'a Watch,
    settings: &'a Settings,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<'a> Timer<'a> {
    const fn new(watch: &'a Watch, settings: &'a Settings) -> Self {
        Self { watch, settings, sleep: None }
    }
}

impl Future for Timer<'_> {
    type Output = Expiry;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Expiry> {
        loop {
            if let Some(sleep) = &mut self.sleep
                && sleep.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            match self.watch.check(Instant::now(), &self.settings.timeouts) {
                Err(expiry) => return Poll::Ready(expiry),
                Ok(None) => return Poll::Pending,
                Ok(Some(next)) => match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(next),
                    None => self.sleep = Some(Box::pin(tokio::time::sleep_until(next))),
                },
            }
        }
    }
}
