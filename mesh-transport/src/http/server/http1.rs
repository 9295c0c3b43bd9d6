use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{BoxError, Context, Unanswered, is_bodiless, with_length};
use super::io::{Aside, ClientIo, Stall, Wire};
use super::{ServeError, Settings};
use crate::http::body::{Body, BodyError};
use crate::http::interim::Interim;
use crate::http::limits::HTTP1_BUFFER_BYTES;
use crate::http::upgrade::{Ended, OnUpgrade};
use crate::http::watch::{Expiry, Watch};
use crate::http::wire::Framing;

/// The answer to a head that took too long.
const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

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
    let life = Arc::new(Life::new(Arc::clone(&stall)));
    let io = ClientIo::new(io, ahead, Arc::clone(&life), stall, settings.timeouts.delayed_close);
    let (switched, aside) = (io.switched(), io.aside());
    let service = service_fn(|request: Request<Incoming>| {
        let (context, life) = (Arc::clone(&context), Arc::clone(&life));
        let (switched, aside) = (Arc::clone(&switched), Arc::clone(&aside));
        async move { exchange(&context, &life, &switched, &aside, request).await }
    });
    let mut connection = builder(&settings).serve_connection(TokioIo::new(io), service).with_upgrades();

    let mut drain = pin!(drain.cancelled());
    let mut timer = pin!(tokio::time::sleep(NEVER));
    let mut draining = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            if !draining && (life.is_due() || drain.as_mut().poll(cx).is_ready()) {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            let Some(deadline) = life.deadline(&settings, draining) else { return Poll::Pending };
            if deadline != timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match life.passed(Instant::now(), &settings) {
                Some(Passed::Head) => return Poll::Ready(Err(ServeError::HeadTimeout)),
                Some(Passed::Response(expiry)) => return Poll::Ready(Err(ServeError::Expired(expiry))),
                Some(Passed::Due | Passed::Request) | None => {}
            }
        }
    });
    match ended.await {
        Ok(Ok(())) => {
            let switched = switched.load(Relaxed).then(|| life.switch()).flatten();
            if let Some(ended) = switched {
                ended.wait().await;
            }
            Ok(())
        }
        Ok(Err(error)) => Err(ServeError::Http1(error)),
        Err(error) => {
            if matches!(error, ServeError::HeadTimeout) {
                say(connection, HEAD_TIMEOUT).await;
            }
            Err(error)
        }
    }
}

fn builder(settings: &Settings) -> Builder {
    let limits = &settings.limits;
    let head_bytes = limits.request_headers_kib as usize * 1024;
    let mut builder = Builder::new();
    builder
        .max_header_size(head_bytes)
        .max_buf_size(head_bytes.max(HTTP1_BUFFER_BYTES))
        // Ours counts from the first byte of a head, hyper's from the end of the request before.
        .header_read_timeout(None)
        .auto_date_header(false);
    // The default is kept on the stack, any other number is not.
    if limits.headers != 100 {
        builder.max_headers(limits.headers as usize);
    }
    builder
}

