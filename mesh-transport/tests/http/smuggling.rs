use http::Response;
use mesh_core::listener::Underscores;
use mesh_transport::http::Body;

use crate::support::{describe, exchange, manager, serve};

/// What follows each request, and must never be taken for one of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// Requests that two readers may see differently: name, bytes, status.
const REFUSED: &[(&str, &str, u16)] = &[
    (
        "length and coding",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "coding and length",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "coding and length in other case",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\nCONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
    ("two equal lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", 400),
    ("a list of lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello", 400),
    ("a signed length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello", 400),
    ("a negative length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\nhello", 400),
    ("a hexadecimal length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello", 400),
    ("an empty length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\nhello", 400),
    ("a huge length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nhello", 400),
    ("a length with space", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5 5\r\n\r\nhello", 400),
    ("identity", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\nhello", 400),
    ("a coding before chunked", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("a coding after chunked", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "chunked, then identity",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("a quoted coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    (
        "a coding after a vertical tab",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("xchunked", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("a coding in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("space before the colon", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("a tab before the colon", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length\t: 5\r\n\r\nhello", 400),
    ("space before the name", "GET / HTTP/1.1\r\n host: a\r\n\r\n", 400),
    ("a folded header", "GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n", 400),
    ("a folded coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    ("bare LF", "GET / HTTP/1.1\nhost: a\n\n", 400),
    ("bare LF in the head", "GET / HTTP/1.1\r\nhost: a\r\nx: y\ntransfer-encoding: chunked\r\n\r\n", 400),
    ("bare LF at the end", "GET / HTTP/1.1\r\nhost: a\r\n\n", 400),
    ("bare CR in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: q\r\n\r\n", 400),
    ("bare CR in a line", "GET / HTTP/1.1\rhost: a\r\n\r\n", 400),
    ("NUL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: y\0z\r\n\r\n", 400),
    ("NUL in a name", "GET / HTTP/1.1\r\nhost: a\r\nx\0y: z\r\n\r\n", 400),
    ("a control character in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n", 400),
    ("DEL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \x7f\r\n\r\n", 400),
    ("no name", "GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n", 400),
    ("no colon", "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", 400),
    ("a name with brackets", "GET / HTTP/1.1\r\nhost: a\r\n(x): y\r\n\r\n", 400),
    ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
    ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    ("two equal hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
    ("a list of hosts", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
    ("a user in the host", "GET / HTTP/1.1\r\nhost: b@a\r\n\r\n", 400),
    ("a path in the host", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
    ("a query in the host", "GET / HTTP/1.1\r\nhost: a?b\r\n\r\n", 400),
    ("a fragment in the host", "GET / HTTP/1.1\r\nhost: a#b\r\n\r\n", 400),
    ("a backslash in the host", "GET / HTTP/1.1\r\nhost: a\\b\r\n\r\n", 400),
    ("space in the host", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    ("a port that is none", "GET / HTTP/1.1\r\nhost: a:b\r\n\r\n", 400),
    ("a port that is too large", "GET / HTTP/1.1\r\nhost: a:65536\r\n\r\n", 400),
    ("an empty port", "GET / HTTP/1.1\r\nhost: a:\r\n\r\n", 400),
    ("target and host differ", "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("target and host differ by port", "GET http://a:81/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a user in the target", "GET http://u@a/ HTTP/1.1\r\nhost: u@a\r\n\r\n", 400),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("no path", "GET a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a star for GET", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("CONNECT without a port", "CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("CONNECT with a path", "CONNECT /x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("CONNECT with another host", "CONNECT b:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 400),
    ("space in the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("two spaces", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a tab in the request line", "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a control character in the target", "GET /\x01 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a method that is none", "G(T / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", 400),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nhost: a\r\n\r\n", 400),
    ("HTTP/0.9", "GET /\r\n\r\n", 400),
    ("a lower-case version", "GET / http/1.1\r\nhost: a\r\n\r\n", 400),
    ("connection names host", "GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n", 400),
    (
        "connection names the length",
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close, content-length\r\ncontent-length: 5\r\n\r\nhello",
        400,
    ),
    ("connection names the client", "GET / HTTP/1.1\r\nhost: a\r\nconnection: X-Forwarded-For\r\n\r\n", 400),
    ("connection names a pseudo-header", "GET / HTTP/1.1\r\nhost: a\r\nconnection: :path\r\n\r\n", 400),
    ("connection names too much", "GET / HTTP/1.1\r\nhost: a\r\nconnection: a,b,c,d,e,f,g,h,i,j,k\r\n\r\n", 400),
    (
        "another expectation",
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        417,
    ),
];

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

/// Bodies whose chunks are malformed: the service sees them break off, and nothing after them is a request.
const BROKEN: &[(&str, &str)] = &[
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("a size that is none", "zz\r\nhello\r\n0\r\n\r\n"),
    ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with space", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a size that is too large", "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("a size that wraps", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size ended by LF", "5\nhello\r\n0\r\n\r\n"),
    ("an extension ended by LF", "5;a\nhello\r\n0\r\n\r\n"),
    ("an extension with CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("data that is too long", "5\r\nhello!\r\n0\r\n\r\n"),
    ("data ended by LF", "5\r\nhello\n0\r\n\r\n"),
    ("a trailer ended by LF", "0\r\nx: y\n\r\n"),
    ("a folded trailer", "0\r\nx: y\r\n z\r\n\r\n"),
];

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
