use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use mesh_core::filter::{Answer, Flag};
use mesh_core::request;
use tower::ServiceExt;

use super::Settings;
use crate::http::body::Body;
use crate::http::head::{Admitted, Downstream, Refusal};
use crate::http::upgrade::is_switched;
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
        let is_grpc = is_grpc(&request);
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
        let is_grpc = is_grpc(&request);
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

    /// What every answer of ours has, and must not have. Gives whether it changes protocols, which it must not for a request
    /// that does not allow it.
    pub(super) fn finish(
        &self,
        method: &Method,
        upgrades: bool,
        response: &mut Response<Body>,
    ) -> Result<bool, Unanswered> {
        let switched = is_switched(method, response);
        if switched && !upgrades {
            return Err(Unanswered("the service changes protocols without being asked".into()));
        }
        self.settings.rules.finish(response.headers_mut(), switched);
        Ok(switched)
    }

    fn refuse(&self, refusal: &Refusal, is_grpc: bool) -> Response<Body> {
        tracing::debug!(client = %self.downstream.peer, %refusal, "request refused");
        let mut response = reply(refusal.status(), Flag::DownstreamProtocolError, "", is_grpc);
        response.extensions_mut().insert(refusal.clone());
        if refusal.closes() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a request whose time is over: whose fault it is depends on whether it was there as a whole.
fn expired(expiry: Expiry, request_ended: bool, is_grpc: bool) -> Response<Body> {
    let flag = match expiry {
        Expiry::Request => Flag::DownstreamProtocolError,
        Expiry::Duration => Flag::DurationTimeout,
        Expiry::Idle => Flag::StreamIdleTimeout,
    };
    let status = if request_ended { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
    let mut response = reply(status, flag, "stream timeout", is_grpc);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer of our own, with its flag in the extensions.
fn reply(status: StatusCode, flag: Flag, text: &'static str, is_grpc: bool) -> Response<Body> {
    let mut response = Answer::new(status, text, "").flagged(flag).into_response(is_grpc).map(Body::from);
    response.extensions_mut().insert(flag);
    response
}

/// Whether a request is a call of gRPC, which is answered in another form.
fn is_grpc<B>(request: &Request<B>) -> bool {
    request::Request::new(request.method(), "", "/", request.headers()).is_grpc()
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
