use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::watch::{Expiry, Watch};

/// The body of a request or response: bytes as they come, then trailers, if there are any. Never held as a whole.
pub struct Body {
    kind: Kind,
    /// Whoever measures how long the request takes.
    watch: Option<Arc<Watch>>,
    guard: Option<Box<dyn Guard>>,
}

/// Anything that is to be dropped with a body.
trait Guard: Send {}

impl<T: Send> Guard for T {}

enum Kind {
    Empty,
    Full(Bytes),
    Http1(Incoming),
    Http2(Received),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// An HTTP/1.1 connection broke off or sent what is no body.
    #[error("the body of an HTTP/1.1 message broke off")]
    Http1(#[source] hyper::Error),
    /// An HTTP/2 stream or its connection broke off.
    #[error("the body of an HTTP/2 message broke off")]
    Http2(#[source] h2::Error),
    /// The time of the request was over.
    #[error("{0}")]
    Expired(Expiry),
    /// What was to be sent could not be made.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl BodyError {
    /// What an HTTP/2 stream is reset with that was to carry on this body.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Http2(error) => error.reason().unwrap_or(Reason::INTERNAL_ERROR),
            Self::Expired(_) => Reason::CANCEL,
            Self::Http1(_) | Self::Other(_) => Reason::INTERNAL_ERROR,
        }
    }
}

impl Body {
    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    /// Any other body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = body.map_err(|error| match error.into().downcast::<BodyError>() {
            Ok(error) => *error,
            Err(error) => BodyError::Other(error),
        });
        Self::of(Kind::Boxed(body.boxed_unsync()))
    }

    /// Drops `guard` together with this body, which is when it has ended or is given up.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        self.guard = Some(match self.guard.take() {
            Some(before) => Box::new((before, guard)),
            None => Box::new(guard),
        });
        self
    }

    pub(super) const fn http1(body: Incoming) -> Self {
        Self::of(Kind::Http1(body))
    }

    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap) -> Self {
        if stream.is_end_stream() {
            return Self::empty();
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self::of(Kind::Http2(Received { stream, left: length, data_ended: false }))
    }

    pub(super) fn with_watch(mut self, watch: Arc<Watch>) -> Self {
        if http_body::Body::is_end_stream(&self) {
            watch.request_ended();
        } else {
            self.watch = Some(watch);
        }
        self
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, watch: None, guard: None }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::of(if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) })
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Http1(_) => "HTTP/1.1",
            Kind::Http2(_) => "HTTP/2",
            Kind::Boxed(_) => "boxed",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Http1),
            Kind::Http2(body) => body.poll_frame(cx).map_err(BodyError::Http2),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx),
        };
        let frame = ready!(polled);
        if let Some(watch) = &this.watch {
            watch.touch();
            if matches!(frame, None | Some(Err(_))) || this.kind.is_end_stream() {
                watch.request_ended();
                this.watch = None;
            }
        }
        if frame.is_none() {
            this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(body) => body.left.map(SizeHint::with_exact).unwrap_or_default(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl Kind {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Http1(body) => http_body::Body::is_end_stream(body),
            Self::Http2(body) => body.stream.is_end_stream(),
            Self::Boxed(body) => http_body::Body::is_end_stream(body),
        }
    }
}

/// What an HTTP/2 stream brings.
struct Received {
    stream: RecvStream,
    /// By the length that was announced; h2 resets a stream that does not keep to it.
    left: Option<u64>,
    data_ended: bool,
}

impl Received {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // Fails only when the stream is gone, and then nobody sends.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }
}
