//! What of HTTP goes through, and for how long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use mesh_core::balance::HttpProtocol;
use mesh_core::listener::UpgradeSupport;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::wired::{exchange, head, proxied, settles, under_way};
use super::{SOON, Scene};

const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-own\r\nx-own: 1\r\ncontent-length: 5\r\n\r\n";

/// Gives two hints, waits until it is told, and answers.
async fn hints(protocol: HttpProtocol) -> (Scene, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    let waits = Arc::clone(&told);
    let scene = proxied(
        protocol,
        |_, _| {},
        move |io| {
            let waits = Arc::clone(&waits);
            async move {
                match protocol {
                    HttpProtocol::Http2 => hints_http2(io, &waits).await,
                    _ => hints_http1(io, &waits).await,
                }
            }
        },
    )
    .await;
    (scene, told)
}

async fn hints_http1(mut io: DuplexStream, told: &Notify) {
    while !head(&mut io).await.is_empty() {
        // Whether a body is wanted is between the backend and the proxy.
        io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        io.write_all(HINT.as_bytes()).await.unwrap();
        io.write_all(b"HTTP/1.1 199 \r\nx-second: y\r\n\r\n").await.unwrap();
        told.notified().await;
        io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    }
}

async fn hints_http2(io: DuplexStream, told: &Notify) {
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let interim = |status: u16, name: &'static str, value: &'static str| {
            Response::builder().status(status).header(name, value).body(()).unwrap()
        };
        respond.send_informational(interim(100, "x-none", "y")).unwrap();
        respond.send_informational(interim(103, "link", "</a.css>")).unwrap();
        respond.send_informational(interim(199, "x-second", "y")).unwrap();
        // The frames leave while the connection is asked for the next request.
        tokio::select! {
            next = connection.accept() => assert!(next.is_none(), "one request at a time"),
            () = told.notified() => {
                let head = Response::builder().header("content-length", "2").body(()).unwrap();
                respond.send_response(head, false).unwrap().send_data(Bytes::from("ok"), true).unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_before_the_response_reaches_clients_of_http1_at_once() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let (scene, told) = hints(protocol).await;
        let mut client = scene.connect();
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
            let first = tokio::time::timeout(SOON, head(&mut client)).await.expect("a hint comes before the response");
            assert_eq!(first, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n", "{protocol:?}");
            assert_eq!(head(&mut client).await, "HTTP/1.1 199 \r\nx-second: y\r\n\r\n", "{protocol:?}");
            told.notify_one();
            assert!(super::response(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
            assert_eq!(scene.log.next().await.status_code(), 200);
        }
        drop(client);
        settles(&scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_before_the_response_reaches_clients_of_http2_at_once() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let (scene, told) = hints(protocol).await;
        let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get("http://shop/").body(()).unwrap();
        let (mut response, _) = sender.send_request(request, true).unwrap();
        for (status, name) in [(103, "link"), (199, "x-second")] {
            let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
            let interim = tokio::time::timeout(SOON, interim).await.expect("a hint comes before the response");
            let interim = interim.expect("it is no response").unwrap();
            assert_eq!(interim.status(), status);
            assert!(interim.headers().contains_key(name) && interim.headers().len() == 1, "{interim:?}");
        }
        told.notify_one();
        let answer = response.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ok");
        drop((sender, body));
        let _ = connection.await;
        settles(&scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_together_with_the_response_comes_before_it() {
    let all = format!("{HINT}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let scene = proxied(
        HttpProtocol::Http1,
        |_, _| {},
        move |mut io| {
            let all = all.clone();
            async move {
                while !head(&mut io).await.is_empty() {
                    io.write_all(all.as_bytes()).await.unwrap();
                }
            }
        },
    )
    .await;
    // Two at once: what is said before the second comes after the first.
    let asked = "GET /1 HTTP/1.1\r\nhost: shop\r\n\r\nGET /2 HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
    let answer = exchange(scene.connect(), asked.as_bytes()).await;
    let lines: Vec<_> = answer.lines().filter(|line| line.contains("HTTP/1.1 ")).collect();
    assert_eq!(lines, ["HTTP/1.1 103 Early Hints", "HTTP/1.1 200 OK", "okHTTP/1.1 103 Early Hints", "HTTP/1.1 200 OK"]);
    // HTTP/1.0 knows no such responses.
    let answer = exchange(scene.connect(), b"GET / HTTP/1.0\r\nhost: shop\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && !answer.contains(" 103 "), "{answer}");
    settles(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_early_responses_is_not_kept() {
    let scene = proxied(
        HttpProtocol::Http1,
        |_, _| {},
        |mut io| async move {
            head(&mut io).await;
            for _ in 0..10_000 {
                io.write_all(HINT.as_bytes()).await.unwrap();
            }
            io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            head(&mut io).await;
        },
    )
    .await;
    let mut client = scene.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut count = 0;
    let last = loop {
        let next = tokio::time::timeout(SOON, head(&mut client)).await.expect("the response comes");
        match next.starts_with("HTTP/1.1 103 ") {
            true => count += 1,
            false => break next,
        }
    };
    assert!(count > 0 && last.starts_with("HTTP/1.1 200 OK\r\n"), "{count} {last}");
}

/// A proxy before a backend that changes protocols and then says what it is sent.
async fn echoing(route: Option<Duration>, listener: Option<Duration>, stream: Option<Duration>) -> Scene {
    proxied(
        HttpProtocol::Http1,
        |forward, manager| {
            forward.idle_timeout = route;
            manager.timeouts.stream_idle = listener;
            manager.timeouts.stream = stream;
            manager.limits.connect = true;
            manager.upgrades = vec![UpgradeSupport { protocol: "websocket".into(), enabled: true }];
        },
        |mut io| async move {
            assert!(head(&mut io).await.contains("upgrade: websocket"));
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n";
            io.write_all(answer.as_bytes()).await.unwrap();
            let (mut read, mut write) = tokio::io::split(io);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        },
    )
    .await
}

async fn echoes(io: &mut DuplexStream) {
    io.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    io.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_on_which_nothing_moves_is_closed() {
    let seconds = |count| Some(Duration::from_secs(count));
    for (route, listener, stream, flag, details) in [
        (None, seconds(60), None, "SI", "stream_idle_timeout"),
        (seconds(60), seconds(7200), None, "SI", "stream_idle_timeout"),
        (seconds(60), None, None, "SI", "stream_idle_timeout"),
        (None, None, seconds(600), "DT", "max_duration_timeout"),
    ] {
        let scene = echoing(route, listener, stream).await;
        let mut client = scene.connect();
        let ask = b"GET /chat HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: WebSocket\r\n"), "{answer}");
        let begun = tokio::time::Instant::now();
        // What moves is not idle.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(40)).await;
            echoes(&mut client).await;
        }
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(300), client.read_to_end(&mut rest)).await.expect("closed").unwrap();
        assert!(rest.is_empty());
        assert!(begun.elapsed() >= Duration::from_secs(440), "{:?}", begun.elapsed());
        let record = scene.log.next().await;
        assert_eq!((record.status_code(), record.complete), (101, false));
        assert_eq!((record.flags.to_string().as_str(), record.details.as_str()), (flag, details));
        assert_eq!(record.bytes, (40, 40));
        settles(&scene).await;
    }
    // Zero is for ever, whatever the listener says.
    let scene = echoing(Some(Duration::ZERO), seconds(60), None).await;
    let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
    tokio::spawn(connection);
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = Request::builder().method("CONNECT").uri("http://shop/chat").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    tokio::time::sleep(Duration::from_secs(36_000)).await;
    stream.send_data(Bytes::from("ping"), true).unwrap();
    assert_eq!(response.into_body().data().await.unwrap().unwrap(), "ping");
    assert!(scene.log.next().await.complete);
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_in_use_and_a_drain_waits_for_it() {
    let scene = echoing(None, None, None).await;
    let mut client = scene.connect();
    let ask = b"GET /chat HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    client.write_all(ask).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
    tokio::spawn(connection);
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = Request::builder().method("CONNECT").uri("http://shop/chat").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    let mut body = response.await.unwrap().into_body();
    under_way(&scene, 2).await;
    assert_eq!(scene.proxy.open(), 2);

    let proxy = scene.proxy.clone();
    let drained = tokio::spawn(async move { proxy.drain(10_000 * SOON).await });
    tokio::time::sleep(1_000 * SOON).await;
    echoes(&mut client).await;
    stream.send_data(Bytes::from("ping"), false).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "ping");
    assert!(!drained.is_finished());

    // Half of it ends, and then the rest.
    client.shutdown().await.unwrap();
    stream.send_data(Bytes::from("last"), true).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "last");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    tokio::time::timeout(SOON, drained).await.expect("all has ended").unwrap();
    settles(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_clients_of_http1_that_ask_for_them() {
    let scene = proxied(
        HttpProtocol::Http1,
        |_, _| {},
        |mut io| async move {
            while !head(&mut io).await.is_empty() {
                let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
                io.write_all(answer.as_bytes()).await.unwrap();
            }
        },
    )
    .await;
    for (te, asks) in [("te: trailers\r\nconnection: te, close", true), ("connection: close", false)] {
        let ask = format!("GET / HTTP/1.1\r\nhost: shop\r\n{te}\r\n\r\n");
        let answer = exchange(scene.connect(), ask.as_bytes()).await;
        assert!(answer.contains("trailer: x-sum\r\n") && answer.contains("2\r\nok\r\n0\r\n"), "{answer}");
        assert_eq!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), asks, "{answer}");
    }
    // HTTP/2 has a place for them, and needs not be asked (RFC 9113 section 8.1).
    let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("http://shop/").body(()).unwrap();
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let mut body = sender.send_request(request, true).unwrap().0.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "ok");
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "7");
}
