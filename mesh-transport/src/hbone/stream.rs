use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of one CONNECT stream, both ways.
///
/// Half-close: END_STREAM is the end of one direction only. Dropping a half that has not ended resets the stream
/// (CANCEL). Receive windows are released as bytes are taken out, so a reader that stalls stops the sender.
#[derive(Debug)]
pub struct HboneStream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The receiving direction.
#[derive(Debug)]
pub struct ReadHalf {
    stream: RecvStream,
    /// Received and not yet handed out by `poll_read`.
    pending: Bytes,
}

/// The sending direction.
#[derive(Debug)]
pub struct WriteHalf {
    stream: SendStream<Bytes>,
    ended: bool,
}

impl HboneStream {
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        let read = ReadHalf { stream: receive, pending: Bytes::new() };
        Self { read, write: WriteHalf { stream: send, ended: false } }
    }

    /// The two directions, to be used by two futures.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }
}

impl ReadHalf {
    /// The next bytes as they arrived, without a copy; `None` at the end. [`ReadHalf::release`] must be called when they
    /// have been passed on.
    ///
    /// # Errors
    /// The stream was reset or the connection failed. A reset with NO_ERROR or CANCEL is a clean end.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Opens the receive window again by bytes that were passed on.
    pub fn release(&mut self, bytes: usize) {
        // Fails only when the stream is gone, and then nobody sends.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            return Poll::Ready(match ready!(self.stream.poll_data(cx)) {
                // Frames without data are legal, and no end.
                Some(Ok(bytes)) if bytes.is_empty() && !self.stream.is_end_stream() => continue,
                Some(Ok(bytes)) if bytes.is_empty() => Ok(None),
                Some(Ok(bytes)) => Ok(Some(bytes)),
                Some(Err(error)) => match error.reason() {
                    Some(Reason::NO_ERROR | Reason::CANCEL) => Ok(None),
                    Some(Reason::STREAM_CLOSED) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
                    _ => Err(to_io(error)),
                },
                None => Ok(None),
            });
        }
    }
}

impl WriteHalf {
    /// Sends bytes without a copy, as the peer's window allows.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the peer takes no more.
    ///
    /// # Cancel safety
    /// Not safe: a part may have been sent.
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let capacity = poll_fn(|cx| self.poll_capacity(cx, bytes.len())).await?;
            let part = bytes.split_to(capacity.min(bytes.len()));
            self.stream.send_data(part, false).map_err(to_write_error)?;
        }
        Ok(())
    }

    /// Ends this direction: END_STREAM.
    ///
    /// # Errors
    /// The stream is gone for another reason than a clean end.
    pub fn finish(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match self.stream.send_data(Bytes::new(), true) {
            Err(error) if error.reason() != Some(Reason::NO_ERROR) && !error.is_reset() => Err(to_write_error(error)),
            _ => Ok(()),
        }
    }

    /// Waits until the peer reset the stream.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn reset(&mut self) {
        let _ = poll_fn(|cx| self.stream.poll_reset(cx)).await;
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.stream.reserve_capacity(wanted);
        loop {
            let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(capacity)) => return Poll::Ready(Ok(capacity)),
                Some(Err(error)) => return Poll::Ready(Err(to_write_error(error))),
                None => return Poll::Ready(Err(broken())),
            }
        }
    }
}

fn to_write_error(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL | Reason::STREAM_CLOSED) => {
            io::Error::new(io::ErrorKind::BrokenPipe, error)
        }
        // The stream is gone already: h2 calls using it a mistake of its user, who cannot know earlier.
        None if !error.is_io() => io::Error::new(io::ErrorKind::BrokenPipe, error),
        _ => to_io(error),
    }
}

fn to_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::Error::from(io::ErrorKind::Other))
    } else {
        io::Error::other(error)
    }
}

impl AsyncRead for HboneStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = &mut self.read;
        if read.pending.is_empty() {
            match ready!(read.poll_chunk(cx))? {
                Some(bytes) => read.pending = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let part = read.pending.split_to(buf.remaining().min(read.pending.len()));
        buf.put_slice(&part);
        read.release(part.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HboneStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let capacity = ready!(self.write.poll_capacity(cx, buf.len()))?.min(buf.len());
        let part = Bytes::copy_from_slice(&buf[..capacity]);
        Poll::Ready(self.write.stream.send_data(part, false).map(|()| capacity).map_err(to_write_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's driver flushes what was sent.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.write.finish())
    }
}
