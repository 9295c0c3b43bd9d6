use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::listener::{Codec, HttpManager};
use mesh_transport::http::{Body, ServeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{describe, exchange, manager, serve, to_end, until};

async fn ok(_: Request<Body>) -> Response<Body> {
    Response::new("ok".into())
}

async fn never(_: Request<Body>) -> Response<Body> {
    std::future::pending().await
}

fn with(edit: impl FnOnce(&mut HttpManager)) -> HttpManager {
    let mut manager = manager();
    edit(&mut manager);
    manager
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_many_requests_and_says_what_it_is() {
    let (mut io, served, _) = serve(&manager(), ok);
    for _ in 0..3 {
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = until(&mut io, "ok").await;
        assert!(answer.contains("\r\nserver: mesh\r\n") && answer.contains("\r\ndate: "), "{answer}");
    }
    drop(io);
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_is_asked_for_when_the_client_waits_and_nobody_else_is() {
    let (mut io, _, _) = serve(&manager(), describe);
    io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    assert_eq!(until(&mut io, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    io.write_all(b"hello").await.unwrap();
    let answer = until(&mut io, "body=hello").await;
    assert!(!answer.contains("expect"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn limits_of_time_of_http1_are_kept() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe";
    let second = Some(Duration::from_secs(1));
    // A connection on which nothing comes, and one that was used.
    for bytes in [&b""[..], GET] {
        let (mut io, served, _) = serve(&with(|manager| manager.timeouts.idle = second), ok);
        let answer = exchange(&mut io, bytes).await;
        assert_eq!(answer.is_empty(), bytes.is_empty());
        served.await.unwrap().unwrap();
    }
    for (bytes, edit, status) in [
        // A head that does not end.
        (
            &b"GET / HTTP/1.1\r\nho"[..],
            (|manager| manager.timeouts.request_headers = Some(Duration::from_secs(1))) as fn(&mut HttpManager),
            408,
        ),
        // A body that does not end, and a service that does not answer.
        (POST, |manager| manager.timeouts.request = Some(Duration::from_secs(1)), 408),
        (POST, |manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)), 408),
        (POST, |manager| manager.timeouts.stream = Some(Duration::from_secs(1)), 408),
        (GET, |manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)), 504),
        (GET, |manager| manager.timeouts.stream = Some(Duration::from_secs(1)), 504),
    ] {
        let (mut io, _, _) = serve(&with(edit), never);
        let started = tokio::time::Instant::now();
        let answer = exchange(&mut io, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    // The request was there in time; only its answer is late.
    let (mut io, _, _) = serve(&with(|manager| manager.timeouts.request = second), async |request: Request<Body>| {
        crate::support::read(request.into_body()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        Response::new("late".into())
    });
    io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await.unwrap();
    assert!(to_end(&mut io).await.ends_with("late"));
    // The old connection serves what is under way, and goes.
    let (mut io, served, _) = serve(&with(|manager| manager.timeouts.connection = second), async |_| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Response::new("late".into())
    });
    let answer = exchange(&mut io, GET).await;
    assert!(answer.contains("connection: close") && answer.ends_with("late"), "{answer}");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_or_makes_is_given_up() {
    for reads in [true, false] {
        let manager = with(|manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)));
        let (mut io, served, _) = serve(&manager, move |_| async move {
            if reads {
                let first =
                    futures_util::stream::once(async { Ok::<_, std::io::Error>(Frame::data(Bytes::from("begun"))) });
                let stalls = futures_util::StreamExt::chain(first, futures_util::stream::pending());
                Response::new(Body::new(StreamBody::new(stalls)))
            } else {
                Response::new(Bytes::from(vec![0; 1 << 20]).into())
            }
        });
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
        assert!(matches!(ended, Err(ServeError::Expired(_))), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_ends_idle_connections_at_once_and_others_after_their_answer() {
    let (mut io, served, drain) = serve(&manager(), ok);
    io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut io, "ok").await;
    drain.cancel();
    assert_eq!(to_end(&mut io).await, "");
    served.await.unwrap().unwrap();

    let (mut io, served, drain) = serve(&manager(), async |_| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new("done".into())
    });
    io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    drain.cancel();
    let answer = to_end(&mut io).await;
    assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_so_many_requests() {
    let (mut io, served, _) = serve(&with(|manager| manager.limits.requests_per_connection = Some(2)), ok);
    let answer = exchange(&mut io, &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_arrives_although_the_client_still_sends() {
    // Without a delayed close, the reset would overtake the answer; over a duplex it shows as a broken pipe.
    let (mut io, _, _) = serve(&manager(), ok);
    io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
    until(&mut io, "\r\n\r\n").await;
    io.write_all(&[b'x'; 500_000]).await.unwrap();
}

/// A client of HTTP/2 on a connection.
async fn http2(io: tokio::io::DuplexStream) -> h2::client::SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(()).unwrap()
}

async fn body_of(mut stream: h2::RecvStream) -> (String, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes.unwrap();
        stream.flow_control().release_capacity(bytes.len()).unwrap();
        all.extend_from_slice(&bytes);
    }
    (String::from_utf8(all).unwrap(), stream.trailers().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn http2_has_the_same_form_and_trailers_both_ways() {
    let (io, _, _) = serve(&manager(), async |request: Request<Body>| {
        let described = crate::support::text(describe(request).await).await;
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from(described))), Ok(Frame::trailers(trailers))];
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    let mut sender = http2(io).await;
    let (response, mut stream) = sender.send_request(request(Method::POST, "http://a.example/x?y"), false).unwrap();
    stream.send_data(Bytes::from("hello"), false).unwrap();
    stream.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["server"], "mesh");
    let (text, trailers) = body_of(response.into_body()).await;
    assert!(text.starts_with("POST /x?y\nhost: a.example\n"), "{text}");
    assert!(text.contains("body=hello\ntrailer x-sum: 1"), "{text}");
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test(start_paused = true)]
async fn what_http2_must_not_say_is_refused() {
    for (name, edit, status) in [
        (
            "another host",
            (|request: &mut Request<()>| drop(request.headers_mut().insert("host", HeaderValue::from_static("b"))))
                as fn(&mut Request<()>),
            400,
        ),
        ("a padded value", |request| drop(request.headers_mut().insert("x", HeaderValue::from_static(" y"))), 400),
        (
            "two lengths",
            |request| {
                request.headers_mut().append("content-length", HeaderValue::from_static("0"));
                request.headers_mut().append("content-length", HeaderValue::from_static("0"));
            },
            400,
        ),
        (
            "too many headers",
            |request| {
                for _ in 0..101 {
                    request.headers_mut().append("x", HeaderValue::from_static("y"));
                }
            },
            431,
        ),
        ("a user", |request| *request.uri_mut() = "http://u@a.example/".parse().unwrap(), 400),
        (
            "the same host",
            |request| drop(request.headers_mut().insert("host", HeaderValue::from_static("a.example"))),
            200,
        ),
    ] {
        let (io, _, _) = serve(&manager(), ok);
        let mut sender = http2(io).await;
        let mut request = request(Method::GET, "http://a.example/");
        edit(&mut request);
        let response = sender.send_request(request, true).unwrap().0.await;
        let found = response.map(|response| response.status().as_u16()).map_err(|error| error.reason());
        assert_eq!(found, Ok(status), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_time_of_http2_are_kept() {
    for (ends, edit, status) in [
        (false, (|manager| manager.timeouts.request = Some(Duration::from_secs(1))) as fn(&mut HttpManager), 408),
        (false, |manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)), 408),
        (true, |manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)), 504),
        (true, |manager| manager.timeouts.stream = Some(Duration::from_secs(1)), 504),
    ] {
        let (io, _, _) = serve(&with(edit), never);
        let mut sender = http2(io).await;
        let (response, _stream) = sender.send_request(request(Method::POST, "http://a/"), ends).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(3), response).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
        assert!(!response.headers().contains_key("connection"));
    }
    // Idle: GOAWAY, and the end.
    let manager = with(|manager| manager.timeouts.idle = Some(Duration::from_secs(1)));
    let (io, served, _) = serve(&manager, ok);
    let mut sender = http2(io).await;
    sender.send_request(request(Method::GET, "http://a/"), true).unwrap().0.await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_reset_and_others_go_on() {
    let manager = with(|manager| manager.timeouts.stream_idle = Some(Duration::from_secs(1)));
    let (io, _, _) = serve(&manager, async |request: Request<Body>| match request.uri().path() {
        "/large" => Response::new(Bytes::from(vec![0; 1 << 20]).into()),
        _ => Response::new("ok".into()),
    });
    let mut sender = http2(io).await;
    let large = sender.send_request(request(Method::GET, "http://a/large"), true).unwrap().0.await.unwrap();
    let mut large = large.into_body();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut error = None;
    while let Some(part) = large.data().await {
        if let Err(broken) = part {
            error = broken.reason();
            break;
        }
    }
    assert_eq!(error, Some(h2::Reason::CANCEL));
    let response = sender.send_request(request(Method::GET, "http://a/"), true).unwrap().0.await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let (io, served, _) = serve(&manager(), never);
    let sender = http2(io).await;
    let mut ended = false;
    for _ in 0..3000 {
        let Ok(mut ready) = sender.clone().ready().await else {
            ended = true;
            break;
        };
        let Ok((response, mut stream)) = ready.send_request(request(Method::GET, "http://a/"), false) else {
            ended = true;
            break;
        };
        tokio::task::yield_now().await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        tokio::task::yield_now().await;
    }
    let served = tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    assert!(ended || served.is_err());
    assert!(matches!(served, Err(ServeError::RapidReset | ServeError::Http2(_))), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn http2_drains_by_goaway() {
    let (io, served, drain) = serve(&manager(), async |_| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new("done".into())
    });
    let mut sender = http2(io).await;
    let first = sender.send_request(request(Method::GET, "http://a/"), true).unwrap().0;
    tokio::time::sleep(Duration::from_millis(10)).await;
    drain.cancel();
    assert_eq!(body_of(first.await.unwrap().into_body()).await.0, "done");
    served.await.unwrap().unwrap();
    assert!(sender.ready().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_service_of_http2_resets_by_its_error_and_continues_are_answered() {
    let (io, _, _) = serve(&manager(), describe);
    let mut sender = http2(io).await;
    let mut asks = request(Method::POST, "http://a/");
    asks.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let (mut response, mut stream) = sender.send_request(asks, false).unwrap();
    let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), StatusCode::CONTINUE);
    stream.send_data(Bytes::from("hello"), true).unwrap();
    let (text, _) = body_of(response.await.unwrap().into_body()).await;
    assert!(text.contains("body=hello") && !text.contains("expect"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_begin_as_http2_is_closed_where_http2_was_agreed_on_and_else_answered() {
    for (codec, bytes, status) in [
        (Codec::Http2, "INVALID CONNECTION PREFACE\r\n\r\n", None),
        (Codec::Http2, "PRI * HTTP/2.0\r\n", None),
        (Codec::Auto, "INVALID CONNECTION PREFACE\r\n\r\n", Some("400")),
        // Ended in the middle of the preface.
        (Codec::Auto, "PRI * HT", None),
    ] {
        let (mut io, served, _) = serve(&with(|manager| manager.codec = codec), ok);
        io.write_all(bytes.as_bytes()).await.unwrap();
        if bytes.starts_with("PRI") {
            io.shutdown().await.unwrap();
        }
        let answer = to_end(&mut io).await;
        assert_eq!(answer.split(' ').nth(1), status, "{bytes:?}: {answer}");
        drop(io);
        let served = tokio::time::timeout(Duration::from_secs(5), served).await.expect("it is over").unwrap();
        assert!(served.is_err(), "{bytes:?}");
    }
}

#[tokio::test]
async fn endless_headers_of_http2_are_refused() {
    let (mut io, served, _) = serve(&manager(), ok);
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0, 1, &[0x82, 0x86, 0x84]));
    io.write_all(&bytes).await.unwrap();
    let flood = async {
        loop {
            // CONTINUATION without END_HEADERS, with a literal header each.
            let header = [&[0, 1, b'x', 127, 0x81, 7][..], &[b'y'; 1024][..]].concat();
            if io.write_all(&frame(9, 0, 1, &header)).await.is_err() {
                break;
            }
            let mut answer = [0; 1024];
            if let Ok(Ok(0)) = tokio::time::timeout(Duration::from_millis(1), io.read(&mut answer)).await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), flood).await.expect("an end");
    assert!(matches!(served.await.unwrap(), Err(ServeError::Http2(_))));
}
