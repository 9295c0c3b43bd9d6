use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt};

use super::{answered, is_grpc, take_ready};
use crate::balance::service::Tried;
use crate::balance::{Circuit, CircuitGuard, CircuitSettings, RetryLimit, Thresholds};
use crate::resilience::attempts::{Attempts, Last, PerTry, Ticket, Tries};
use crate::resilience::body::{ResponseBody, Streaming};
use crate::resilience::forward::answer::attempt_timed_out;
use crate::resilience::progress::Progress;
use crate::resilience::replay::Replay;
use crate::resilience::{BoxError, ReplayBody};
use crate::route::{BackOff, Outcome, Priority, RetryPolicy};

/// Tries requests again, as a [`RetryPolicy`] says, as long as a budget allows.
///
/// A response is one that the policy is asked about until its head is there; what has begun is never tried again. The body of
/// a request is kept for it, 1 MiB unless it is said otherwise; a longer one is sent once. All services that one layer makes
/// share its budget.
///
/// Errors of the service are responses that never came. [`Outcome`] knows more kinds of them: a function from the service's
/// error tells which, [`with_judge`](Self::with_judge).
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::resilience::RetryLayer;
/// use mesh_core::route::{RetryOn, RetryPolicy};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// static CALLS: AtomicU32 = AtomicU32::new(0);
/// let shaky = service_fn(async |_| {
///     let status = if CALLS.fetch_add(1, Relaxed) < 2 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
///     let mut response = Response::new(Full::new(Bytes::from("cart")));
///     *response.status_mut() = status;
///     Ok::<_, Infallible>(response)
/// });
/// let policy = RetryPolicy { on: RetryOn::GATEWAY_ERROR, retries: 3, ..RetryPolicy::default() };
/// let service = RetryLayer::new(policy).layer(shaky);
/// let answer = service.oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!((answer.status(), CALLS.load(Relaxed)), (StatusCode::OK, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RetryLayer<J = Unseen> {
    settings: Settings,
    judge: J,
}

#[derive(Debug, Clone)]
struct Settings {
    policy: Arc<RetryPolicy>,
    per_try: PerTry,
    circuit: Circuit,
    body_buffer: u64,
    wall_clock: Option<fn() -> SystemTime>,
}

impl RetryLayer {
    /// Retries by this policy, within Envoy's budget: a fifth of the requests that are in flight, and three in any case.
    ///
    /// [`RetryPolicy::avoid`] and its like are for those who choose endpoints, and have no effect here: a
    /// [`Balanced`](crate::balance::service::Balanced) below passes over who was [`Tried`] anyway.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        let per_try = PerTry { timeout: policy.per_try_timeout, idle: policy.per_try_idle_timeout, hedged: false };
        let budget = RetryLimit::Budget { percent: 20.0, min_concurrency: 3, interval: Duration::ZERO };
        let settings = Settings {
            policy: Arc::new(policy),
            per_try,
            circuit: circuit(budget),
            body_buffer: 1 << 20,
            wall_clock: None,
        };
        Self { settings, judge: Unseen }
    }
}

impl<J> RetryLayer<J> {
    /// The same with this budget.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryLimit) -> Self {
        self.settings.circuit = circuit(budget);
        self
    }

    /// The same, and so many bytes of a body are kept at most.
    #[must_use]
    pub fn with_body_buffer(mut self, bytes: u64) -> Self {
        self.settings.body_buffer = bytes;
        self
    }

    /// The same with a wall clock, for servers that say at what time to come again.
    #[must_use]
    pub fn with_wall_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.settings.wall_clock = Some(clock);
        self
    }

    /// The same, and this tells what an error of the service is.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> RetryLayer<K> {
        RetryLayer { settings: self.settings, judge }
    }
}

/// Sends a request again when its response does not begin in time, without giving the first attempt up: the first answer
/// counts.
///
/// Requests must be such that it does no harm if they are carried out twice.
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Empty, Full};
/// use mesh_core::resilience::HedgeLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// static CALLS: AtomicU32 = AtomicU32::new(0);
/// let moody = service_fn(async |_| {
///     let call = CALLS.fetch_add(1, Relaxed);
///     tokio::time::sleep(Duration::from_secs(if call == 0 { 60 } else { 0 })).await;
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(call.to_string()))))
/// });
/// let service = HedgeLayer::new(Duration::from_millis(20), 1).layer(moody);
/// let answer = service.oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!(answer.into_body().collect().await?.to_bytes(), "1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HedgeLayer {
    retry: RetryLayer,
}

impl HedgeLayer {
    /// Each time an attempt has taken so long, there is another, up to so many beside the first. They are within the same
    /// budget as the retries of [`RetryLayer::new`].
    #[must_use]
    pub fn new(delay: Duration, others: u32) -> Self {
        let back_off = BackOff { base: Duration::ZERO, max: None };
        let policy = RetryPolicy { retries: others, per_try_timeout: Some(delay), back_off, ..RetryPolicy::default() };
        Self::with_policy(policy)
    }

    /// As this policy says: [`RetryPolicy::per_try_timeout`] is the delay, and attempts that fail are tried again too.
    #[must_use]
    pub fn with_policy(policy: RetryPolicy) -> Self {
        let mut retry = RetryLayer::new(policy);
        retry.settings.per_try.hedged = true;
        Self { retry }
    }

    /// The same with this budget.
    #[must_use]
    pub fn with_budget(self, budget: RetryLimit) -> Self {
        Self { retry: self.retry.with_budget(budget) }
    }
}

