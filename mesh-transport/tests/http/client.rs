use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use mesh_core::balance::{CircuitSettings, HttpProtocol};
use mesh_core::resilience::SendFailure;
use mesh_transport::http::{Body, ClientSettings, Counting, Overflow, SendError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{address, backend, client, describe, get, manager, read, send, server, text, until};

fn settings(edit: impl FnOnce(&mut ClientSettings)) -> ClientSettings {
    let mut settings = ClientSettings::default();
    edit(&mut settings);
    settings
}

fn circuit(edit: impl FnOnce(&mut CircuitSettings)) -> CircuitSettings {
    let mut settings = CircuitSettings::default();
    edit(&mut settings);
    settings
}

/// A backend that counts its connections and answers each request with the count.
async fn counting() -> std::net::SocketAddr {
    backend(async |mut stream, count| {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if head.starts_with(b"GET /slow") {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let body = count.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http1_is_used_again() {
    let to = counting().await;
    let (client, _) = client(ClientSettings::default(), CircuitSettings::default());
    for _ in 0..5 {
        assert_eq!(text(send(&client, to, get("/")).await.unwrap()).await, "0");
    }
    assert_eq!(client.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_so_many_requests() {
    let to = counting().await;
    let (client, _) =
        client(settings(|settings| settings.max_requests_per_connection = 2.try_into().ok()), circuit(|_| {}));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(text(send(&client, to, get("/")).await.unwrap()).await);
    }
    assert_eq!(seen, ["0", "0", "1", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_let_go() {
    let to = counting().await;
    let (client, _) =
        client(settings(|settings| settings.idle_timeout = Some(Duration::from_millis(50))), circuit(|_| {}));
    assert_eq!(text(send(&client, to, get("/")).await.unwrap()).await, "0");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.connections(), 0);
    assert_eq!(text(send(&client, to, get("/")).await.unwrap()).await, "1");
}

#[tokio::test(start_paused = true)]
async fn limits_hold() {
    let to = counting().await;
    // Two connections: the third request waits, the fourth too, the fifth is too much.
    let limits = circuit(|limits| {
        limits.default.max_connections = 2;
        limits.default.max_pending_requests = 4;
    });
    let (client, _) = client(ClientSettings::default(), limits);
    let all = (0..6).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            match send(&client, to, get("/slow")).await {
                Ok(response) => Ok(text(response).await),
                Err(failed) => {
                    assert!(failed.request.is_some());
                    Err(failed.error)
                }
            }
        })
    });
    let mut answers = Vec::new();
    for one in all.collect::<Vec<_>>() {
        answers.push(one.await.unwrap());
    }
    let overflows =
        answers.iter().filter(|answer| matches!(answer, Err(SendError::Overflow(Overflow::Pending)))).count();
    assert_eq!(overflows, 2, "{answers:?}");
    assert!(answers.iter().flatten().all(|count| count == "0" || count == "1"), "{answers:?}");

    // Requests in flight.
    let limits = circuit(|limits| limits.default.max_requests = 1);
    let (client, _) = crate::support::client(settings(|settings| settings.counting = Counting::Here), limits);
    let first = send(&client, to, get("/")).await.unwrap();
    let failed = send(&client, to, get("/")).await.unwrap_err();
    assert!(matches!(failed.error, SendError::Overflow(Overflow::Requests)), "{failed:?}");
    assert_eq!(failed.error.failure(), SendFailure::Overflow);
    drop(read(first.into_body()).await);
    assert!(send(&client, to, get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_there_fails_all_who_wait() {
    let to = address();
    let (client, _) = client(ClientSettings::default(), circuit(|_| {}));
    let failed = send(&client, to, get("/")).await.unwrap_err();
    assert!(matches!(failed.error, SendError::Connect(_)), "{failed:?}");
    assert!(failed.request.is_some());
    assert_eq!(failed.error.failure(), SendFailure::Connect);
    assert_eq!(client.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_take_the_connection_fails_in_time() {
    let tasks = mesh_identity::task::Tasks::default();
    let connector = tower::service_fn(|_: u32| std::future::pending::<std::io::Result<tokio::io::DuplexStream>>());
    let client = mesh_transport::http::Client::new(
        connector,
        ClientSettings::default(),
        mesh_core::balance::Circuit::new(circuit(|_| {})),
        tasks,
    );
    let failed = client.send(&1, mesh_core::route::Priority::Default, get("/")).await.unwrap_err();
    assert!(matches!(failed.error, SendError::ConnectTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&closed);
    // Each connection serves one request, and is closed without a word.
    let to = backend(move |mut stream, count| {
        let counted = Arc::clone(&counted);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{count}").as_bytes()).await;
            drop(stream);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let (client, _) = client(ClientSettings::default(), circuit(|_| {}));
    for count in 0..5 {
        assert_eq!(text(send(&client, to, get("/")).await.unwrap()).await, count.to_string());
        while closed.load(Ordering::SeqCst) <= count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_http2_share_a_connection_until_it_is_full() {
    let to = server(manager(), async |request: Request<Body>| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        describe(request).await
    })
    .await;
    for (streams, connections) in [(100, 1), (2, 3)] {
        let settings = settings(|settings| {
            settings.protocol = HttpProtocol::Http2;
            settings.concurrent_streams = streams;
        });
        let (client, _) = client(settings, circuit(|_| {}));
        let all: Vec<_> = (0..6)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { text(send(&client, to, get("/x")).await.unwrap()).await })
            })
            .collect();
        for one in all {
            assert!(one.await.unwrap().starts_with("GET /x\nhost: a.example\n"));
        }
        assert_eq!(client.connections(), connections);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_stream_both_ways_with_trailers() {
    let to = server(manager(), async |request: Request<Body>| Response::new(request.into_body())).await;
    let settings = settings(|settings| settings.protocol = HttpProtocol::Http2);
    let (client, _) = client(settings, circuit(|_| {}));
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let stream = futures_util::stream::unfold(receiver, async |mut receiver: tokio::sync::mpsc::Receiver<_>| {
        Some((Ok::<_, std::io::Error>(receiver.recv().await?), receiver))
    });
    let body = Body::new(http_body_util::StreamBody::new(stream));
    let request = Request::post("/").header("host", "a").body(body).unwrap();
    let mut response = send(&client, to, request).await.unwrap();
    for text in ["one", "two"] {
        sender.send(http_body::Frame::data(Bytes::from(text))).await.unwrap();
        let frame = http_body_util::BodyExt::frame(response.body_mut()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    let trailers = http::HeaderMap::from_iter([("x".parse().unwrap(), http::HeaderValue::from_static("y"))]);
    sender.send(http_body::Frame::trailers(trailers)).await.unwrap();
    drop(sender);
    assert_eq!(read(response.into_body()).await.unwrap().1["x"], "y");
}

#[tokio::test(start_paused = true)]
async fn what_the_client_spoke_decides_where_it_is_asked() {
    let to = server(manager(), async |request: Request<Body>| Response::new(format!("{:?}", request.version()).into()))
        .await;
    let (client, _) = client(settings(|settings| settings.protocol = HttpProtocol::Downstream), circuit(|_| {}));
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut request = get("/");
        *request.version_mut() = version;
        assert_eq!(text(send(&client, to, request).await.unwrap()).await, format!("{version:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_body_passes() {
    for protocol in [HttpProtocol::Http1, HttpProtocol::Http2] {
        let to = server(manager(), async |request: Request<Body>| Response::new(request.into_body())).await;
        let (client, _) = client(settings(|settings| settings.protocol = protocol), circuit(|_| {}));
        let bytes = Bytes::from((0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        let request = Request::post("/").header("host", "a").body(Body::from(bytes.clone())).unwrap();
        let response = send(&client, to, request).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap().0, bytes);
    }
}
