//! The same alone, as tower layers around any service of HTTP.

mod limit;
mod mirror;
mod retry;
mod timeout;

pub use limit::{ConcurrencyLayer, Limited, Limiting};
pub use mirror::{MirrorLayer, Mirrored};
pub use retry::{HedgeLayer, Judge, Retried, RetryLayer, Retrying, Unseen};
pub use timeout::{Timed, TimeoutLayer, Timing};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use super::body::ResponseBody;
use crate::balance::service::verdict::is_grpc as is_grpc_head;
use crate::filter::Answer;

/// An answer of a layer.
fn answered<R: Body>(answer: Answer, grpc: bool) -> Response<ResponseBody<R>> {
    answer.into_response(grpc).map(|bytes: Bytes| ResponseBody::answer(bytes))
}

/// Whether a request is a call of gRPC.
fn is_grpc<B>(request: &Request<B>) -> bool {
    is_grpc_head(request.headers())
}

/// The service that is ready takes the request; the one that stays behind is a copy of it, which must be asked again.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let spare = service.clone();
    std::mem::replace(service, spare)
}

#[cfg(test)]
mod tests;
