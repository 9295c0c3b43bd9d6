//! What an endpoint is told to have done, from what is seen of its response.

use http::{HeaderMap, HeaderValue, Response, header};
use tokio::time::Instant;

use super::SendError;
use crate::balance::{Outcome, Pick};

/// An endpoint at work on one attempt: it is in flight until this is dropped, and how it went is reported once.
#[derive(Debug)]
pub(crate) struct Tracked {
    pick: Pick,
    reported: bool,
    grpc: bool,
}

impl Tracked {
    pub(crate) fn new(pick: Pick) -> Self {
        Self { pick, reported: false, grpc: false }
    }

    pub(crate) fn pick(&self) -> &Pick {
        &self.pick
    }

    /// A response has begun. A gRPC call that went well so far says at its end how it went.
    pub(crate) fn handle_response<R>(&mut self, response: &Response<R>) {
        self.grpc = is_grpc(response.headers());
        let status = response.status();
        match grpc_status(response.headers()) {
            _ if !status.is_success() => self.report(Outcome::Status(status.as_u16())),
            Some(code) => self.report(grpc_outcome(code)),
            None if self.grpc => {}
            None => self.report(Outcome::Status(status.as_u16())),
        }
    }

    pub(crate) fn handle_trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc {
            self.report(grpc_status(trailers).map_or(Outcome::Failed, grpc_outcome));
        }
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

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// gRPC's status in headers or trailers, if it is there; what is no number is UNKNOWN.
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    let code = headers.get("grpc-status")?;
    Some(code.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN))
}

const UNKNOWN: u32 = 2;

/// How a call with a gRPC status went, for those who judge endpoints by HTTP's.
fn grpc_outcome(code: u32) -> Outcome {
    match code {
        14 => Outcome::Status(503),
        4 => Outcome::Status(504),
        // UNKNOWN, INTERNAL, DATA_LOSS: what servers say when they fail.
        UNKNOWN | 13 | 15 => Outcome::Status(500),
        _ => Outcome::OK,
    }
}
