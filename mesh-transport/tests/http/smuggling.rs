use http::Response;
use mesh_core::listener::Underscores;
use mesh_transport::http::Body;

use crate::corpus::{BROKEN, REFUSED, SMUGGLED};
use crate::support::{describe, exchange, manager, serve};

fn is_close(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

#[tokio::test(start_paused = true)]
async fn what_two_readers_may_see_differently_is_refused_and_the_connection_closed() {
    let mut wrong = Vec::new();
    for (name, bytes, status) in REFUSED {
        // As a whole, and byte by byte: what is split must not be seen differently.
        for step in [usize::MAX, 1] {
            let (mut io, served, _) = serve(&manager(), describe);
            let all = format!("{bytes}{SMUGGLED}");
            let answer = if step == 1 {
                let (mut reader, mut writer) = tokio::io::split(io);
                let writing = async {
                    for byte in all.as_bytes() {
                        // The connection may be closed before the last one.
                        if tokio::io::AsyncWriteExt::write_all(&mut writer, &[*byte]).await.is_err() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                };
                let mut answer = Vec::new();
                let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
                let _ = tokio::join!(writing, reading);
                String::from_utf8_lossy(&answer).into_owned()
            } else {
                exchange(&mut io, all.as_bytes()).await
            };
            let _ = served.await;
            if !answer.starts_with(&format!("HTTP/1.1 {status} ")) || !is_close(&answer) {
                wrong.push(format!("{name} (step {step}): {answer:?}"));
            }
            if answer.contains("/smuggled") || answer.matches("HTTP/1.1 ").count() != 1 {
                wrong.push(format!("{name} (step {step}): answered twice: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_malformed_chunk_is_no_request() {
    let mut wrong = Vec::new();
    for (name, body) in BROKEN {
        let (mut io, served, _) = serve(&manager(), describe);
        let head = "POST /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = exchange(&mut io, format!("{head}{body}{SMUGGLED}").as_bytes()).await;
        let _ = served.await;
        let is_refused = answer.is_empty() || answer.contains("broken: ") || answer.starts_with("HTTP/1.1 400 ");
        if !is_refused || answer.contains("/smuggled") {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_extension_of_a_chunk_has_a_bound() {
    let (mut io, served, _) = serve(&manager(), describe);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;";
    let answer = exchange(&mut io, format!("{head}{}\r\nhello\r\n0\r\n\r\n", "a".repeat(5000)).as_bytes()).await;
    let _ = served.await;
    assert!(answer.is_empty() || answer.contains("broken: "), "{answer}");
}

/// Requests that are in order, however unusual: name, bytes, a part of the answer.
const SERVED: &[(&str, &str, &str)] = &[
    ("a length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "body=hello"),
    (
        "chunks",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        "body=hello!",
    ),
    (
        "a coding in other case",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "body=hello",
    ),
    (
        "trailers",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n0\r\nx: y\r\n\r\n",
        "trailer x: y",
    ),
    ("empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET /"),
    ("the target as a whole", "GET http://A/x?y HTTP/1.1\r\nhost: a\r\n\r\n", "GET /x?y\nhost: a\n"),
    ("a star for OPTIONS", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS *"),
    ("HTTP/1.0 without a host", "GET /x HTTP/1.0\r\n\r\n", "GET /x"),
    ("an address of IPv6", "GET / HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", "host: [::1]:8080"),
    ("a method that nobody knows", "BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n", "BREW /pot"),
    (
        "a body that looks like a request",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 43\r\n\r\nGET / HTTP/1.1\ncontent-length: 5\ntransfer-en",
        "body=GET / HTTP/1.1\ncontent-length: 5\n",
    ),
    ("obs-text in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \u{e9}\r\n\r\n", "x: \u{e9}"),
];

#[tokio::test(start_paused = true)]
async fn what_is_in_order_is_served_and_the_connection_kept() {
    for (name, bytes, part) in SERVED {
        let (mut io, served, _) = serve(&manager(), describe);
        let last = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let is_old = bytes.contains("HTTP/1.0");
        let answer = exchange(&mut io, format!("{bytes}{}", if is_old { "" } else { last }).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 "), "{name}: {answer}");
        assert!(answer.contains(part), "{name}: {answer}");
        assert!(is_old || answer.contains("GET /last"), "{name}: {answer}");
        served.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_made_does_not_open_a_way() {
    let (mut io, served, _) = serve(&manager(), describe);
    tokio::io::AsyncWriteExt::write_all(
        &mut io,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    )
    .await
    .unwrap();
    assert!(crate::support::until(&mut io, "body=").await.starts_with("HTTP/1.1 200 "));
    let (_, bytes, status) = REFUSED[0];
    let answer = exchange(&mut io, format!("{bytes}{SMUGGLED}").as_bytes()).await;
    assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(!answer.contains("/smuggled"));
    let _ = served.await;
}

#[tokio::test(start_paused = true)]
async fn underscores_are_refused_dropped_or_passed() {
    let bytes = b"GET / HTTP/1.1\r\nhost: a\r\nx_y: z\r\nconnection: close\r\n\r\n";
    for (rule, status, passed) in [
        (Underscores::Allow, 200, true),
        (Underscores::DropHeader, 200, false),
        (Underscores::RejectRequest, 400, false),
    ] {
        let mut manager = manager();
        manager.underscores = rule;
        let (mut io, _, _) = serve(&manager, describe);
        let answer = exchange(&mut io, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("x_y: z"), passed, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_bounds() {
    let mut manager = manager();
    manager.limits.request_headers_kib = 16;
    manager.limits.headers = 20;
    for (extra, status) in [
        (format!("x: {}\r\n", "y".repeat(15 * 1024)), 200),
        (format!("x: {}\r\n", "y".repeat(17 * 1024)), 431),
        ("x: y\r\n".repeat(18), 200),
        ("x: y\r\n".repeat(40), 431),
    ] {
        let (mut io, _, _) = serve(&manager, async |_| Response::new(Body::empty()));
        let answer =
            exchange(&mut io, format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{extra}\r\n").as_bytes())
                .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{} bytes: {answer}", extra.len());
    }
}
