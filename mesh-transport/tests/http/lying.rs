use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::balance::{CircuitSettings, HttpProtocol};
use mesh_core::resilience::SendFailure;
use mesh_core::route::Priority;
use mesh_transport::http::{Body, Client, ClientSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::support::{backend, client, get, manager, read, send, serve, server, to_end, until};

fn http2() -> ClientSettings {
    let mut settings = ClientSettings::default();
    settings.protocol = HttpProtocol::Http2;
    settings
}

/// A backend that reads a request, says these bytes, and closes.
async fn says(bytes: &'static [u8]) -> SocketAddr {
    backend(move |mut stream, _| async move {
        until(&mut stream, "\r\n\r\n").await;
        let _ = stream.write_all(bytes).await;
    })
    .await
}

/// How a request ended.
#[derive(Debug, PartialEq)]
enum Seen {
    Failed(SendFailure),
    Whole(u16, &'static str),
    /// The head came, and the body broke off.
    Broken(u16),
}

async fn ask(client: &Client<SocketAddr>, to: SocketAddr) -> (Seen, String) {
    let response = match send(client, to, get("/")).await {
        Ok(response) => response,
        Err(failed) => return (Seen::Failed(failed.error.failure()), String::new()),
    };
    let status = response.status().as_u16();
    match tokio::time::timeout(Duration::from_secs(5), read(response.into_body())).await.expect("an end") {
        Ok((bytes, _)) => (Seen::Whole(status, ""), String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => (Seen::Broken(status), String::new()),
    }
}

async fn settles(client: &Client<SocketAddr>) {
    for _ in 0..200 {
        if client.connections() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} connections are left", client.connections());
}

const CLOSED: Seen = Seen::Failed(SendFailure::Closed { sent: true });
const UNSENT: Seen = Seen::Failed(SendFailure::Closed { sent: false });
const MALFORMED: Seen = Seen::Failed(SendFailure::Protocol);

#[tokio::test(start_paused = true)]
async fn what_http1_backends_may_do_is_told_apart_and_nothing_is_left() {
    let huge: &'static [u8] =
        Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000)).into_bytes().into());
    let many: &'static [u8] =
        Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200)).into_bytes().into());
    for (name, bytes, seen) in [
        ("nothing", &b""[..], CLOSED),
        ("a part of a head", b"HTTP/1.1 200 OK\r\nx: ", CLOSED),
        ("something else", b"SSH-2.0-OpenSSH_9.9\r\n", MALFORMED),
        ("HTTP/0.9", b"hello", MALFORMED),
        ("HTTP/2", b"HTTP/2 200 OK\r\n\r\n", MALFORMED),
        ("a status that is none", b"HTTP/1.1 2x0 OK\r\n\r\n", MALFORMED),
        ("NUL", b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", MALFORMED),
        ("a folded header", b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n", MALFORMED),
        ("space before the colon", b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", MALFORMED),
        ("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", MALFORMED),
        ("a length that is none", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab", MALFORMED),
        ("a head that is too large", huge, MALFORMED),
        ("too many headers", many, MALFORMED),
        (
            "101 without being asked",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            MALFORMED,
        ),
        ("a length that is too large", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", Seen::Broken(200)),
        ("a length that is too small", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello", Seen::Whole(200, "hell")),
        ("a chunk that is cut", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", Seen::Broken(200)),
        (
            "chunks without an end",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Seen::Broken(200),
        ),
        (
            "a chunk that is none",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxx\r\nhello\r\n0\r\n\r\n",
            Seen::Broken(200),
        ),
        ("no length", b"HTTP/1.1 200 OK\r\n\r\nhello", Seen::Whole(200, "hello")),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", Seen::Whole(200, "hello")),
        (
            "100 before",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            Seen::Whole(200, "hello"),
        ),
        (
            "103 before",
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            Seen::Whole(200, "hello"),
        ),
        ("204 with a body", b"HTTP/1.1 204 No Content\r\n\r\nhello", Seen::Whole(204, "")),
        (
            "two responses",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            Seen::Whole(200, "ok"),
        ),
    ] {
        let to = says(bytes).await;
        let (client, _) = client(ClientSettings::default(), CircuitSettings::default());
        // Twice: what was left over must not answer the second.
        for _ in 0..2 {
            let (got, body) = ask(&client, to).await;
            match (&got, &seen) {
                (Seen::Whole(got, _), Seen::Whole(status, text)) => {
                    assert_eq!((got, &*body), (status, *text), "{name}")
                }
                _ => assert_eq!(got, seen, "{name}"),
            }
        }
        settles(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_given_up_with_its_connection() {
    let to = backend(async |mut stream: DuplexStream, _| {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let (client, _) = client(ClientSettings::default(), CircuitSettings::default());
    let sent = client.send(&to, Priority::Default, get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(50), sent).await.is_err());
    settles(&client).await;

    // HTTP/2: the stream is reset, and the connection goes on.
    let (resets, mut reset) = tokio::sync::mpsc::channel(1);
    let to = backend(move |stream, _| {
        let resets = resets.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let resets = resets.clone();
                tokio::spawn(async move {
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    let _ = resets.send(reason.ok()).await;
                });
            }
        }
    })
    .await;
    let (client, _) = crate::support::client(http2(), CircuitSettings::default());
    let sent = client.send(&to, Priority::Default, get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(100), sent).await.is_err());
    let reason = tokio::time::timeout(Duration::from_secs(5), reset.recv()).await.unwrap().unwrap();
    assert_eq!(reason, Some(h2::Reason::CANCEL));
    assert_eq!(client.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_is_heard_although_the_request_still_goes_out() {
    let to = backend(async |mut stream: DuplexStream, _| {
        until(&mut stream, "\r\n\r\n").await;
        let _ =
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let _ = stream.shutdown().await;
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let (client, _) = client(ClientSettings::default(), CircuitSettings::default());
    let endless = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(&[0; 1024]))), ()))
    });
    let body = Body::new(http_body_util::StreamBody::new(endless));
    let response = send(&client, to, Request::post("/").header("host", "a").body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 413);
    drop(response);
    settles(&client).await;
}

#[tokio::test(start_paused = true)]
async fn what_http2_backends_may_do_is_told_apart() {
    type Respond = fn(h2::server::SendResponse<Bytes>);
    for (name, respond, seen) in [
        (
            "refused",
            (|mut respond| respond.send_reset(h2::Reason::REFUSED_STREAM)) as Respond,
            Seen::Failed(SendFailure::Refused),
        ),
        (
            "reset",
            |mut respond| respond.send_reset(h2::Reason::INTERNAL_ERROR),
            Seen::Failed(SendFailure::Reset { sent: true }),
        ),
        (
            "cancelled in the body",
            |mut respond| {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from("hello"), false).unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    stream.send_reset(h2::Reason::CANCEL);
                });
            },
            Seen::Broken(200),
        ),
        (
            "a length that is too large",
            |mut respond| {
                let head = Response::builder().header("content-length", "9").body(()).unwrap();
                let mut stream = respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from("hello"), true).unwrap();
            },
            Seen::Broken(200),
        ),
        (
            "a length that is too small",
            |mut respond| {
                let head = Response::builder().header("content-length", "2").body(()).unwrap();
                let mut stream = respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from("hello"), true).unwrap();
            },
            Seen::Broken(200),
        ),
    ] {
        let to = backend(move |stream, _| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, response))) = connection.accept().await {
                respond(response);
            }
        })
        .await;
        let (client, _) = client(http2(), CircuitSettings::default());
        for _ in 0..2 {
            assert_eq!(ask(&client, to).await.0, seen, "{name}");
        }
    }
    for (name, bytes, seen) in [
        ("HTTP/1.1", &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..], [MALFORMED, UNSENT]),
        ("nothing", b"", [CLOSED, UNSENT]),
        (
            "GOAWAY",
            b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0",
            [Seen::Failed(SendFailure::Refused), CLOSED],
        ),
    ] {
        let to = backend(move |mut stream, _| async move {
            let mut preface = [0; 24];
            let _ = stream.read_exact(&mut preface).await;
            let _ = stream.write_all(bytes).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        })
        .await;
        let (client, _) = client(http2(), CircuitSettings::default());
        let (got, _) = ask(&client, to).await;
        assert!(seen.contains(&got), "{name}: {got:?}");
        settles(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_drained_is_replaced_without_a_lost_request() {
    let to = backend(async |stream: DuplexStream, _| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        // One request, and GOAWAY while it is answered.
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            connection.graceful_shutdown();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = respond.send_response(Response::new(()), true);
            });
        }
    })
    .await;
    let (client, _) = client(http2(), CircuitSettings::default());
    for _ in 0..20 {
        assert_eq!(ask(&client, to).await.0, Seen::Whole(200, ""));
    }
}

