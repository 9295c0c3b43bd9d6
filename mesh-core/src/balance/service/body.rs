use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::super::outlier::Outcome;
use super::super::pick::Pick;
use super::verdict::of_trailers;

pin_project! {
    /// The body of a response. Its request is in flight until it ends or is dropped.
    #[derive(Debug)]
    pub struct BalancedBody<B> {
        #[pin]
        body: B,
        pick: Option<Pick>,
        // Whether trailers are to say how the call went.
        awaits_status: bool,
        clock: fn() -> Instant,
    }
}

impl<B> BalancedBody<B> {
    pub(super) const fn new(body: B, pick: Option<Pick>, awaits_status: bool, clock: fn() -> Instant) -> Self {
        Self { body, pick, awaits_status, clock }
    }

    /// The body itself. The request is not in flight any more.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<B: Body> Body for BalancedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let polled = ready!(this.body.poll_frame(context));
        let outcome = match &polled {
            Some(Ok(frame)) if frame.is_data() => return Poll::Ready(polled),
            Some(Ok(frame)) => frame.trailers_ref().and_then(of_trailers),
            Some(Err(_)) => Some(Outcome::Unreachable),
            None => None,
        };
        if let Some(mut pick) = this.pick.take() {
            let now = (this.clock)();
            match outcome {
                // It began well, and was broken off: that counts beside what was reported.
                Some(Outcome::Unreachable) if !*this.awaits_status => drop(pick.report_broken(now)),
                Some(outcome) => drop(pick.report(outcome, now)),
                // A call ends with its status.
                None if *this.awaits_status => drop(pick.report(Outcome::Failed, now)),
                None => {}
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
