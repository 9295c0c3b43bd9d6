use http::{HeaderValue, StatusCode, request};
use tokio::time::Instant;

use crate::filter::{Answer, Exchange, Filter, Flag, Step};
use crate::resilience::deadline::grpc_timeout;

/// When a request must be answered: an extension of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// The filter that reads the `grpc-timeout` of a call and puts the [`Deadline`] among the extensions of the request, for
/// whoever asks others on its behalf.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadDeadline;

impl Filter for ReadDeadline {
    fn on_request(&self, head: &mut request::Parts, _: &mut Exchange) -> Step {
        if let Some(at) = crate::route::grpc_timeout(&head.headers).and_then(|left| Instant::now().checked_add(left)) {
            head.extensions.insert(Deadline(at));
        }
        Step::Next
    }
}

/// The filter of clients that passes a [`Deadline`] on: the `grpc-timeout` of the request becomes what is left. When nothing
/// is left, nobody is asked.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use mesh_core::filter::FilterLayer;
/// use mesh_core::resilience::{Deadline, PassDeadline};
/// use tokio::time::Instant;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut call = Request::new(Empty::<Bytes>::new());
/// call.extensions_mut().insert(Deadline(Instant::now() + Duration::from_secs(5)));
/// let server = service_fn(async |request: Request<_>| {
///     let passed_on = request.headers()["grpc-timeout"].clone();
///     let _: mesh_core::filter::Begun<Empty<Bytes>> = request.into_body();
///     Ok::<_, std::convert::Infallible>(Response::builder().header("saw", passed_on).body(Full::<Bytes>::default()))
/// });
/// let server = server.map_result(|response: Result<_, _>| response.map(|response: Result<_, _>| response.unwrap_or_default()));
/// let answer = FilterLayer::new(PassDeadline).layer(server).oneshot(call).await?;
/// assert!(answer.headers()["saw"].to_str()?.starts_with("49"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PassDeadline;

impl Filter for PassDeadline {
    fn on_request(&self, head: &mut request::Parts, _: &mut Exchange) -> Step {
        let Some(Deadline(at)) = head.extensions.get().copied() else { return Step::Next };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let answer = Answer::new(StatusCode::GATEWAY_TIMEOUT, "the deadline has passed", "deadline_passed");
            let answer = Answer { grpc_status: Some(4), ..answer };
            return Step::Answer(answer.flagged(Flag::UpstreamRequestTimeout));
        }
        let own = crate::route::grpc_timeout(&head.headers);
        let left = own.map_or(left, |own| own.min(left));
        let value: HeaderValue = grpc_timeout(left);
        head.headers.insert("grpc-timeout", value);
        Step::Next
    }
}
