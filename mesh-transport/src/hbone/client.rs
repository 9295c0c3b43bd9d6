use std::fmt;
use std::future::Future;
use std::io;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use http::{HeaderMap, StatusCode};
use mesh_core::resolve::Destination;
use tokio::io::{AsyncRead, AsyncWrite};

use super::limits::{
    CLIENT_HEADER_BYTES, CLIENT_SEND_BUFFER, CLIENT_STREAMS, CONNECTION_WINDOW, FRAME_BYTES, PING_INTERVAL,
    PING_TIMEOUT, STREAM_WINDOW,
};
use super::{ConnectHeaders, Error, HboneStream, REASON_HEADER, Refused, connect_request};

/// The client's end of an HBONE connection: opens tunnels. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    requests: SendRequest<Bytes>,
}

/// Drives an HBONE connection; must be awaited for it to make progress. Ends with the connection.
#[must_use]
pub struct Driver<T> {
    connection: Connection<T, Bytes>,
    ping: Option<PingPong>,
}

/// Begins HTTP/2 on an established TLS connection.
///
/// # Errors
/// The preface could not be sent.
///
/// # Cancel safety
/// Not safe: the connection is lost.
pub async fn handshake<T>(io: T) -> Result<(Client, Driver<T>), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (requests, mut connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(CLIENT_HEADER_BYTES)
        .max_send_buffer_size(CLIENT_SEND_BUFFER)
        .initial_max_send_streams(CLIENT_STREAMS)
        .enable_push(false)
        .handshake(io)
        .await?;
    let ping = connection.ping_pong();
    Ok((Client { requests }, Driver { connection, ping }))
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Runs the connection to its end; a peer that answers no pings ends it as well.
    ///
    /// # Errors
    /// Why the connection broke.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn run(self) -> Result<(), h2::Error> {
        let Self { connection, ping } = self;
        tokio::select! {
            ended = connection => ended,
            () = keep_alive(ping) => Ok(()),
        }
    }
}

/// Pings for as long as they are answered.
pub(super) async fn keep_alive(ping: Option<PingPong>) {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PING_INTERVAL).await;
        match tokio::time::timeout(PING_TIMEOUT, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => {
                tracing::debug!("no answer to a ping: the connection is dropped");
                return;
            }
        }
    }
}

impl Client {
    /// Streams that the peer allows at the moment.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.requests.current_max_send_streams().min(CLIENT_STREAMS)
    }

    /// Opens a tunnel: sends CONNECT and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Refused`] for any answer but 200; [`Error::Http2`] when connection or stream fail.
    ///
    /// # Cancel safety
    /// Safe: the stream is reset.
    pub async fn connect(
        &self,
        authority: &Destination,
        headers: &ConnectHeaders,
    ) -> Result<(HboneStream, HeaderMap), Error> {
        let request = connect_request(authority, headers).map_err(|_| {
            Error::Refused(Refused { status: StatusCode::BAD_REQUEST, reason: Some("malformed_header".to_owned()) })
        })?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, send) = requests.send_request(request, false)?;
        let response = response.await?;
        let (head, receive) = response.into_parts();
        if head.status != StatusCode::OK {
            let reason = head.headers.get(REASON_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            return Err(Refused { status: head.status, reason }.into());
        }
        Ok((HboneStream::new(send, receive), head.headers))
    }
}

/// Whether a request that ended so was certainly or safely not acted upon: no answer came, and no application byte is
/// sent before the answer.
pub(super) fn may_retry(error: &Error) -> bool {
    match error {
        Error::Http2(error) => {
            error.is_go_away()
                || error.is_io()
                || error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || error.get_io().map(io::Error::kind) == Some(io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

/// A future with a deadline that is an error of ours.
pub(crate) async fn within<T>(
    limit: std::time::Duration,
    to: std::net::SocketAddr,
    step: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, future).await.map_err(|_| Error::Timeout(to, step))
}
