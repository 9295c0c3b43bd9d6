//! What the beginning of a connection tells, read ahead and given back.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use mesh_core::listener::{FilterChainMatch, ListenerFilter, SocketListener, TransportProtocol};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// No more is read ahead: a TLS hello, and the head of an HTTP request as far as it tells what it is, are shorter.
const MOST: usize = 64 * 1024;

/// What HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was found out of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tls: bool,
    pub(super) server_name: Option<String>,
    pub(super) protocols: Vec<String>,
}

impl Found {
    pub(super) fn transport_protocol(&self) -> TransportProtocol {
        if self.tls { TransportProtocol::Tls } else { TransportProtocol::RawBuffer }
    }
}

/// A stream of which the beginning was read.
#[derive(Debug)]
pub(super) struct Ahead<I> {
    ahead: Bytes,
    io: I,
}

impl<I> Ahead<I> {
    pub(super) fn new(ahead: Bytes, io: I) -> Self {
        Self { ahead, io }
    }
}

/// Looks at the beginning of a connection to `to` as its listener asks. `None`: it is to be closed.
pub(super) async fn inspect<I: AsyncRead + Unpin>(
    listener: &SocketListener,
    to: SocketAddr,
    io: &mut I,
) -> Option<(Found, Bytes)> {
    let (tls, http) = asked(listener, to);
    let mut read = BytesMut::new();
    if !tls && !http {
        return Some((Found::default(), Bytes::new()));
    }
    let looking = look(tls, http, io, &mut read);
    let found = match listener.inspection_timeout {
        Some(limit) => match tokio::time::timeout(limit, looking).await {
            Ok(found) => found.ok()?,
            Err(_) if listener.continue_after_timeout => Found::default(),
            Err(_) => return None,
        },
        None => looking.await.ok()?,
    };
    Some((found, read.freeze()))
}

/// Whether TLS and HTTP are looked for: TLS where the listener says so, for policies ask of it too, and both where a chain for
/// this destination asks what is spoken. Where none does, nothing is waited for: the server may be the one that speaks first.
fn asked(listener: &SocketListener, to: SocketAddr) -> (bool, bool) {
    let ip = to.ip().to_canonical();
    let asks = listener.chains.iter().map(|chain| &chain.matcher).any(|matcher| {
        let FilterChainMatch { destination_port, destination_ranges: ranges, .. } = matcher;
        destination_port.is_none_or(|port| port == to.port())
            && (ranges.is_empty() || ranges.iter().any(|range| range.contains(&ip)))
            && (matcher.transport_protocol.is_some()
                || !matcher.server_names.is_empty()
                || !matcher.application_protocols.is_empty())
    });
    let tls_inspector = listener.inspectors.iter().any(|one| matches!(one, ListenerFilter::TlsInspector { .. }));
    let http_inspector = listener.inspectors.contains(&ListenerFilter::HttpInspector);
    (tls_inspector || asks && listener.inspects_tls(), asks && http_inspector)
}

async fn look<I: AsyncRead + Unpin>(tls: bool, http: bool, io: &mut I, read: &mut BytesMut) -> io::Result<Found> {
    loop {
        let known = match (tls, http, read.first()) {
            (_, _, None) => None,
            (true, _, Some(0x16)) => hello(read),
            (_, true, Some(_)) => plain(read).map(|protocol| Found {
                protocols: protocol.map(str::to_owned).into_iter().collect(),
                ..Found::default()
            }),
            _ => Some(Found::default()),
        };
        if let Some(found) = known {
            return Ok(found);
        }
        if read.len() >= MOST || io.read_buf(read).await? == 0 {
            return Ok(Found::default());
        }
    }
}

