use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{answered, is_grpc};
use crate::resilience::body::{ResponseBody, Streaming};
use crate::resilience::limits::Clock;
use crate::resilience::replay::Replay;
use crate::resilience::{BoxError, ReplayBody, TimeLimits};

/// Bounds the time of requests and their responses.
///
/// Who is too late before the response begins is answered for, 504 or 408; a response that has begun is broken off.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::resilience::TimeoutLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let slow = service_fn(async |_| {
///     tokio::time::sleep(Duration::from_secs(60)).await;
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("late"))))
/// });
/// let service = TimeoutLayer::new(Duration::from_millis(20)).layer(slow);
/// let answer = service.oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    limits: TimeLimits,
    grpc: bool,
}

impl TimeoutLayer {
    /// From the end of a request, its response has so long.
    #[must_use]
    pub fn new(response: Duration) -> Self {
        Self::with_limits(TimeLimits { response: Some(response), ..TimeLimits::default() })
    }

    /// These limits.
    #[must_use]
    pub fn with_limits(limits: TimeLimits) -> Self {
        Self { limits, grpc: false }
    }

    /// The same, and a `grpc-timeout` of a call counts from its beginning, if it is shorter.
    #[must_use]
    pub fn and_deadlines(self) -> Self {
        Self { grpc: true, ..self }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, layer: *self }
    }
}

/// A service whose time is bounded.
#[derive(Debug, Clone)]
pub struct Timed<S> {
    inner: S,
    layer: TimeoutLayer,
}

impl<S, B, R> Service<Request<B>> for Timed<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Timing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(&request);
        let given = crate::route::grpc_timeout(request.headers()).filter(|_| self.layer.grpc && grpc);
        let mut limits = self.layer.limits;
        limits.stream = limits.stream.into_iter().chain(given).min();
        let (head, body) = request.into_parts();
        let replay = Replay::new(body, 0, Instant::now());
        let clock = Some(Clock::new(limits, replay.progress()));
        let response = self.inner.call(Request::from_parts(head, replay.attempt(1)));
        Timing { response, clock, grpc }
    }
}

pin_project! {
    /// The response of a service whose time is bounded.
    pub struct Timing<F> {
        #[pin]
        response: F,
        clock: Option<Clock>,
        grpc: bool,
    }
}

impl<F> fmt::Debug for Timing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timing").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for Timing<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(Poll::Ready((expired, complete))) = this.clock.as_mut().map(|clock| clock.poll(cx)) {
            return Poll::Ready(Ok(answered(expired.answer(complete), *this.grpc)));
        }
        let response = ready!(this.response.poll(cx))?;
        let mut clock = this.clock.take();
        if let Some(clock) = &mut clock {
            clock.touch();
        }
        Poll::Ready(Ok(response.map(|body| ResponseBody::server(Streaming { clock, ..Streaming::of(body) }))))
    }
}
