use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{answered, is_grpc};
use crate::balance::{Circuit, CircuitGuard, CircuitSettings, PickError, Thresholds};
use crate::resilience::BoxError;
use crate::resilience::body::{ResponseBody, Streaming};
use crate::resilience::forward::answer::refused;
use crate::route::Priority;

/// Bounds how many requests are in flight at once, until the ends of their responses. More are refused at once, 503 with
/// `x-envoy-overloaded`: who waits in a line that does not move is better told so.
///
/// All services that one layer makes, and their clones, share the limit.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::resilience::ConcurrencyLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("cart")))));
/// let service = ConcurrencyLayer::new(1).layer(shop);
/// // A response that nobody has read to its end is in flight.
/// let first = service.clone().oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// let second = service.clone().oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
/// drop(first);
/// let third = service.oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!(third.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLayer {
    circuit: Circuit,
}

impl ConcurrencyLayer {
    /// So many requests at once.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let default = Thresholds { max_requests: most, ..Thresholds::default() };
        Self { circuit: Circuit::new(CircuitSettings { default, ..CircuitSettings::default() }) }
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, circuit: self.circuit.clone() }
    }
}

/// A service with a limit of requests in flight.
#[derive(Debug, Clone)]
pub struct Limited<S> {
    inner: S,
    circuit: Circuit,
}

impl<S, B, R> Service<Request<B>> for Limited<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Limiting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(&request);
        let admitted = self.circuit.try_request(Priority::Default, Instant::now().into_std());
        let response = admitted.is_some().then(|| self.inner.call(request));
        Limiting { response, admitted, grpc }
    }
}

pin_project! {
    /// The response of a service with a limit of requests in flight.
    pub struct Limiting<F> {
        #[pin]
        response: Option<F>,
        admitted: Option<CircuitGuard>,
        grpc: bool,
    }
}

impl<F> fmt::Debug for Limiting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiting").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for Limiting<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(response) = this.response.as_pin_mut() else {
            return Poll::Ready(Ok(answered(refused(&PickError::CircuitOpen), *this.grpc)));
        };
        let response = ready!(response.poll(cx))?;
        let _admitted = this.admitted.take();
        Poll::Ready(Ok(response.map(|body| ResponseBody::server(Streaming { _admitted, ..Streaming::of(body) }))))
    }
}