/// What a hello asks for; `None` while it is not whole.
fn hello(read: &[u8]) -> Option<Found> {
    let mut acceptor = Acceptor::default();
    let mut rest = read;
    while !rest.is_empty() {
        // Reading of bytes that are there does not fail.
        if acceptor.read_tls(&mut rest).unwrap_or(0) == 0 {
            break;
        }
    }
    match acceptor.accept() {
        Ok(None) => None,
        Ok(Some(accepted)) => {
            let hello = accepted.client_hello();
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            let protocols = hello.alpn().into_iter().flatten().map(text).collect();
            Some(Found { tls: true, server_name: hello.server_name().map(str::to_owned), protocols })
        }
        // It begins like TLS and is none.
        Err(_) => Some(Found::default()),
    }
}

/// Which HTTP the beginning is of, if it is of one; `None` while that is not known.
fn plain(read: &[u8]) -> Option<Option<&'static str>> {
    if PREFACE.starts_with(read) || read.starts_with(PREFACE) {
        return (read.len() >= PREFACE.len()).then_some(Some("h2c"));
    }
    // The first line: a method, a target, a version.
    let line = match read.iter().position(|byte| *byte == b'\n') {
        Some(end) => &read[..end],
        None if read.iter().take(32).take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-').count()
            == read.len().min(32) =>
        {
            return (read.len() >= 32).then_some(None);
        }
        None if read.len() < 8192 && read.iter().all(|byte| *byte >= 0x20 || *byte == b'\r') => return None,
        None => return Some(None),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some(match line.rsplit(|byte| *byte == b' ').next() {
        Some(b"HTTP/1.1") => Some("http/1.1"),
        Some(b"HTTP/1.0") => Some("http/1.0"),
        _ => None,
    })
}

impl<I: AsyncRead + Unpin> AsyncRead for Ahead<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = buf.remaining().min(self.ahead.len());
        buf.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Ahead<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::listener::{FilterChain, Terminal};

    use super::*;

    const TO: &str = "10.0.0.1:80";

    /// A listener whose chain for port 80 asks what is spoken.
    fn listener() -> SocketListener {
        let mut listener = SocketListener::new("127.0.0.1:80".parse().unwrap());
        listener.inspectors = vec![ListenerFilter::HttpInspector];
        let mut http = FilterChain::new(Terminal::Close);
        http.matcher.destination_port = Some(80);
        http.matcher.destination_ranges = ["10.0.0.0/8".parse().unwrap()].into();
        http.matcher.application_protocols = ["http/1.1".into()].into();
        listener.chains = vec![http, FilterChain::new(Terminal::Close)];
        listener
    }

    #[test]
    fn the_beginning_tells_which_http_it_is() {
        for (text, known) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(Some("http/1.1"))),
            (b"GET / HTTP/1.0\n", Some(Some("http/1.0"))),
            (b"GET /", None),
            (b"GE", None),
            (b"PRI * HTTP/2.0\r\n", None),
            (PREFACE, Some(Some("h2c"))),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Some(None)),
            (b"\x00\x01\x02", Some(None)),
            (b"SSH-2.0-OpenSSH_9\r\n", Some(None)),
            (b"EHLO example\r\n", Some(None)),
        ] {
            assert_eq!(plain(text), known, "{}", String::from_utf8_lossy(text));
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_given_back() {
        let (mut client, mut server) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        drop(client);
        let (found, ahead) = inspect(&listener(), TO.parse().unwrap(), &mut server).await.unwrap();
        assert_eq!(found.protocols, ["http/1.1"]);
        let mut all = String::new();
        Ahead::new(ahead, server).read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for_beyond_the_limit() {
        let mut listener = listener();
        for goes_on in [false, true] {
            listener.continue_after_timeout = goes_on;
            let (_client, mut server) = tokio::io::duplex(64);
            let inspected = inspect(&listener, TO.parse().unwrap(), &mut server).await;
            assert_eq!(inspected.is_some(), goes_on);
        }
    }

    #[tokio::test]
    async fn nothing_is_waited_for_where_no_chain_asks_what_is_spoken() {
        for to in ["10.0.0.1:81", "11.0.0.1:80"] {
            let (_client, mut server) = tokio::io::duplex(64);
            let inspected = inspect(&listener(), to.parse().unwrap(), &mut server).await;
            assert_eq!(inspected, Some((Found::default(), Bytes::new())), "{to}");
        }
    }
}
