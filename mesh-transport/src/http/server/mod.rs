//! HTTP/1.1 and HTTP/2 on accepted connections, as an [`HttpManager`] says.

mod answer;
mod http1;
mod http2;
mod io;
mod sniff;
mod stream;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::listener::{Codec, HttpLimits, HttpManager, HttpTimeouts};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use self::answer::Context;
use self::io::ClientIo;
use super::body::Body;
use super::head::{Downstream, Rules};
use super::watch::Expiry;

/// Serves connections with a tower service, within the timeouts and limits of an [`HttpManager`]. Cheap to clone.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use mesh_core::listener::{HttpManager, RouteSource};
/// use mesh_transport::http::{Accepted, Body, Downstream, Server};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(&HttpManager::new(RouteSource::Rds("routes".into())));
/// let hello = tower::service_fn(async |request: Request<Body>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from(format!("hello {}", request.uri().path()))))
/// });
///
/// let (mut client, io) = tokio::io::duplex(1024);
/// let downstream = Downstream::new("10.0.0.1".parse()?, 80);
/// let served = server.serve(io, Accepted::new(downstream, ()), hello, CancellationToken::new());
/// let asked = async {
///     client.write_all(b"GET /you HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await.map(|_| answer)
/// };
/// let (_, answer) = tokio::join!(served, asked);
/// assert!(answer?.ends_with("hello /you"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    settings: Arc<Settings>,
}

struct Settings {
    codec: Codec,
    timeouts: HttpTimeouts,
    limits: HttpLimits,
    rules: Rules,
}

/// A connection that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted<X> {
    /// Who sends the requests.
    pub downstream: Downstream,
    /// What TLS negotiated, if there is TLS and it did.
    pub alpn: Option<Bytes>,
    /// Put into the extensions of each request.
    pub info: X,
}

impl<X> Accepted<X> {
    /// A connection on which nothing was negotiated.
    #[must_use]
    pub const fn new(downstream: Downstream, info: X) -> Self {
        Self { downstream, alpn: None, info }
    }
}

/// Why a connection ended otherwise than by agreement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// HTTP/1.1 failed: the client sent what is none, or went away.
    #[error("HTTP/1.1 failed")]
    Http1(#[source] hyper::Error),
    /// HTTP/2 failed: the client sent what is none, or went away.
    #[error("HTTP/2 failed")]
    Http2(#[source] h2::Error),
    /// The connection failed before it was known what is spoken.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    /// A response that had begun could not be ended in time.
    #[error("{0}")]
    Expired(Expiry),
    /// The head of a request took too long.
    #[error("the head of a request took too long")]
    HeadTimeout,
    /// The client opens and resets streams faster than anybody has reason to.
    #[error("too many streams were reset")]
    RapidReset,
}

impl Server {
    /// A server with these timeouts, limits and rules.
    #[must_use]
    pub fn new(manager: &HttpManager) -> Self {
        let settings = Settings {
            codec: manager.codec,
            timeouts: manager.timeouts,
            limits: manager.limits,
            rules: Rules::new(manager),
        };
        Self { settings: Arc::new(settings) }
    }

    /// Serves one connection to its end. When `drain` is cancelled, requests that have begun are answered, and the client
    /// is told to send no more (`connection: close`, GOAWAY).
    ///
    /// The service gets requests in one form, whatever was spoken: the target is path and query, the authority is in
    /// `host`, upgrades are as in [`upgrade`](super::upgrade), and the extensions hold `X`, [`Downstream`],
    /// [`Requester`](super::Requester) and, except with HTTP/1.0, [`Interim`](super::Interim). An error of the service resets the stream, with the reason of an [`h2::Error`] if one is among its
    /// sources; on HTTP/1.1 it closes the connection.
    ///
    /// # Errors
    /// The connection ended otherwise than by agreement.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, and drops what the service has under way.
    pub async fn serve<I, S, X>(
        &self,
        io: I,
        accepted: Accepted<X>,
        service: S,
        drain: CancellationToken,
    ) -> Result<(), ServeError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: Send,
        X: Clone + Send + Sync + 'static,
    {
        let mut io = io;
        let limit = self.settings.timeouts.request_headers.or(self.settings.timeouts.idle);
        let sniffed = sniff::spoken(&mut io, self.settings.codec, accepted.alpn.as_deref(), limit, &drain).await?;
        let Some((spoken, ahead)) = sniffed else { return Ok(()) };
        let Accepted { downstream, info, .. } = accepted;
        let context = Arc::new(Context { settings: Arc::clone(&self.settings), downstream, info, service });
        match spoken {
            sniff::Spoken::Http1 => http1::serve(io, ahead, context, drain).await,
            sniff::Spoken::Http2 => http2::serve(io, ahead, context, drain).await,
            sniff::Spoken::Neither => {
                // Closed with bytes unread, the connection would be reset, which says less than its end.
                let delayed_close = self.settings.timeouts.delayed_close;
                let mut io = ClientIo::new(io, Bytes::new(), Arc::new(()), Arc::default(), delayed_close);
                // The client may be gone.
                let _ = io.shutdown().await;
                Err(ServeError::Http2(h2::Reason::PROTOCOL_ERROR.into()))
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("codec", &self.settings.codec).finish_non_exhaustive()
    }
}