/// Writes a last answer past hyper, which has given up.
async fn say<I, W, S>(
    connection: hyper::server::conn::http1::UpgradeableConnection<TokioIo<ClientIo<I, W>>, S>,
    answer: &[u8],
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    W: Wire,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<BoxError>,
    S::ResBody: 'static,
    <S::ResBody as http_body::Body>::Error: Into<BoxError>,
{
    let Some(parts) = connection.into_parts() else { return };
    let mut io = parts.io.into_inner();
    // The client may be gone.
    let _ = io.write_all(answer).await;
    let _ = io.shutdown().await;
}

async fn exchange<S, X>(
    context: &Context<S, X>,
    life: &Arc<Life>,
    switched: &AtomicBool,
    aside: &Aside,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Unanswered>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    X: Clone + Send + Sync + 'static,
{
    let watch = Arc::new(Watch::start());
    let under_way = life.began(Arc::clone(&watch));
    let request = request.map(|body| Body::http1(body).with_watch(Arc::clone(&watch)));
    let method = request.method().clone();
    let mut upgrades = false;
    let mut response = match context.admit(request) {
        Err(refused) => *refused,
        Ok((mut request, admitted)) => {
            let pending = hyper::upgrade::on(&mut request);
            upgrades = admitted.upgrades;
            if upgrades {
                let (ended, pending) = OnUpgrade::http1_client(pending);
                request.extensions_mut().insert(pending);
                life.may_switch(ended);
            }
            if request.version() == Version::HTTP_11 {
                request.extensions_mut().insert(Interim::of(Arc::clone(&watch)));
            }
            let answer = {
                let mut called = pin!(context.call(request, &watch));
                poll_fn(|cx| {
                    let answer = called.as_mut().poll(cx);
                    while let Some(interim) = watch.next_said(cx) {
                        watch.touch();
                        aside.say(&interim);
                    }
                    answer
                })
                .await
            };
            poll_fn(|cx| aside.poll_said(cx)).await;
            answer?
        }
    };
    let closes =
        response.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let switches = context.finish(&method, upgrades, &mut response)?;
    let limit = context.settings.limits.requests_per_connection;
    if closes || (!switches && limit.is_some_and(|limit| life.served() >= u64::from(limit))) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if switches {
        switched.store(true, Relaxed);
    } else if !is_bodiless(&method, response.status()) {
        with_length(&mut response);
    }
    *response.version_mut() = Version::HTTP_11;
    life.responds(switches);
    watch.touch();
    let hides_body = is_bodiless(&method, response.status());
    Ok(response.map(|body| Outgoing {
        body: if hides_body { empty_like(body, &method) } else { body },
        watch,
        _under_way: under_way,
    }))
}

/// For HEAD, hyper tells the length of the body that it does not send.
fn empty_like(body: Body, method: &Method) -> Body {
    if *method == Method::HEAD { body } else { Body::empty() }
}

/// The body of a response; every frame counts as movement.
struct Outgoing {
    body: Body,
    watch: Arc<Watch>,
    _under_way: UnderWay,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.watch.touch();
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

/// Longer than any connection lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a connection lives, and what it does.
struct Life {
    created: Instant,
    stall: Arc<Stall>,
    now: Mutex<Now>,
}

struct Now {
    /// The request under way.
    watch: Option<Arc<Watch>>,
    responds: bool,
    /// Since when there is none.
    idle: Instant,
    /// When the head of the next one began to arrive.
    head: Option<Instant>,
    served: u64,
    is_due: bool,
    framing: Framing,
    /// The end of the protocol that the request under way may change to.
    switch: Option<Ended>,
    /// When the request under way was found to have no time left; its answer has a moment to leave.
    expired: Option<Instant>,
}

/// A deadline that has passed.
enum Passed {
    /// Of a head.
    Head,
    /// Of a request that has no answer yet; it gets one.
    Request,
    /// Of a response that has begun.
    Response(Expiry),
    /// Of the connection.
    Due,
}

/// A request is under way until this is dropped.
struct UnderWay(Arc<Life>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut now = self.0.now.lock();
        now.watch = None;
        now.idle = Instant::now();
    }
}

impl Life {
    fn new(stall: Arc<Stall>) -> Self {
        let created = Instant::now();
        let now = Now {
            watch: None,
            responds: false,
            idle: created,
            head: None,
            served: 0,
            is_due: false,
            framing: Framing::default(),
            switch: None,
            expired: None,
        };
        Self { created, stall, now: Mutex::new(now) }
    }

    fn began(self: &Arc<Self>, watch: Arc<Watch>) -> UnderWay {
        let mut now = self.now.lock();
        now.watch = Some(watch);
        now.responds = false;
        now.expired = None;
        now.head = None;
        now.served += 1;
        UnderWay(Arc::clone(self))
    }

    fn responds(&self, switches: bool) {
        let mut now = self.now.lock();
        now.responds = true;
        if !switches {
            now.framing.stays();
        }
    }

    fn may_switch(&self, ended: Ended) {
        self.now.lock().switch = Some(ended);
    }

    fn switch(&self) -> Option<Ended> {
        self.now.lock().switch.take()
    }

    fn served(&self) -> u64 {
        self.now.lock().served
    }

    fn is_due(&self) -> bool {
        self.now.lock().is_due
    }

    /// When something may have to be done.
    fn deadline(&self, settings: &Settings, draining: bool) -> Option<Instant> {
        let timeouts = &settings.timeouts;
        let now = self.now.lock();
        let age = timeouts.connection.filter(|_| !draining).map(|limit| self.created + limit);
        let next = match (&now.watch, now.head) {
            (Some(_), _) if now.expired.is_some() => now.expired.map(|at| at + timeouts.delayed_close),
            (Some(watch), _) => watch.deadline(timeouts),
            (None, Some(head)) if timeouts.request_headers.is_some() => {
                timeouts.request_headers.map(|limit| head + limit)
            }
            // One that is being closed has a limit of its own.
            (None, _) if draining => None,
            (None, _) => timeouts.idle.map(|limit| now.idle + limit),
        };
        let stall = self.stall.since().zip(timeouts.stream_idle).map(|(since, limit)| since + limit);
        next.into_iter().chain(age).chain(stall).min()
    }

    fn passed(&self, at: Instant, settings: &Settings) -> Option<Passed> {
        let timeouts = &settings.timeouts;
        let mut now = self.now.lock();
        let stall = self.stall.since().zip(timeouts.stream_idle);
        if stall.is_some_and(|(since, limit)| since + limit <= at) {
            return Some(Passed::Response(Expiry::Idle));
        }
        if let Some(watch) = &now.watch {
            if let Err(expiry) = watch.check(at, timeouts) {
                if now.responds || now.expired.is_some() {
                    return Some(Passed::Response(expiry));
                }
                now.expired = Some(at);
                return Some(Passed::Request);
            }
        } else {
            let head = now.head.zip(timeouts.request_headers);
            if head.is_some_and(|(head, limit)| head + limit <= at) {
                return Some(Passed::Head);
            }
            if head.is_none() && timeouts.idle.is_some_and(|limit| now.idle + limit <= at) {
                now.is_due = true;
                return Some(Passed::Due);
            }
        }
        if timeouts.connection.is_some_and(|limit| self.created + limit <= at) {
            now.is_due = true;
            return Some(Passed::Due);
        }
        None
    }
}

impl Wire for Life {
    fn arrived(&self, bytes: &[u8]) -> Result<(), usize> {
        let mut now = self.now.lock();
        if let Err((kept, desync)) = now.framing.feed(bytes) {
            tracing::debug!(%desync, "request refused");
            return Err(kept);
        }
        if now.watch.is_none() && now.head.is_none() && now.framing.is_in_head() {
            now.head = Some(Instant::now());
        }
        Ok(())
    }
}
