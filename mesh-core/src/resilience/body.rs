use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode, response};
use http_body::{Body, Frame, SizeHint};

use super::BoxError;
use super::limits::{Clock, Expired};
use super::tracked::Tracked;
use crate::balance::{CircuitGuard, Outcome};
use crate::filter::Flag;

/// The body of a response: a server's, or what was answered instead.
pub struct ResponseBody<R> {
    kind: Kind<R>,
}

enum Kind<R> {
    Answer(Bytes),
    Server(Streaming<R>),
    /// It has broken off.
    Over,
}

/// A body that a server sends, and all that is held until it has ended.
pub(super) struct Streaming<R> {
    pub(super) body: R,
    /// Who is told how it went.
    pub(super) tracked: Option<Tracked>,
    /// The request counts as long as it lasts.
    pub(super) _admitted: Option<CircuitGuard>,
    pub(super) clock: Option<Clock>,
    /// What is missing of the length that was announced, if that is looked at.
    pub(super) missing: Option<u64>,
}

impl<R> Streaming<R> {
    /// A body with nothing else to it.
    pub(super) fn of(body: R) -> Self {
        Self { body, tracked: None, _admitted: None, clock: None, missing: None }
    }
}

/// Why the body of a response breaks off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server broke it off.
    #[error("the server broke the response off")]
    Server(#[source] BoxError),
    /// It has another length than the server said.
    #[error("the response has another length than the server said")]
    Length,
    /// It took too long.
    #[error("the response is broken off")]
    Expired(#[source] Expired),
}

impl ResponseError {
    /// The flag of the access log.
    #[must_use]
    pub const fn flag(&self) -> Flag {
        match self {
            Self::Server(_) => Flag::UpstreamRemoteReset,
            Self::Length => Flag::UpstreamProtocolError,
            Self::Expired(expired) => expired.flag(),
        }
    }
}

/// The length that a response must have, if it said so. What has no body may say how long it would be.
pub(super) fn announced(method: &Method, head: &response::Parts) -> Option<u64> {
    let bodiless = *method == Method::HEAD
        || (*method == Method::CONNECT && head.status.is_success())
        || head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    (!bodiless).then(length).flatten()
}

impl<R> ResponseBody<R> {
    pub(super) fn answer(bytes: Bytes) -> Self {
        Self { kind: Kind::Answer(bytes) }
    }
}

impl<R: Body> ResponseBody<R> {
    pub(super) fn server(mut streaming: Streaming<R>) -> Self {
        if streaming.body.is_end_stream() {
            // Nobody may ask for more.
            streaming.handle_end();
        }
        Self { kind: Kind::Server(streaming) }
    }
}

impl<R> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl<R> Streaming<R> {
    fn report(&mut self, outcome: Outcome) {
        if let Some(tracked) = &mut self.tracked {
            tracked.report(outcome);
        }
    }

    fn handle_break(&mut self) {
        if let Some(tracked) = &mut self.tracked {
            tracked.handle_break();
        }
    }

    fn handle_end(&mut self) {
        if let Some(tracked) = &mut self.tracked {
            tracked.handle_end();
        }
    }
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Streaming<R> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        // First of all, so that a server that always has something to say does not talk beyond its time.
        if let Some(Poll::Ready((expired, _))) = self.clock.as_mut().map(|clock| clock.poll(cx)) {
            self.report(Outcome::TimedOut);
            return Poll::Ready(Some(Err(ResponseError::Expired(expired))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Poll::Pending };
        if let Some(clock) = &mut self.clock {
            clock.touch();
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.handle_frame(frame)),
            Some(Err(error)) => {
                self.handle_break();
                Some(Err(ResponseError::Server(error.into())))
            }
            None if self.missing.is_some_and(|missing| missing > 0) => Some(Err(self.wrong_length())),
            None => {
                self.handle_end();
                None
            }
        })
    }

    fn handle_frame(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, ResponseError> {
        if let (Some(trailers), Some(tracked)) = (frame.trailers_ref(), &mut self.tracked) {
            tracked.handle_trailers(trailers);
        }
        if let (Some(missing), Some(data)) = (&mut self.missing, frame.data_ref()) {
            match missing.checked_sub(data.len() as u64) {
                Some(less) => *missing = less,
                None => return Err(self.wrong_length()),
            }
        }
        if self.body.is_end_stream() && self.missing.is_none_or(|missing| missing == 0) {
            self.handle_end();
        }
        Ok(frame)
    }

    fn wrong_length(&mut self) -> ResponseError {
        self.handle_break();
        ResponseError::Length
    }
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        let frame = match &mut this.kind {
            Kind::Over => return Poll::Ready(None),
            Kind::Answer(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Answer(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Server(streaming) => streaming.poll_frame(cx),
        };
        if let Poll::Ready(None | Some(Err(_))) = &frame {
            // The endpoint is free now, not only when somebody drops this.
            this.kind = Kind::Over;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Answer(bytes) => bytes.is_empty(),
            Kind::Server(streaming) => {
                streaming.body.is_end_stream() && streaming.missing.is_none_or(|missing| missing == 0)
            }
            Kind::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Answer(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Server(streaming) => streaming.body.size_hint(),
            Kind::Over => SizeHint::with_exact(0),
        }
    }
}
