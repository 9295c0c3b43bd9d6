use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::OnceCell;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::peer::Peer;
use super::rewrite::Rewriter;
use crate::registry::Selector;

/// Pause after a connection that could not be taken, most often for want of file descriptors: at once it fails again.
const PAUSE: Duration = Duration::from_millis(50);

/// A Unix socket for a Workload API: connections that know their peer and speak plain HTTP/2.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
    pause: Option<Pin<Box<Sleep>>>,
}

/// A socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}", path.display())]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

impl Listener {
    /// Makes a socket that every process of the machine may connect to; who it is decides what it gets. A socket that
    /// nobody listens on any more is replaced, anything else in its place is left alone.
    ///
    /// # Errors
    /// [`ListenError`] with the path.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(failed(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is something that is no socket",
                )));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")));
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
            Err(_) => {
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    fs::create_dir_all(parent).map_err(failed)?;
                }
            }
        }
        let inner = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        Ok(Self { inner, path: path.to_owned(), pause: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match std::task::ready!(self.inner.poll_accept(cx)) {
                Ok((stream, _)) => return Poll::Ready(Some(Ok(Connection::new(stream)))),
                Err(error) => {
                    tracing::warn!(%error, socket = %self.path.display(), "a connection cannot be taken");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
            }
        }
    }
}

/// A connection of a local process.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    caller: Caller,
    rewriter: Rewriter,
    /// Rewritten bytes that were not read yet, from `at` on.
    ready: Vec<u8>,
    at: usize,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        let caller = Caller { peer: Peer::of(&stream), selectors: Arc::default() };
        Self { stream, caller, rewriter: Rewriter::default(), ready: Vec::new(), at: 0 }
    }
}

/// Who a connection comes from, among the extensions of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    peer: Option<Peer>,
    /// What was found of it, at its first request.
    selectors: Arc<OnceCell<Arc<BTreeSet<Selector>>>>,
}

impl Caller {
    pub(super) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    pub(super) fn selectors(&self) -> &OnceCell<Arc<BTreeSet<Selector>>> {
        &self.selectors
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.at == this.ready.len() {
            this.ready.clear();
            this.at = 0;
            let mut bytes = [0; 8 * 1024];
            let mut chunk = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.rewriter.push(chunk.filled(), &mut this.ready);
        }
        let taken = (this.ready.len() - this.at).min(buf.remaining());
        buf.put_slice(&this.ready[this.at..this.at + taken]);
        this.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
