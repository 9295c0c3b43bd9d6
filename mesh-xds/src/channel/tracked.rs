//! The body of a response, which says at its end how the call went.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::balance::{CircuitGuard, Outcome, Pick};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use super::upstream::now;

/// A body of a response; the call is in flight until it ends.
pub(super) struct Tracked {
    pub(super) body: Body,
    pub(super) pick: Option<Pick>,
    /// When the call must be over.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// Kept as long as a retry is under way.
    pub(super) _retry: Option<CircuitGuard>,
}

/// How a call with a gRPC status went, for those who judge endpoints by HTTP's.
pub(super) fn outcome(status: Code) -> Outcome {
    Outcome::of_grpc(status as u32)
}

/// The status in headers or trailers, if it is there.
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

impl Tracked {
    fn end(&mut self, outcome: Option<Outcome>) {
        if let (Some(pick), Some(outcome)) = (self.pick.take(), outcome) {
            pick.finish(outcome, now());
        }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            this.end(Some(Outcome::TimedOut));
            this.body = Body::empty();
            this.deadline = None;
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the route's largest duration has passed"))));
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(frame) = &polled {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        this.end(Some(outcome(status(trailers).unwrap_or(Code::Unknown))));
                    }
                }
                Some(Err(_)) => this.end(Some(Outcome::Unreachable)),
                None => this.end(None),
            }
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
