use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::body::BodyError;

/// What is waited for at a time. A stream that asked for all at once would keep others from what is there.
const PART: usize = 64 * 1024;

/// Sends a body over an HTTP/2 stream, as the peer's windows allow. A body that fails resets the stream.
pub(super) struct Pipe<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// Taken from the body, and waiting for room.
    held: Option<(Bytes, bool)>,
}

/// Why a body could not be sent to its end.
#[derive(Debug)]
pub(super) enum PipeError {
    /// The peer takes no more.
    Peer,
    /// It failed itself.
    Body(BodyError),
}

impl<B> Pipe<B> {
    pub(super) const fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, held: None }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

impl<B> Future for Pipe<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Output = Result<(), PipeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PipeError>> {
        let this = self.get_mut();
        loop {
            // Asked first, so that a reset wakes whoever waits for room or for the body.
            if this.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(PipeError::Peer));
            }
            if let Some((mut bytes, last)) = this.held.take() {
                let mut capacity = this.stream.capacity();
                if capacity == 0 {
                    match this.stream.poll_capacity(cx) {
                        Poll::Pending => {
                            this.held = Some((bytes, last));
                            return Poll::Pending;
                        }
                        Poll::Ready(Some(Ok(now))) => capacity = now,
                        Poll::Ready(_) => return Poll::Ready(Err(PipeError::Peer)),
                    }
                }
                // No more than there is room for: what h2 held back would have left the sight of whoever measures time.
                let part = bytes.split_to(capacity.min(bytes.len()));
                let ends = last && bytes.is_empty();
                if !part.is_empty() {
                    this.send(part, ends)?;
                }
                if ends {
                    return Poll::Ready(Ok(()));
                }
                if !bytes.is_empty() {
                    this.stream.reserve_capacity(bytes.len().min(PART));
                    this.held = Some((bytes, last));
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // Room is asked for only with bytes in hand: what is reserved by a stream that has nothing to send
                    // would be missing to the others.
                    Ok(bytes) => {
                        if !bytes.is_empty() {
                            this.stream.reserve_capacity(bytes.len().min(PART));
                            this.held = Some((bytes, this.body.is_end_stream()));
                        } else if this.body.is_end_stream() {
                            this.send(bytes, true)?;
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            this.stream.reserve_capacity(0);
                            let sent = this.stream.send_trailers(trailers);
                            return Poll::Ready(sent.map_err(|_| PipeError::Peer));
                        }
                    }
                },
                Some(Err(error)) => {
                    this.stream.send_reset(error.reason());
                    return Poll::Ready(Err(PipeError::Body(error)));
                }
                None => {
                    this.send(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<B> Pipe<B> {
    fn send(&mut self, bytes: Bytes, last: bool) -> Result<(), PipeError> {
        self.stream.send_data(bytes, last).map_err(|_| PipeError::Peer)
    }
}
