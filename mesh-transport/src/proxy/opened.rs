use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mesh_core::name::SpiffeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::Connected;
use super::flow::Flow;
use super::upstream::Upstream;
use crate::http::Transport;

/// A connection out of the mesh member itself, which speaks on it: a stream of bytes, through a tunnel or not. It is
/// registered like any other, and breaks when whoever is at the other end stops to be trusted, or the proxy ends.
#[derive(Debug)]
pub struct OutboundStream {
    upstream: Upstream,
    flow: Arc<Flow>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    is_closed: CancellationToken,
    /// Ends the registration with the stream.
    _open: DropGuard,
}

impl Connected {
    /// The bytes of the connection.
    #[must_use]
    pub fn into_stream(self) -> OutboundStream {
        let Self { upstream, registration, tasks } = self;
        let flow = Arc::clone(registration.flow());
        let (ended, closed) = (CancellationToken::new(), CancellationToken::new());
        let (end, close) = (ended.clone(), closed.clone());
        tasks.spawn(async move {
            registration
                .run(async move {
                    end.cancelled().await;
                    Ok(())
                })
                .await;
            close.cancel();
        });
        let is_closed = closed.clone();
        OutboundStream {
            upstream,
            flow,
            closed: Box::pin(closed.cancelled_owned()),
            is_closed,
            _open: ended.drop_guard(),
        }
    }
}

impl OutboundStream {
    /// Who is at the other end; `None` in plaintext.
    #[must_use]
    pub fn peer(&self) -> Option<&SpiffeId> {
        self.flow.facts.destination_identity.as_ref()
    }

    /// What is known of the connection.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    fn look(&self) -> io::Result<()> {
        match self.is_closed.is_cancelled() {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy closed the connection")),
            false => Ok(()),
        }
    }
}

impl Transport for OutboundStream {}

impl AsyncRead for OutboundStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever waits for bytes must learn of the end, too.
        if this.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(this.look());
        }
        let before = buf.filled().len();
        let read = this.upstream.io().poll_read(cx, buf);
        this.flow.counts.add(0, buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for OutboundStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look()?;
        let written = this.upstream.io().poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = written {
            this.flow.counts.add(written, 0);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().upstream.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().upstream.io().poll_shutdown(cx)
    }
}
