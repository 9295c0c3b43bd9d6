//! What an endpoint is told to have done, from what is seen of its response.

use http::{HeaderMap, Response};
use tokio::time::Instant;

use super::SendError;
use crate::balance::service::verdict::{of_head, of_trailers};
use crate::balance::{Outcome, Pick};

/// An endpoint at work on one attempt: it is in flight until this is dropped, and how it went is reported once.
#[derive(Debug)]
pub(crate) struct Tracked {
    pick: Pick,
    reported: bool,
}

impl Tracked {
    pub(crate) fn new(pick: Pick) -> Self {
        Self { pick, reported: false }
    }

    pub(crate) fn pick(&self) -> &Pick {
        &self.pick
    }

    /// A response has begun. A gRPC call that went well so far says at its end how it went.
    pub(crate) fn handle_response<R>(&mut self, response: &Response<R>) {
        if let Some(outcome) = of_head(response.status(), response.headers(), false) {
            self.report(outcome);
        }
    }

    pub(crate) fn handle_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(outcome) = of_trailers(trailers) {
            self.report(outcome);
        }
    }

    /// The response has broken off, or is no proper one: that counts beside what its head said.
    pub(crate) fn handle_break(&mut self) {
        self.reported = true;
        let _change = self.pick.report_broken(Instant::now().into_std());
    }

    /// The response has ended. A gRPC call has failed if it never said how it went.
    pub(crate) fn handle_end(&mut self) {
        self.report(Outcome::Failed);
    }

    /// There is no response.
    pub(crate) fn handle_error(&mut self, error: &SendError) {
        if let Some(outcome) = error.failure().blame() {
            self.report(outcome);
        }
    }

    pub(crate) fn report(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.reported, true) {
            let _change = self.pick.report(outcome, Instant::now().into_std());
        }
    }
}
