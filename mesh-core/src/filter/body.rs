use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// How much of a request's body a filter must have seen before it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDemand {
    /// So many bytes at most.
    pub max_bytes: usize,
    /// Whether a longer body is cut for the filter; otherwise the request is refused (413).
    pub allow_partial: bool,
}

/// The body of a response: a filter's, or the service's.
#[derive(Debug)]
pub enum FilterBody<B> {
    /// A filter's.
    Answer(Bytes),
    /// The service's.
    Service(B),
}

impl<B: Body<Data = Bytes> + Unpin> Body for FilterBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut() {
            Self::Answer(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Answer(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Service(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer(bytes) => bytes.is_empty(),
            Self::Service(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Service(body) => body.size_hint(),
        }
    }
}

/// The body of a request of which a beginning may have been read for filters; whoever reads on gets all of it.
#[derive(Debug)]
pub struct Begun<B> {
    read: VecDeque<Frame<Bytes>>,
    bytes: usize,
    ended: bool,
    rest: B,
}

/// Pieces are put together up to so many bytes.
const SMALL: usize = 4096;

/// How far reading a beginning came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The whole body.
    Whole(Bytes),
    /// As much as was asked for; there is more.
    Part(Bytes),
}

impl<B: Body<Data = Bytes> + Unpin> Begun<B> {
    pub(super) fn new(rest: B) -> Self {
        Self { read: VecDeque::new(), bytes: 0, ended: false, rest }
    }

    /// Reads until so much is there, or all.
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<Beginning, B::Error>> {
        while !self.ended && self.bytes <= wanted {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)).transpose()? {
                None => self.ended = true,
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.keep(data),
                    Err(trailers) => self.read.push_back(trailers),
                },
            }
        }
        let whole = self.bytes <= wanted;
        let mut beginning = self.joined();
        beginning.truncate(wanted);
        Poll::Ready(Ok(if whole { Beginning::Whole(beginning) } else { Beginning::Part(beginning) }))
    }

    /// Small pieces are put together and empty ones left out: else a client could make what is kept of a body cost many times
    /// what it sends.
    fn keep(&mut self, data: Bytes) {
        self.bytes += data.len();
        match self.read.back_mut().and_then(Frame::data_mut) {
            _ if data.is_empty() => {}
            Some(last) if last.len() + data.len() <= SMALL => {
                let mut grown = std::mem::take(last).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
                grown.extend_from_slice(&data);
                *last = grown.freeze();
            }
            _ => self.read.push_back(Frame::data(data)),
        }
    }

    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.read.len()
    }

    fn joined(&self) -> Bytes {
        let mut parts = self.read.iter().filter_map(Frame::data_ref);
        match (parts.next(), parts.next()) {
            (None, _) => Bytes::new(),
            // The common case: the body came in one piece, and needs no copy.
            (Some(one), None) => one.clone(),
            (Some(one), Some(two)) => {
                let mut joined = BytesMut::with_capacity(self.bytes);
                [one, two].into_iter().chain(parts).for_each(|part| joined.extend_from_slice(part));
                joined.freeze()
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Begun<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        match this.read.pop_front() {
            Some(frame) => {
                this.bytes -= frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(Ok(frame)))
            }
            None if this.ended => Poll::Ready(None),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (read, rest) = (self.bytes as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
