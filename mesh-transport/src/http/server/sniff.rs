use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mesh_core::listener::Codec;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
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
    let known = match (codec, alpn) {
        (Codec::Http1, _) => Some(Spoken::Http1),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => Some(Spoken::Http2),
        (Codec::Auto, Some(_)) => Some(Spoken::Http1),
        (Codec::Auto, None) => None,
    };
    if let Some(spoken) = known {
        return Ok(Some((spoken, Bytes::new())));
    }
    let timer = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        read = read(io) => read,
        () = timer => Ok(None),
        () = drain.cancelled() => Ok(None),
    }
}

async fn read<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Option<(Spoken, Bytes)>> {
    let mut ahead = BytesMut::with_capacity(4096);
    loop {
        if io.read_buf(&mut ahead).await? == 0 && ahead.is_empty() {
            return Ok(None);
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
