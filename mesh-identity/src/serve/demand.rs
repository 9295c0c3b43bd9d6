use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};

use super::Caller;
use crate::verify::Expected;

/// A layer that lets only expected callers through. Others get 403, or `PERMISSION_DENIED` when they speak gRPC; the service
/// does not see their request.
#[derive(Debug, Clone)]
pub struct Demand(Expected);

impl Demand {
    /// Lets these callers through.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self(expected)
    }
}

impl<S> Layer<S> for Demand {
    type Service = Demanding<S>;

    fn layer(&self, inner: S) -> Demanding<S> {
        Demanding { inner, expected: self.0.clone() }
    }
}

/// A service behind [`Demand`].
#[derive(Debug, Clone)]
pub struct Demanding<S> {
    inner: S,
    expected: Expected,
}

impl<S> Demanding<S> {
    fn permits<B>(&self, request: &Request<B>) -> Result<(), String> {
        let caller = request.extensions().get::<Caller>();
        #[cfg(feature = "axum")]
        let caller = caller.or_else(|| {
            request
                .extensions()
                .get::<axum::extract::ConnectInfo<Caller>>()
                .map(|axum::extract::ConnectInfo(info)| info)
        });
        let peer = caller.and_then(Caller::peer).ok_or("the caller presented no certificate")?;
        self.expected.check(peer).map_err(|error| error.to_string())
    }
}

impl<S, A, B> Service<Request<A>> for Demanding<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<B>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        match self.permits(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(reason) => {
                tracing::info!(reason, path = request.uri().path(), "a request is refused");
                Either::Right(ready(Ok(refusal(&request))))
            }
        }
    }
}

fn refusal<A, B: Default>(request: &Request<A>) -> Response<B> {
    let mut response = Response::new(B::default());
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("7"));
        headers.insert("grpc-message", HeaderValue::from_static("the caller may not be here"));
    } else {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}
