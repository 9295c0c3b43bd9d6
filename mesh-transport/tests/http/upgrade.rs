use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use mesh_core::balance::{CircuitSettings, HttpProtocol};
use mesh_core::listener::{HttpManager, UpgradeSupport};
use mesh_core::route::{Priority, Upgrade};
use mesh_transport::http::upgrade::{OnUpgrade, is_allowed, requested, splice};
use mesh_transport::http::{Body, Client, ClientSettings};
use mesh_transport::relay::Counts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{backend, client, manager, serve, server, until};

fn with_connect() -> HttpManager {
    let mut manager = manager();
    manager.limits.connect = true;
    manager
}

/// Changes protocols, and echoes until the client ends; then says so.
async fn echo(mut request: Request<Body>) -> Response<Body> {
    let described = format!("{} {:?}", request.method(), requested(request.method(), request.headers()));
    let Some(upgrade) = OnUpgrade::take(request.extensions_mut()) else {
        return Response::builder().status(400).body(Body::from(described)).unwrap();
    };
    tokio::spawn(async move {
        let mut io = upgrade.upgraded().await.unwrap();
        let mut bytes = [0; 1024];
        loop {
            match io.read(&mut bytes).await.unwrap() {
                0 => break,
                count => io.write_all(&bytes[..count]).await.unwrap(),
            }
        }
        io.write_all(b"bye").await.unwrap();
        io.shutdown().await.unwrap();
    });
    let mut response = Response::new(Body::empty());
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let protocol = request.headers()["upgrade"].clone();
        response.headers_mut().insert("upgrade", protocol);
        response.headers_mut().insert("connection", http::HeaderValue::from_static("upgrade"));
    }
    response
}

type Proxied = std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Passes everything on, upgrades too.
fn proxy(
    client: Client<SocketAddr>,
    to: SocketAddr,
) -> impl Fn(Request<Body>) -> Proxied + Clone + Send + Sync + 'static {
    move |mut request| {
        let client = client.clone();
        Box::pin(async move {
            let downstream = OnUpgrade::take(request.extensions_mut());
            let mut response = client.send(&to, Priority::Default, request).await.unwrap();
            if let (Some(downstream), Some(upstream)) = (downstream, OnUpgrade::take(response.extensions_mut())) {
                tokio::spawn(async move { splice(downstream, upstream, &Counts::default()).await });
            }
            response
        })
    }
}

async fn converse(io: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    io.write_all(b"hello").await.unwrap();
    assert_eq!(until(io, "hello").await, "hello");
    // Half-close: what was sent before still comes, and what the other end says after.
    io.write_all(b"world").await.unwrap();
    io.shutdown().await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(5), io.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "worldbye");
}

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nhost: a.example\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn websockets_pass_between_all_versions() {
    for upstream in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let mut settings = ClientSettings::default();
        settings.protocol = upstream;
        let to = server(with_connect(), echo).await;
        let (client, _) = client(settings, CircuitSettings::default());

        // From HTTP/1.1.
        let (mut io, _, _) = serve(&with_connect(), proxy(client.clone(), to));
        io.write_all(ASK).await.unwrap();
        let answer = until(&mut io, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("upgrade: websocket\r\n") && answer.contains("connection: upgrade\r\n"), "{answer}");
        if upstream == HttpProtocol::Http2 {
            // The example of RFC 6455 section 1.3: HTTP/2 has no such header, so it is ours.
            assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        }
        converse(&mut io).await;

        // From HTTP/2, by extended CONNECT.
        let (io, _, _) = serve(&with_connect(), proxy(client.clone(), to));
        let (sender, connection) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(connection);
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = Request::builder().method("CONNECT").uri("http://a.example/chat").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let mut sender = sender.ready().await.unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
        stream.send_data(Bytes::from("hello"), true).unwrap();
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(bytes) = body.data().await {
            text.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(text, b"hellobye");
    }
}

#[tokio::test(start_paused = true)]
async fn connect_passes_between_all_versions() {
    for upstream in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let mut settings = ClientSettings::default();
        settings.protocol = upstream;
        let to = server(with_connect(), echo).await;
        let (client, _) = client(settings, CircuitSettings::default());
        let (mut io, _, _) = serve(&manager(), proxy(client.clone(), to));
        io.write_all(b"CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n").await.unwrap();
        let answer = until(&mut io, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("content-length"), "{answer}");
        converse(&mut io).await;

        let (io, _, _) = serve(&manager(), proxy(client.clone(), to));
        let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method("CONNECT").uri("a.example:443").body(()).unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        stream.send_data(Bytes::from("hello"), true).unwrap();
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(bytes) = body.data().await {
            text.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(text, b"hellobye");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_refused_leaves_the_connection_as_it_is() {
    let to = backend(async |mut stream: tokio::io::DuplexStream, _| {
        loop {
            let head = until(&mut stream, "\r\n\r\n").await;
            let status = if head.contains("upgrade: websocket") { "403 Forbidden" } else { "200 OK" };
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno").as_bytes()).await;
        }
    })
    .await;
    let (client, _) = client(ClientSettings::default(), CircuitSettings::default());
    let (mut io, _, _) = serve(&manager(), proxy(client, to));
    io.write_all(ASK).await.unwrap();
    assert!(until(&mut io, "no").await.starts_with("HTTP/1.1 403 "));
    io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(until(&mut io, "no").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_upgrade_is_not_passed_on_as_one() {
    for lines in [
        "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "upgrade: websocket\r\n",
        "upgrade: websocket\r\nupgrade: h2c\r\nconnection: upgrade\r\n",
        "upgrade: websocket, h2c\r\nconnection: upgrade\r\n",
        "connection: upgrade\r\n",
    ] {
        let (mut io, _, _) = serve(&manager(), crate::support::describe);
        io.write_all(format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n").as_bytes()).await.unwrap();
        let answer = until(&mut io, "body=").await;
        let seen = answer.split("\r\n\r\n").nth(1).unwrap();
        assert!(
            !seen.contains("upgrade") && !seen.contains("h2c") && !seen.contains("http2-settings"),
            "{lines}: {seen}"
        );
    }
}

#[test]
fn the_route_decides_who_may_upgrade_and_else_the_listener() {
    let listener = |enabled| vec![UpgradeSupport { protocol: "WebSocket".into(), enabled }];
    let route = |enabled| vec![Upgrade { protocol: "websocket".into(), enabled }];
    for (of_listener, of_route, allowed) in [
        (vec![], vec![], false),
        (listener(true), vec![], true),
        (listener(false), vec![], false),
        (listener(false), route(true), true),
        (listener(true), route(false), false),
        (vec![], route(true), true),
    ] {
        assert_eq!(is_allowed("websocket", &of_listener, &of_route), allowed);
        assert!(!is_allowed("CONNECT", &of_listener, &of_route));
    }
}
