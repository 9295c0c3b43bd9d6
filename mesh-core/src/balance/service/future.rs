use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;
use tower::util::Oneshot;

use super::super::pick::{Pick, PickError};
use super::body::BalancedBody;
use super::error::BalancedError;
use super::make::Classify;
use super::verdict::of_head;

pin_project! {
    /// A request on its way to its endpoint. Dropping it cancels the request, which says nothing of the endpoint.
    pub struct BalancedFuture<S, C, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, C, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, C, B>
    where
        S: Service<Request<B>>,
    {
        Refused { error: PickError },
        Sent {
            #[pin]
            sent: Oneshot<S, Request<B>>,
            pick: Option<Pick>,
            classify: C,
            clock: fn() -> Instant,
        },
    }
}

impl<S, C, B> BalancedFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) const fn refused(error: PickError) -> Self {
        Self { state: State::Refused { error } }
    }

    pub(super) const fn sent(sent: Oneshot<S, Request<B>>, pick: Pick, classify: C, clock: fn() -> Instant) -> Self {
        Self { state: State::Sent { sent, pick: Some(pick), classify, clock } }
    }
}

impl<S, C, B, R> Future for BalancedFuture<S, C, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Classify<S::Error>,
    R: Body,
{
    type Output = Result<Response<BalancedBody<R>>, BalancedError<S::Error>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Refused { error } => Poll::Ready(Err(BalancedError::Pick(error.clone()))),
            Projected::Sent { sent, pick, classify, clock } => {
                let answered = ready!(sent.poll(context));
                let mut pick = pick.take();
                let outcome = match &answered {
                    Ok(response) => of_head(response.status(), response.headers(), response.body().is_end_stream()),
                    Err(error) => Some(classify.outcome(error)),
                };
                if let (Some(pick), Some(outcome)) = (&mut pick, outcome) {
                    pick.report(outcome, clock());
                }
                let track = |body| BalancedBody::new(body, pick, outcome.is_none(), *clock);
                Poll::Ready(answered.map(|response| response.map(track)).map_err(BalancedError::Endpoint))
            }
        }
    }
}

impl<S, C, B> fmt::Debug for BalancedFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("BalancedFuture");
        match &self.state {
            State::Refused { error } => debug.field("refused", error),
            State::Sent { pick, .. } => debug.field("to", &pick.as_ref().map(Pick::address)),
        };
        debug.finish_non_exhaustive()
    }
}
