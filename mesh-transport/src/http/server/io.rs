use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is told to, and asked of, the bytes of a connection.
pub(super) trait Wire: Send + Sync + 'static {
    /// Bytes arrived. An error tells how many of them are kept, before the connection becomes unreadable.
    fn arrived(&self, bytes: &[u8]) -> Result<(), usize>;
}

/// A client's connection: gives what was read ahead first, and closes in a way that lets the client read the last answer.
pub(super) struct ClientIo<T, W> {
    io: T,
    ahead: Bytes,
    wire: Arc<W>,
    /// Whether the bytes are no HTTP any more; then nothing is held back at the end.
    switched: Arc<AtomicBool>,
    delayed_close: Duration,
    closing: Option<Pin<Box<Sleep>>>,
    stall: Arc<Stall>,
    /// Whether what the client sent was refused; then nothing of it is read any more.
    is_refused: bool,
    aside: Arc<Aside>,
    /// What has begun to be said aside; nothing else is written before its end.
    begun: Bytes,
}

/// What is said to the client between two messages of hyper's, which knows no interim responses but 100.
#[derive(Debug, Default)]
pub(super) struct Aside {
    state: Mutex<Waiting>,
    /// Whether any of it waits: asked each time that the connection is flushed.
    waits: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: BytesMut,
    /// Whoever waits until it is said.
    speaker: Option<Waker>,
}

impl Aside {
    /// Says this when the client can be told. Only while no response has begun.
    pub(super) fn say(&self, interim: &Response<()>) {
        let mut state = self.state.lock();
        let (status, bytes) = (interim.status(), &mut state.bytes);
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.extend_from_slice(b" ");
        bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        for (name, value) in interim.headers() {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        self.waits.store(true, Relaxed);
    }

    /// Ready when all has been said that was to be said before the response.
    pub(super) fn poll_said(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.waits.load(Relaxed) {
            return Poll::Ready(());
        }
        self.state.lock().speaker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take(&self) -> Option<Bytes> {
        if !self.waits.swap(false, Relaxed) {
            return None;
        }
        let mut state = self.state.lock();
        if let Some(speaker) = state.speaker.take() {
            speaker.wake();
        }
        Some(state.bytes.split().freeze())
    }
}

/// What hyper refuses wherever it stands, in a head or in chunks, with the answer that the place allows.
const UNREADABLE: &[u8] = b"\0\r\n\r\n";

/// Since when the client has taken nothing of what is to be written.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Mutex<Option<Instant>>,
    is_stalled: AtomicBool,
}

impl Stall {
    pub(super) fn since(&self) -> Option<Instant> {
        if self.is_stalled.load(Relaxed) { *self.since.lock() } else { None }
    }

    fn record<T>(&self, written: Poll<T>) -> Poll<T> {
        let is_stalled = written.is_pending();
        if is_stalled != self.is_stalled.load(Relaxed) {
            *self.since.lock() = is_stalled.then(Instant::now);
            self.is_stalled.store(is_stalled, Relaxed);
        }
        written
    }
}

/// No one to tell.
impl Wire for () {
    fn arrived(&self, _: &[u8]) -> Result<(), usize> {
        Ok(())
    }
}

impl<T, W> ClientIo<T, W> {
    pub(super) fn new(io: T, ahead: Bytes, wire: Arc<W>, stall: Arc<Stall>, delayed_close: Duration) -> Self {
        Self {
            io,
            ahead,
            wire,
            switched: Arc::default(),
            delayed_close,
            closing: None,
            stall,
            is_refused: false,
            aside: Arc::default(),
            begun: Bytes::new(),
        }
    }

    /// Where to say what stands before the response.
    pub(super) fn aside(&self) -> Arc<Aside> {
        Arc::clone(&self.aside)
    }

    /// Set to tell that the bytes are no HTTP any more.
    pub(super) fn switched(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.switched)
    }
}

impl<T: AsyncRead + Unpin, W: Wire> AsyncRead for ClientIo<T, W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.ahead.is_empty() && !this.is_refused {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let part = this.ahead.split_to(buf.remaining().min(this.ahead.len()));
            buf.put_slice(&part);
        }
        if !this.is_refused
            && !this.switched.load(Relaxed)
            && let Err(kept) = this.wire.arrived(&buf.filled()[before..])
        {
            buf.set_filled(before + kept);
            this.is_refused = true;
            this.ahead = Bytes::from_static(UNREADABLE);
            let part = this.ahead.split_to(buf.remaining().min(this.ahead.len()));
            buf.put_slice(&part);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin, W> ClientIo<T, W> {
    /// Ends what has begun to be said aside.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.begun);
            let count = ready!(self.stall.record(written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, W: Wire> AsyncWrite for ClientIo<T, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_aside(cx))?;
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.stall.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_aside(cx))?;
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.stall.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Hyper flushes when it has written all that it has, and so between messages.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_aside(cx))?;
        if let Some(bytes) = self.aside.take() {
            self.begun = bytes;
            ready!(self.poll_aside(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// A connection that is closed with bytes unread is reset, and the reset may overtake our answer. So what the client
    /// still sends is read and thrown away for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.delayed_close.is_zero() || this.switched.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let limit = this.delayed_close;
        let closing = this.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        let mut bytes = [std::mem::MaybeUninit::uninit(); 2048];
        // Bounded, so that a client that never stops sending does not hold the thread.
        for _ in 0..64 {
            let mut buf = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return closing.as_mut().poll(cx).map(Ok),
            }
        }
        if closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
