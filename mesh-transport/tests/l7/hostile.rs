//! Peers that are wrong, slow or hostile, on either side of the whole proxy: what is answered, what is told of it, and that
//! nothing of it is left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::balance::HttpProtocol;
use mesh_core::listener::HttpManager;
use mesh_core::route::Forward;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::wired::{exchange, head, proxied, settles, under_way};
use super::{SOON, Scene};

#[path = "../http/corpus.rs"]
mod corpus;

const SECOND: Duration = Duration::from_secs(1);

fn unchanged(_: &mut Forward, _: &mut HttpManager) {}

/// A backend of HTTP/1.1 that keeps all that it is sent, and answers every head.
async fn recording(change: impl FnOnce(&mut Forward, &mut HttpManager)) -> (Scene, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let sees = Arc::clone(&seen);
    let scene = proxied(HttpProtocol::Http1, change, move |mut io| {
        let sees = Arc::clone(&sees);
        async move {
            let mut bytes = [0; 4096];
            let mut answered = 0;
            loop {
                let Ok(count @ 1..) = io.read(&mut bytes).await else { return };
                let heads = {
                    let mut seen = sees.lock().unwrap();
                    seen.extend_from_slice(&bytes[..count]);
                    String::from_utf8_lossy(&seen).matches(" HTTP/1.1\r\n").count()
                };
                while answered < heads {
                    answered += 1;
                    let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            }
        }
    })
    .await;
    (scene, seen)
}

#[tokio::test(start_paused = true)]
async fn what_two_readers_may_see_differently_reaches_no_backend() {
    let (scene, seen) = recording(unchanged).await;
    let mut wrong = Vec::new();
    for (name, bytes, status) in corpus::REFUSED {
        let answer = exchange(scene.connect(), format!("{bytes}{}", corpus::SMUGGLED).as_bytes()).await;
        if !answer.starts_with(&format!("HTTP/1.1 {status} ")) || answer.matches("HTTP/1.1 ").count() != 1 {
            wrong.push(format!("{name}: {answer:?}"));
        }
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        if !seen.is_empty() {
            wrong.push(format!("{name}: the backend saw {:?}", String::from_utf8_lossy(&seen)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    settles(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_malformed_never_ends_for_the_backend() {
    let mut wrong = Vec::new();
    for (name, body) in corpus::BROKEN {
        let (scene, seen) = recording(unchanged).await;
        let head = "POST /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = exchange(scene.connect(), format!("{head}{body}{}", corpus::SMUGGLED).as_bytes()).await;
        let seen = String::from_utf8_lossy(&std::mem::take(&mut *seen.lock().unwrap())).into_owned();
        if answer.matches("HTTP/1.1 ").count() > 1 || seen.contains("/smuggled") || seen.ends_with("0\r\n\r\n") {
            wrong.push(format!("{name}: {answer:?}, the backend saw {seen:?}"));
        }
        settles(&scene).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What becomes of a request, as its client sees it and as the log tells it.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    flags: String,
    complete: bool,
}

fn seen(status: u16, flags: &str, complete: bool) -> Seen {
    Seen { status, flags: flags.to_owned(), complete }
}

async fn logged(scene: &Scene) -> Seen {
    let record = scene.log.next().await;
    seen(record.status_code(), &record.flags.to_string(), record.complete)
}

/// Asks by HTTP/1.1: status, and whether the response was whole.
async fn ask_http1(scene: &Scene) -> (u16, bool) {
    let answer = exchange(scene.connect(), b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = match length {
        Some(length) => length.parse() == Ok(body.len()),
        None => body.ends_with("0\r\n\r\n"),
    };
    (status, whole)
}

/// The same by HTTP/2.
async fn ask_http2(scene: &Scene) -> (u16, bool) {
    let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(Request::get("http://shop/").body(()).unwrap(), true).unwrap().0;
    let Ok(response) = tokio::time::timeout(100 * SECOND, response).await.expect("an answer") else {
        // The end overtakes a head that has not left yet.
        drop(sender);
        let _ = connection.await;
        return (0, false);
    };
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut whole = true;
    while let Some(part) = tokio::time::timeout(100 * SECOND, body.data()).await.expect("an end") {
        match part {
            Ok(bytes) => body.flow_control().release_capacity(bytes.len()).unwrap(),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    drop((sender, body));
    let _ = connection.await;
    (status, whole)
}

/// Both kinds of clients see, and the log tells, what is expected of a backend; and nothing is left.
async fn check(scene: &Scene, name: &str, expected: &Seen, wrong: &mut Vec<String>) {
    for version in [1, 2] {
        let (status, whole) = if version == 1 { ask_http1(scene).await } else { ask_http2(scene).await };
        let logged = logged(scene).await;
        let overtaken = !expected.complete && status == 0;
        if logged != *expected || whole != expected.complete || (status != expected.status && !overtaken) {
            wrong.push(format!("{name}, client of HTTP/{version}: {status} whole={whole}, logged {logged:?}"));
        }
        settles(scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_backends_of_http1_do_wrong_has_its_answer_and_its_flag() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
    let mut wrong = Vec::new();
    for (name, bytes, hangs, expected) in [
        ("nothing, and hangs", "", true, seen(504, "UT", true)),
        ("nothing", "", false, seen(503, "UC", true)),
        ("a part of a head", "HTTP/1.1 200 OK\r\nx: ", false, seen(503, "UC", true)),
        ("a part of a head, and hangs", "HTTP/1.1 200 OK\r\nx: ", true, seen(504, "UT", true)),
        ("something else", "SSH-2.0-OpenSSH_9.9\r\n", true, seen(502, "UPE", true)),
        ("a head that is too large", &huge, true, seen(502, "UPE", true)),
        ("too many headers", &many, true, seen(502, "UPE", true)),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            true,
            seen(502, "UPE", true),
        ),
        (
            "101 without being asked",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            true,
            seen(502, "UPE", true),
        ),
        (
            "a length that is too large",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
            false,
            seen(200, "UC", false),
        ),
        (
            "a length that is too large, and hangs",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
            true,
            seen(200, "UT", false),
        ),
        ("a length that is too small", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello", true, seen(200, "-", true)),
        (
            "a chunk that is cut",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            false,
            seen(200, "UC", false),
        ),
        (
            "chunks without an end",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            true,
            seen(200, "UT", false),
        ),
        (
            "two responses",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            true,
            seen(200, "-", true),
        ),
    ] {
        let bytes = bytes.to_owned();
        let scene = proxied(HttpProtocol::Http1, unchanged, move |mut io| {
            let bytes = bytes.clone();
            async move {
                head(&mut io).await;
                let _ = io.write_all(bytes.as_bytes()).await;
                while hangs && io.read_u8().await.is_ok() {}
            }
        })
        .await;
        check(&scene, name, &expected, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_backends_of_http2_do_wrong_has_its_answer_and_its_flag() {
    type Respond = fn(h2::server::SendResponse<Bytes>);
    let mut wrong = Vec::new();
    for (name, respond, expected) in [
        ("hangs", (|respond| drop(tokio::spawn(hold(respond)))) as Respond, seen(504, "UT", true)),
        ("refuses", |mut respond| respond.send_reset(h2::Reason::REFUSED_STREAM), seen(503, "UR", true)),
        ("resets", |mut respond| respond.send_reset(h2::Reason::INTERNAL_ERROR), seen(503, "UR", true)),
        (
            "resets in the body",
            |respond| {
                let mut stream = begin(respond, "x-none");
                drop(tokio::spawn(async move {
                    tokio::time::sleep(SECOND).await;
                    stream.send_reset(h2::Reason::CANCEL);
                }));
            },
            seen(200, "UR", false),
        ),
        ("hangs in the body", |respond| drop(tokio::spawn(hold(begin(respond, "x-none")))), seen(200, "UT", false)),
        (
            "a length that is too large",
            |respond| begin(respond, "content-length").send_data(Bytes::new(), true).unwrap(),
            seen(200, "UPE", false),
        ),
        (
            "a length that is too small",
            |respond| {
                let mut stream = begin(respond, "content-length");
                stream.send_data(Bytes::from("more than was told"), true).unwrap();
            },
            seen(200, "UPE", false),
        ),
        (
            "gRPC without trailers",
            |respond| begin(respond, "content-type").send_data(Bytes::new(), true).unwrap(),
            seen(200, "-", true),
        ),
    ] {
        let scene = proxied(HttpProtocol::Http2, unchanged, move |io| async move {
            let mut connection = h2::server::handshake(io).await.unwrap();
            while let Some(Ok((_, response))) = connection.accept().await {
                respond(response);
            }
        })
        .await;
        check(&scene, name, &expected, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The beginning of a response of HTTP/2: a head with one header of interest, and five bytes.
fn begin(mut respond: h2::server::SendResponse<Bytes>, header: &str) -> h2::SendStream<Bytes> {
    let value = if header == "content-length" { "9" } else { "application/grpc" };
    let head = Response::builder().header(header, value).body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from("hello"), false).unwrap();
    stream
}

async fn hold<T>(held: T) {
    tokio::time::sleep(10_000 * SECOND).await;
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_response_on_which_nothing_moves_is_given_up() {
    let mut wrong = Vec::new();
    for (name, bytes, expected) in [
        ("before the head", "", seen(504, "SI", true)),
        ("in the body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", seen(200, "SI", false)),
    ] {
        let change = |forward: &mut Forward, manager: &mut HttpManager| {
            forward.timeout = Some(Duration::ZERO);
            manager.timeouts.stream_idle = Some(10 * SECOND);
        };
        let scene = proxied(HttpProtocol::Http1, change, move |mut io| async move {
            head(&mut io).await;
            let _ = io.write_all(bytes.as_bytes()).await;
            while io.read_u8().await.is_ok() {}
        })
        .await;
        check(&scene, name, &expected, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A backend that reads and never answers; the pipe tells when its connection, or stream, is gone.
async fn silent(protocol: HttpProtocol, change: impl FnOnce(&mut Forward, &mut HttpManager)) -> Scene {
    proxied(protocol, change, move |mut io| async move {
        if protocol != HttpProtocol::Http2 {
            while io.read_u8().await.is_ok() {}
            return;
        }
        let mut connection = h2::server::handshake(io).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(exchange)) = connection.accept().await {
            held.push(exchange);
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_all_with_it() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        // In the body of its request, and waiting for the response.
        for (ask, expected) in [
            // It may have shut down its side only, and still listen.
            ("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 9\r\n\r\nhello", seen(400, "DC", true)),
            ("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello", seen(0, "DC", false)),
        ] {
            let scene = silent(protocol, unchanged).await;
            let mut client = scene.connect();
            client.write_all(ask.as_bytes()).await.unwrap();
            under_way(&scene, 1).await;
            drop(client);
            assert_eq!(logged(&scene).await, expected, "{protocol:?} {ask:?}");
            settles(&scene).await;
        }
        let scene = silent(protocol, unchanged).await;
        let (mut sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://shop/").body(()).unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(Bytes::from("hello"), false).unwrap();
        under_way(&scene, 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        // Whether the body broke off before the stream was gone is a matter of time.
        let logged = logged(&scene).await;
        assert!([seen(0, "DR", false), seen(400, "DR", false)].contains(&logged), "{protocol:?} {logged:?}");
        drop((response, stream, sender));
        settles(&scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let change = |_: &mut Forward, manager: &mut HttpManager| manager.timeouts.request = Some(SECOND);
        let scene = silent(protocol, change).await;
        let ask = b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 9\r\n\r\nhello";
        let answer = exchange(scene.connect(), ask).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
        settles(&scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_reaches_no_backend() {
    let (scene, seen) = recording(|_, manager| {
        manager.timeouts.request_headers = Some(SECOND);
        // What comes after the end is thrown away for so long, and time is paused.
        manager.timeouts.delayed_close = Duration::ZERO;
    })
    .await;
    let endless = format!("GET / HTTP/1.1\r\nhost: shop\r\n{}", "x: y\r\n".repeat(100_000));
    let answer = exchange(scene.connect(), endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(scene.connect(), b"GET / HTTP/1.1\r\nhost: shop\r\nx: ").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    // HTTP/2: a head in frames without an end (CVE-2024-27316).
    let mut client = scene.connect();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // A method, then CONTINUATION after CONTINUATION of a header without indexing.
    client.write_all(b"\0\0\x01\x01\0\0\0\0\x01\x82").await.unwrap();
    let (mut read, mut write) = tokio::io::split(client);
    let flood = async {
        let frame = [b"\0\0\x07\x09\0\0\0\0\x01\0\x01x\x03abc".as_slice()].concat();
        let mut sent = 0;
        while write.write_all(&frame).await.is_ok() {
            sent += frame.len();
            assert!(sent < 64 << 20, "it is taken for ever");
        }
    };
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(flood, tokio::time::timeout(SOON, read.read_to_end(&mut answer)));
    assert!(read.is_ok(), "the connection is closed");
    assert!(seen.lock().unwrap().is_empty());
    settles(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_leaves_nothing_at_the_backend() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let scene = silent(protocol, unchanged).await;
        let (sender, connection) = h2::client::handshake(scene.connect()).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..3000 {
            let Ok(mut ready) = sender.clone().ready().await else { break };
            let request = Request::get("http://shop/").body(()).unwrap();
            let Ok((response, mut stream)) = ready.send_request(request, false) else { break };
            tokio::task::yield_now().await;
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
            tokio::task::yield_now().await;
        }
        drop(sender);
        let ended = tokio::time::timeout(SOON, connection).await.expect("the connection is closed").unwrap();
        let reason = ended.err().and_then(|error| error.reason());
        assert_eq!(reason, Some(h2::Reason::ENHANCE_YOUR_CALM), "{protocol:?}");
        settles(&scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let change = |forward: &mut Forward, manager: &mut HttpManager| {
            forward.timeout = Some(Duration::ZERO);
            manager.timeouts.stream_idle = Some(10 * SECOND);
        };
        let scene = proxied(protocol, change, move |io| endless(protocol, io)).await;
        let mut client = scene.connect();
        client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        tokio::time::sleep(100 * SECOND).await;
        let record = scene.log.next().await;
        assert_eq!((record.status_code(), record.complete), (200, false), "{protocol:?}");
        settles(&scene).await;
        drop(client);
    }
}

/// Answers with a body that does not end, as fast as it is taken.
async fn endless(protocol: HttpProtocol, mut io: DuplexStream) {
    if protocol != HttpProtocol::Http2 {
        head(&mut io).await;
        let _ = io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while io.write_all(&[b'x'; 4096]).await.is_ok() {}
        return;
    }
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move {
            loop {
                stream.reserve_capacity(4096);
                let Some(Ok(count)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                if stream.send_data(Bytes::from(vec![b'x'; count]), false).is_err() {
                    return;
                }
            }
        });
    }
}
