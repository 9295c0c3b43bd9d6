use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{BoxError, Context};
use super::io::{ClientIo, Stall};
use super::stream::{self, Ended};
use super::{ServeError, Settings};
use crate::http::body::Body;
use crate::http::limits::{FRAME_BYTES, HTTP2_HANDSHAKE_TIMEOUT, RESET_BURST, RESETS_PER_SECOND, SEND_BUFFER_BYTES};
use crate::http::watch::Expiry;

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
                        streams.push(stream::serve(Arc::clone(&context), request, respond));
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
