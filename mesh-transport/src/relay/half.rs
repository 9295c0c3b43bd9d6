use std::future::Future;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf as AnyReadHalf, WriteHalf as AnyWriteHalf,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::buffer::Adaptive;
use crate::hbone::{HboneStream, ReadHalf, WriteHalf};

/// A stream that can be relayed.
pub trait Split {
    /// Its receiving half.
    type Source: Source;
    /// Its sending half.
    type Sink: Sink;

    /// Takes it apart.
    fn split(self) -> (Self::Source, Self::Sink);
}

/// Where bytes come from.
pub trait Source: Send {
    /// The next bytes; `None` at the end of this direction.
    fn chunk(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;

    /// The bytes of a chunk have been passed on, and as many may come.
    fn release(&mut self, bytes: usize);
}

/// Where bytes go.
pub trait Sink: Send {
    /// Passes bytes on; completes when the sink has taken them all.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends this direction.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// The receiving half of a TCP connection. Buffers only when there is something to read.
#[derive(Debug)]
pub struct TcpSource {
    half: OwnedReadHalf,
    buffer: BytesMut,
    adaptive: Adaptive,
}

impl Source for TcpSource {
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.half.readable().await?;
            // Reclaims the previous chunk's memory when nobody holds it any more.
            self.buffer.reserve(self.adaptive.size());
            match self.half.try_read_buf(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => {
                    self.adaptive.record(read);
                    return Ok(Some(self.buffer.split().freeze()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Woken for nothing; an idle connection must not keep a buffer.
                    self.buffer = BytesMut::new();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn release(&mut self, _bytes: usize) {
        // The kernel's own buffer is the window.
    }
}

impl Sink for OwnedWriteHalf {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

impl Split for TcpStream {
    type Source = TcpSource;
    type Sink = OwnedWriteHalf;

    fn split(self) -> (TcpSource, OwnedWriteHalf) {
        let (read, write) = self.into_split();
        (TcpSource { half: read, buffer: BytesMut::new(), adaptive: Adaptive::default() }, write)
    }
}

/// The receiving half of any stream. Holds a buffer while it waits, unlike [`TcpSource`].
#[derive(Debug)]
pub struct AnySource<R> {
    half: R,
    buffer: BytesMut,
    adaptive: Adaptive,
}

impl<R> AnySource<R> {
    /// Reads from `half`.
    pub fn new(half: R) -> Self {
        Self { half, buffer: BytesMut::new(), adaptive: Adaptive::default() }
    }
}

impl<R: AsyncRead + Unpin + Send> Source for AnySource<R> {
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(self.adaptive.size());
        let read = self.half.read_buf(&mut self.buffer).await?;
        self.adaptive.record(read);
        Ok((read > 0).then(|| self.buffer.split().freeze()))
    }

    fn release(&mut self, _bytes: usize) {
        // The window is that of whatever is below.
    }
}

/// Any stream, to be relayed: it is shared by both directions behind a lock.
#[derive(Debug)]
pub struct AnyIo<T>(pub T);

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Split for AnyIo<T> {
    type Source = AnySource<AnyReadHalf<T>>;
    type Sink = AnyWriteHalf<T>;

    fn split(self) -> (Self::Source, Self::Sink) {
        let (read, write) = tokio::io::split(self.0);
        (AnySource::new(read), write)
    }
}

impl<T: AsyncWrite + Send> Sink for AnyWriteHalf<T> {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await?;
        self.flush().await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

impl Source for ReadHalf {
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        Self::chunk(self).await
    }

    fn release(&mut self, bytes: usize) {
        Self::release(self, bytes);
    }
}

impl Sink for WriteHalf {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        Self::send(self, bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        Self::finish(self)
    }
}

impl Split for HboneStream {
    type Source = ReadHalf;
    type Sink = WriteHalf;

    fn split(self) -> (ReadHalf, WriteHalf) {
        self.into_split()
    }
}
