use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mesh_core::listener::Codec;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use crate::http::limits::HTTP2_HANDSHAKE_TIMEOUT;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
    /// HTTP/2 was agreed on, and something else came.
    Neither,
}

/// The first bytes of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken, and the bytes that were read to know it; `None` when the client sent nothing before it left, the time
/// was over, or we left.
pub(super) async fn spoken<T: AsyncRead + Unpin>(
    io: &mut T,
    codec: Codec,
    alpn: Option<&[u8]>,
    limit: Option<Duration>,
    drain: &CancellationToken,
) -> io::Result<Option<(Spoken, Bytes)>> {
    let agreed = match (codec, alpn) {
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => true,
        (Codec::Auto, None) => false,
        (Codec::Http1, _) | (Codec::Auto, Some(_)) => return Ok(Some((Spoken::Http1, Bytes::new()))),
    };
    let limit = match agreed {
        true => Some(limit.map_or(HTTP2_HANDSHAKE_TIMEOUT, |limit| limit.min(HTTP2_HANDSHAKE_TIMEOUT))),
        false => limit,
    };
    let timer = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let read = tokio::select! {
        read = read(io) => read?,
        () = timer => None,
        () = drain.cancelled() => None,
    };
    Ok(read.map(|(spoken, ahead)| match spoken {
        Spoken::Http1 if agreed => (Spoken::Neither, ahead),
        spoken => (spoken, ahead),
    }))
}

async fn read<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Option<(Spoken, Bytes)>> {
    let mut ahead = BytesMut::with_capacity(4096);
    loop {
        if io.read_buf(&mut ahead).await? == 0 {
            // A part of the preface is not HTTP/2.
            return Ok((!ahead.is_empty()).then(|| (Spoken::Http1, ahead.freeze())));
        }
        let seen = ahead.len().min(PREFACE.len());
        if ahead[..seen] != PREFACE[..seen] {
            return Ok(Some((Spoken::Http1, ahead.freeze())));
        }
        if seen == PREFACE.len() {
            return Ok(Some((Spoken::Http2, ahead.freeze())));
        }
    }
}
