use std::future::Future;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{PingPong, RecvStream};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::keep_alive;
use super::limits::{
    CONNECTION_WINDOW, FRAME_BYTES, HANDSHAKE_TIMEOUT, SERVER_HEADER_BYTES, SERVER_SEND_BUFFER, SERVER_STREAMS,
    STREAM_WINDOW,
};
use super::{HboneStream, REASON_HEADER};

/// The server's end of an HBONE connection.
#[derive(Debug)]
pub struct Server<T> {
    connection: Connection<T, Bytes>,
    ping: Option<PingPong>,
}

/// A CONNECT request, or what should have been one, that waits for its answer.
#[derive(Debug)]
pub struct Connect {
    /// Method, authority and headers.
    pub head: Parts,
    receive: RecvStream,
    respond: SendResponse<Bytes>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Server<T> {
    /// Begins HTTP/2 on an established TLS connection.
    ///
    /// # Errors
    /// The peer sent no preface of HTTP/2 in time.
    ///
    /// # Cancel safety
    /// Not safe: the connection is lost.
    pub async fn handshake(io: T) -> Result<Self, h2::Error> {
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_header_list_size(SERVER_HEADER_BYTES)
            .max_send_buffer_size(SERVER_SEND_BUFFER)
            .max_concurrent_streams(SERVER_STREAMS);
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, builder.handshake(io));
        let mut connection = handshake.await.map_err(|_| h2::Error::from(h2::Reason::SETTINGS_TIMEOUT))??;
        let ping = connection.ping_pong();
        Ok(Self { connection, ping })
    }

    /// Serves until the peer closes, answers no ping, or `drain` completes and the last stream has ended. After `drain` no
    /// new stream is taken (GOAWAY), open ones go on. `handle` is called for each request and must return at once.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and with it all streams.
    pub async fn serve(self, mut handle: impl FnMut(Connect), drain: impl Future<Output = ()>) {
        let Self { mut connection, ping } = self;
        let mut ping = std::pin::pin!(keep_alive(ping));
        let mut drain = std::pin::pin!(drain);
        let mut draining = false;
        loop {
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        let (head, receive) = request.into_parts();
                        handle(Connect { head, receive, respond });
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "HBONE connection failed");
                        return;
                    }
                    None => return,
                },
                () = &mut drain, if !draining => {
                    draining = true;
                    connection.graceful_shutdown();
                }
                () = &mut ping => {
                    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    // One flush, so that the GOAWAY leaves; the peer may be too dead to take it.
                    let flush = std::future::poll_fn(|cx| connection.poll_closed(cx));
                    let _ = tokio::time::timeout(std::time::Duration::from_millis(100), flush).await;
                    return;
                }
            }
        }
    }
}

impl Connect {
    /// Answers 200, with a `baggage` that describes this end, and gives the stream.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn accept(mut self, baggage: Option<&str>) -> Result<HboneStream, h2::Error> {
        let mut response = Response::new(());
        if let Some(value) = baggage.and_then(|baggage| http::HeaderValue::from_str(baggage).ok()) {
            response.headers_mut().insert("baggage", value);
        }
        let send = self.respond.send_response(response, false)?;
        Ok(HboneStream::new(send, self.receive))
    }

    /// Answers with another status: headers only, with END_STREAM.
    pub fn refuse(mut self, status: StatusCode, reason: &str) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        if let Ok(value) = http::HeaderValue::from_str(reason) {
            response.headers_mut().insert(REASON_HEADER, value);
        }
        // The peer may be gone, and then needs no answer.
        let _ = self.respond.send_response(response, true);
    }
}