/// A proxy: a server whose service asks a backend.
fn proxy(
    client: Client<SocketAddr>,
    to: SocketAddr,
) -> impl Fn(Request<Body>) -> Proxied + Clone + Send + Sync + 'static {
    move |request| {
        let client = client.clone();
        Box::pin(async move { client.send(&to, Priority::Default, request).await.unwrap() })
    }
}

type Proxied = std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    let to = says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let (client, _) = client(ClientSettings::default(), CircuitSettings::default());

    let (mut io, served, _) = serve(&manager(), proxy(client.clone(), to));
    io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = to_end(&mut io).await;
    assert!(answer.contains("hello") && !answer.contains("\r\n0\r\n"), "{answer}");
    assert!(served.await.unwrap().is_err());

    let (io, _, _) = serve(&manager(), proxy(client.clone(), to));
    let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let (response, _) = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut ended = None;
    while let Some(part) = body.data().await {
        if let Err(error) = part {
            ended = error.reason();
            break;
        }
    }
    assert_eq!(ended, Some(h2::Reason::INTERNAL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_request_with_it() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let (gone, mut left) = tokio::sync::mpsc::channel::<()>(1);
        let gone = std::sync::Arc::new(std::sync::Mutex::new(Some(gone)));
        let to = server(manager(), move |_| {
            let held = gone.lock().unwrap().take();
            async move {
                let _held = held;
                std::future::pending().await
            }
        })
        .await;
        let mut settings = ClientSettings::default();
        settings.protocol = protocol;
        let (client, _) = client(settings, CircuitSettings::default());
        let asks = proxy(client.clone(), to);
        let (mut io, served, _) = serve(&manager(), asks);
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(io);
        let _ = tokio::time::timeout(Duration::from_secs(5), served).await.unwrap();
        // The backend's work has been dropped.
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), left.recv()).await.unwrap(), None);
        if protocol == HttpProtocol::Http1 {
            settles(&client).await;
        }
    }
}
