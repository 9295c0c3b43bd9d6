//! Heads of requests, and the bytes of connections of HTTP/1.1.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt;
use mesh_core::listener::{HttpManager, RouteSource, StripPort};
use mesh_transport::http::{Accepted, Body, Downstream, Rules, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::Target;

/// What is done to heads.
pub(crate) const HEAD: Target = Target { name: "http_head", run: head, seeds: heads };

/// What is made of the bytes of a connection.
pub(crate) const SERVER: Target = Target { name: "http_server", run: server, seeds: connections };

fn manager() -> HttpManager {
    let mut manager = HttpManager::new(RouteSource::Rds("routes".into()));
    manager.codec = mesh_core::listener::Codec::Http1;
    manager.forwarded_for.use_remote_address = true;
    manager.strip_port = StripPort::Any;
    manager.strip_trailing_host_dot = true;
    manager
}

fn downstream() -> Downstream {
    Downstream::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80)
}

/// Method, target and version, then a header on each line.
fn parts(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(3, |byte| *byte == b' ');
    let method = Method::from_bytes(first.next()?).ok()?;
    let uri = http::Uri::try_from(first.next()?).ok()?;
    let mut parts = Request::new(()).into_parts().0;
    (parts.method, parts.uri) = (method, uri);
    parts.version = match first.next()? {
        b"0" => Version::HTTP_10,
        b"2" => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some(parts)
}

/// The head of a request that is let in.
pub(crate) fn admitted(bytes: &[u8]) -> Option<Parts> {
    let mut parts = parts(bytes)?;
    Rules::new(&manager()).admit(&mut parts, &downstream()).ok()?;
    Some(parts)
}

/// What is let in is in one form, and is let in again without a change of where it goes.
fn head(bytes: &[u8]) {
    let Some(mut parts) = parts(bytes) else { return };
    let rules = Rules::new(&manager());
    let Ok(admitted) = rules.admit(&mut parts, &downstream()) else { return };
    let is_connect = parts.method == Method::CONNECT;
    assert!(is_connect || (parts.uri.authority().is_none() && parts.uri.scheme().is_none()), "{parts:?}");
    assert!(parts.headers.get_all(HOST).iter().count() <= 1, "{parts:?}");
    assert!(parts.headers.get_all(CONTENT_LENGTH).iter().count() <= 1, "{parts:?}");
    assert!(!parts.headers.contains_key(TRANSFER_ENCODING), "{parts:?}");
    let upgrades = parts.headers.contains_key(UPGRADE);
    assert_eq!(
        parts.headers.get(CONNECTION).map(HeaderValue::as_bytes),
        upgrades.then_some(&b"upgrade"[..]),
        "{parts:?}"
    );
    assert!(admitted.upgrades || !upgrades || parts.version == Version::HTTP_10, "{parts:?}");

    let (host, uri) = (parts.headers.get(HOST).cloned(), parts.uri.clone());
    if is_connect || parts.version != Version::HTTP_11 {
        return;
    }
    let again = rules.admit(&mut parts, &downstream());
    assert!(again.is_ok(), "{again:?} {parts:?}");
    assert_eq!((parts.headers.get(HOST), &parts.uri), (host.as_ref(), &uri));
}

/// The same bytes are the same requests, in one piece or in many.
fn server(bytes: &[u8]) {
    let whole = requests(bytes, usize::MAX);
    for step in [1, 7] {
        assert_eq!(requests(bytes, step), whole, "in pieces of {step}");
    }
}

/// The requests that a service sees.
fn requests(bytes: &[u8], step: usize) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return Vec::new() };
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let service = {
        let seen = Arc::clone(&seen);
        tower::service_fn(move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).map_err(drop);
                if let Ok(mut seen) = seen.lock() {
                    seen.push(format!("{} {} {:?} {body:?}", head.method, head.uri, head.headers.get(HOST)));
                }
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        })
    };
    runtime.block_on(async {
        let (io, far) = tokio::io::duplex(1 << 20);
        let server = Server::new(&manager());
        let served = server.serve(far, Accepted::new(downstream(), ()), service, CancellationToken::new());
        let (mut read, mut write) = tokio::io::split(io);
        let writing = async {
            for piece in bytes.chunks(step.min(bytes.len().max(1))) {
                if write.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            // A client that leaves takes what is under way with it, so it stays until all is done.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            // The server may have left already.
            let _ = write.shutdown().await;
        };
        let reading = async {
            let mut answer = Vec::new();
            let _ = read.read_to_end(&mut answer).await;
        };
        let _ = tokio::join!(served, writing, reading);
    });
    // One that broke off may have been seen or not: when the connection ends is a matter of time.
    let mut seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    seen.retain(|request| !request.ends_with("Err(())"));
    seen
}

fn heads() -> Vec<Vec<u8>> {
    [
        "GET /x?y 1\nhost:a.:80\nconnection:close, x\nx:y\nx-forwarded-for:1.2.3.4, 5.6.7.8\nte:trailers",
        "GET http://a/ 1\nhost:a\nexpect:100-continue\ncontent-length:5",
        "POST / 1\nhost:[::1]:80\ntransfer-encoding:chunked\nforwarded:for=1.2.3.4",
        "CONNECT a:443 1\nhost:a:443",
        "GET https://a/ 2\nx-forwarded-proto:https\nx-request-id:1",
        "OPTIONS * 1\nhost:a\nupgrade:websocket\nconnection:upgrade",
        "GET / 0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn connections() -> Vec<Vec<u8>> {
    [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