/// Requests in flight are only counted; they bound the retries.
fn circuit(retries: RetryLimit) -> Circuit {
    let default = Thresholds { max_requests: u32::MAX, retries, ..Thresholds::default() };
    Circuit::new(CircuitSettings { default, ..CircuitSettings::default() })
}

/// Who tells what an error of a service is to retries.
pub trait Judge<E> {
    /// What it is. `sent` is whether anything of the request may have been sent.
    fn outcome(&self, error: &E, sent: bool) -> Outcome<'static>;
}

/// Does not look at errors: each is a stream that broke off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unseen;

impl<E> Judge<E> for Unseen {
    fn outcome(&self, _: &E, sent: bool) -> Outcome<'static> {
        Outcome::Reset { sent }
    }
}

impl<E, F: Fn(&E) -> Outcome<'static>> Judge<E> for F {
    fn outcome(&self, error: &E, _: bool) -> Outcome<'static> {
        self(error)
    }
}

impl<S, J: Clone> Layer<S> for RetryLayer<J> {
    type Service = Retried<S, J>;

    fn layer(&self, inner: S) -> Retried<S, J> {
        Retried { inner, layer: self.clone() }
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Retried<S>;

    fn layer(&self, inner: S) -> Retried<S> {
        self.retry.layer(inner)
    }
}

/// A service that is asked again.
#[derive(Debug, Clone)]
pub struct Retried<S, J = Unseen> {
    inner: S,
    layer: RetryLayer<J>,
}

impl<S, J, B, R> Service<Request<B>> for Retried<S, J>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    J: Judge<S::Error> + Clone,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Retrying<S, J, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let RetryLayer { settings, judge } = &self.layer;
        let grpc = is_grpc(&request);
        let (mut head, body) = request.into_parts();
        if settings.policy.retries > 0 {
            // All attempts share it, as they share what else stands there.
            head.extensions.get_or_insert_default::<Tried>();
        }
        let replay = Replay::new(body, settings.body_buffer, now);
        let progress = replay.progress();
        let admitted = settings.circuit.try_request(Priority::Default, now.into_std());
        let ready = Some(take_ready(&mut self.inner));
        let again = Again {
            ready,
            service: self.inner.clone(),
            head,
            replay,
            progress,
            settings: settings.clone(),
            judge: judge.clone(),
            body: std::marker::PhantomData,
        };
        Retrying { attempts: Attempts::new(again), admitted, grpc }
    }
}

/// A request and the service that is asked, again and again.
struct Again<S, J, B, R> {
    /// For the first attempt.
    ready: Option<S>,
    service: S,
    head: request::Parts,
    replay: Replay<B>,
    progress: Progress,
    settings: Settings,
    judge: J,
    body: std::marker::PhantomData<fn() -> R>,
}

/// Nobody wants to know how attempts went.
struct Nobody;

impl<R, E> Ticket<R, E> for Nobody {
    fn handle_response(&mut self, _: &Response<R>) {}

    fn handle_error(&mut self, _: &E) {}

    fn handle_timeout(&mut self) {}
}

impl<S, J, B, R> Tries for Again<S, J, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    J: Judge<S::Error>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Body = R;
    type Error = S::Error;
    type Send = Oneshot<S, Request<ReplayBody<B>>>;
    type Ticket = Nobody;
    type Refusal = Infallible;

    fn begin(&mut self, number: u32) -> Result<(Self::Send, Nobody), Infallible> {
        let service = self.ready.take().unwrap_or_else(|| self.service.clone());
        let request = Request::from_parts(self.head.clone(), self.replay.attempt(number));
        Ok((service.oneshot(request), Nobody))
    }

    fn policy(&self) -> Option<&RetryPolicy> {
        Some(&self.settings.policy)
    }

    fn per_try(&self) -> PerTry {
        self.settings.per_try
    }

    fn can_replay(&self) -> bool {
        self.replay.can_begin_again()
    }

    fn admit_retry(&self, _: &Nobody) -> Option<CircuitGuard> {
        self.settings.circuit.try_retry(Priority::Default, Instant::now().into_std())
    }

    fn outcome(&self, error: &S::Error) -> Outcome<'static> {
        self.judge.outcome(error, self.replay.may_be_sent())
    }

    fn wall_time(&self) -> Option<Duration> {
        self.settings.wall_clock?().duration_since(SystemTime::UNIX_EPOCH).ok()
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

pin_project! {
    /// The response of a service that is asked again. Dropping it ends all attempts at once.
    pub struct Retrying<S, J, B, R>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
        S: Clone,
        J: Judge<S::Error>,
        B: Body<Data = Bytes>,
        B: Unpin,
        B::Error: Into<BoxError>,
    {
        #[pin]
        attempts: Attempts<Again<S, J, B, R>>,
        admitted: Option<CircuitGuard>,
        grpc: bool,
    }
}

impl<S, J, B, R> fmt::Debug for Retrying<S, J, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    J: Judge<S::Error>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrying").finish_non_exhaustive()
    }
}

impl<S, J, B, R> Future for Retrying<S, J, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    J: Judge<S::Error>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let end = ready!(this.attempts.as_mut().poll(cx));
        Poll::Ready(match end.last {
            Last::Response(response, Nobody) => {
                this.attempts.as_mut().tries_mut().replay.commit(end.number);
                let _admitted = this.admitted.take();
                Ok(response.map(|body| ResponseBody::server(Streaming { _admitted, ..Streaming::of(body) })))
            }
            Last::Failed(error) => Err(error),
            Last::TimedOut => Ok(answered(attempt_timed_out(), *this.grpc)),
            Last::Refused(never) => match never {},
        })
    }
}
