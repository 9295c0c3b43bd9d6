use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::resilience::forward::mirror::{LONGEST, discard};
use crate::resilience::limits::{Clock, TimeLimits};
use crate::resilience::replay::Replay;
use crate::resilience::{BoxError, ReplayBody, Spawn};
use crate::route::Fraction;

/// Sends copies of requests to another service, and forgets the responses. Whatever becomes of a copy, the request itself is
/// neither slower nor worse off: a copy that does not read as fast as the request is sent is given up.
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::mpsc;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use mesh_core::resilience::{MirrorLayer, ReplayBody, Work};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
///     let body = request.into_body().collect().await.map(|body| body.to_bytes());
///     Ok::<_, Infallible>(Response::new(Full::new(body.unwrap_or_default())))
/// });
/// // Work beside requests is for the program to carry out: here, after the request.
/// let (sender, work) = mpsc::channel();
/// let spawn = move |work: Work| drop(sender.send(work));
///
/// let service = MirrorLayer::new(shop.clone(), spawn).layer(shop);
/// let answer = service.oneshot(Request::new(Full::new(Bytes::from("cart")))).await?;
/// assert_eq!(answer.into_body().collect().await?.to_bytes(), "cart");
/// work.try_recv()?.await;
/// # Ok(())
/// # }
/// ```
pub struct MirrorLayer<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    to: M,
    spawn: Box<dyn Spawn>,
    fraction: Option<Fraction>,
}

/// How many bytes a copy may lag behind.
const MOST_BEHIND: usize = 1 << 20;

impl<M> MirrorLayer<M> {
    /// Copies of all requests go to this service. Each has 15 s from the end of the request, and may lag behind by 1 MiB.
    pub fn new(to: M, spawn: impl Spawn + 'static) -> Self {
        Self::part(to, spawn, None)
    }

    /// Copies of this part of the requests only.
    pub fn of(to: M, spawn: impl Spawn + 'static, fraction: Fraction) -> Self {
        Self::part(to, spawn, Some(fraction))
    }

    fn part(to: M, spawn: impl Spawn + 'static, fraction: Option<Fraction>) -> Self {
        Self { shared: Arc::new(Shared { to, spawn: Box::new(spawn), fraction }) }
    }
}

impl<M> Clone for MirrorLayer<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for MirrorLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorLayer").field("fraction", &self.shared.fraction).finish_non_exhaustive()
    }
}

impl<S, M> Layer<S> for MirrorLayer<M> {
    type Service = Mirrored<S, M>;

    fn layer(&self, inner: S) -> Mirrored<S, M> {
        Mirrored { inner, layer: self.clone() }
    }
}

/// A service of whose requests another gets copies.
#[derive(Debug)]
pub struct Mirrored<S, M> {
    inner: S,
    layer: MirrorLayer<M>,
}

impl<S: Clone, M> Clone for Mirrored<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, M, B, R> Service<Request<B>> for Mirrored<S, M>
where
    S: Service<Request<ReplayBody<B>>>,
    M: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    M::Future: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let Shared { to, spawn, fraction } = &*self.layer.shared;
        let (head, body) = request.into_parts();
        let replay = Replay::new(body, 0, Instant::now());
        if fraction.is_none_or(|fraction| fraction.takes(fastrand::u64(..))) {
            let copy = Request::from_parts(head.clone(), replay.copy(MOST_BEHIND));
            let limits = TimeLimits { response: Some(LONGEST), ..TimeLimits::default() };
            let clock = Clock::new(limits, replay.progress());
            spawn.spawn(Box::pin(discard(to.clone().oneshot(copy), clock, None, |_, _| {})));
        }
        self.inner.call(Request::from_parts(head, replay.attempt(1)))
    }
}
