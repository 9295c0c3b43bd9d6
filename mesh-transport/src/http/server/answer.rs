use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower::ServiceExt;

use super::Settings;
use crate::http::body::Body;
use crate::http::head::{Admitted, Downstream, Refusal};
use crate::http::status::{ResponseFlag, is_grpc, local_reply};
use crate::http::watch::{Expiry, Watch};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service failed, and there is no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Unanswered(#[from] pub(super) BoxError);

/// What all requests of a connection share.
pub(super) struct Context<S, X> {
    pub(super) settings: Arc<Settings>,
    pub(super) downstream: Downstream,
    pub(super) info: X,
    pub(super) service: S,
}

impl<S, X> Context<S, X>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    X: Clone + Send + Sync + 'static,
{
    /// Lets a request in, in the form that services see; or gives the answer that refuses it.
    pub(super) fn admit(&self, request: Request<Body>) -> Result<(Request<Body>, Admitted), Box<Response<Body>>> {
        let is_grpc = is_grpc(request.headers());
        let (mut parts, body) = request.into_parts();
        match self.settings.rules.admit(&mut parts, &self.downstream) {
            Ok(admitted) => {
                parts.extensions.insert(self.info.clone());
                parts.extensions.insert(self.downstream.clone());
                Ok((Request::from_parts(parts, body), admitted))
            }
            Err(refusal) => Err(Box::new(self.refuse(&refusal, is_grpc))),
        }
    }

    /// Asks the service. The answer to a request whose time is over is ours.
    pub(super) async fn call(&self, request: Request<Body>, watch: &Watch) -> Result<Response<Body>, Unanswered> {
        let is_grpc = is_grpc(request.headers());
        let mut called = pin!(self.service.clone().oneshot(request));
        let answered = poll_fn(|cx| match watch.expired() {
            Some(expiry) => Poll::Ready(Err(expiry)),
            None => called.as_mut().poll(cx).map(Ok),
        });
        match answered.await {
            Ok(answer) => answer.map_err(|error| Unanswered(error.into())),
            Err(expiry) => Ok(expired(expiry, watch.has_request_ended(), is_grpc)),
        }
    }

    /// What every answer of ours has, and must not have.
    pub(super) fn finish(&self, method: &Method, response: &mut Response<Body>) {
        let switched = crate::http::upgrade::is_switched(method, response);
        self.settings.rules.finish(response.headers_mut(), switched);
    }

    fn refuse(&self, refusal: &Refusal, is_grpc: bool) -> Response<Body> {
        tracing::debug!(client = %self.downstream.peer, %refusal, "request refused");
        let mut response = local_reply(refusal.status(), ResponseFlag::DownstreamProtocolError, "", is_grpc);
        response.extensions_mut().insert(refusal.clone());
        if let Some(location) = refusal.location() {
            response.headers_mut().insert(http::header::LOCATION, location.clone());
        }
        if refusal.closes() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a request whose time is over: whose fault it is depends on whether it was there as a whole.
pub(super) fn expired(expiry: Expiry, request_ended: bool, is_grpc: bool) -> Response<Body> {
    let (status, flag) = match (expiry, request_ended) {
        (Expiry::Request, _) => (StatusCode::REQUEST_TIMEOUT, ResponseFlag::DownstreamProtocolError),
        (Expiry::Duration, true) => (StatusCode::GATEWAY_TIMEOUT, ResponseFlag::DurationTimeout),
        (Expiry::Duration, false) => (StatusCode::REQUEST_TIMEOUT, ResponseFlag::DurationTimeout),
        (Expiry::Idle, true) => (StatusCode::GATEWAY_TIMEOUT, ResponseFlag::StreamIdleTimeout),
        (Expiry::Idle, false) => (StatusCode::REQUEST_TIMEOUT, ResponseFlag::StreamIdleTimeout),
    };
    let mut response = local_reply(status, flag, "stream timeout", is_grpc);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether a response to this method is without a body, whatever the service made.
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Tells the length where it is known and not told.
pub(super) fn with_length(response: &mut Response<Body>) {
    let Some(length) = http_body::Body::size_hint(response.body()).exact() else { return };
    response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
}
