//! The servers behind the proxies: as cheap as can be, so that what is measured is before them.

use bytes::{Bytes, BytesMut};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Version;

/// Bytes of the body of each answer.
pub(crate) const BODY_BYTES: usize = 1024;

static BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];

/// Serves both addresses for ever.
pub(crate) async fn serve(version: Version, addresses: &[String]) {
    let mut serving = tokio::task::JoinSet::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.unwrap();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                match version {
                    Version::Http1 => tokio::spawn(http1(stream)),
                    Version::Http2 => tokio::spawn(http2(stream)),
                };
            }
        });
    }
    serving.join_all().await;
}

async fn http1(mut stream: TcpStream) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    let answer = [head.as_bytes(), &BODY].concat();
    let mut read = BytesMut::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut read).await {
        // Requests without a body end with their head.
        while let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let _ = read.split_to(end + 4);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        read.reserve(4096);
    }
}

async fn http2(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let head = || {
        let builder = Response::builder().header("content-type", "application/json");
        builder.header("content-length", BODY_BYTES).body(()).unwrap()
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if let Ok(mut stream) = respond.send_response(head(), false) {
            let _ = stream.send_data(Bytes::from_static(&BODY), true);
        }
    }
}
