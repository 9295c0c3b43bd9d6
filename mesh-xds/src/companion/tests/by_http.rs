use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::companion::HeaderEdit;
use mesh_core::companion::ext_authz::{Allowance, Authorizer, CheckPath, Decision, HttpService, Refusal};
use mesh_core::string_match::Pattern;
use tokio::net::TcpStream;

use super::*;
use crate::companion::HttpAuthorizer;
use crate::limits::MAX_COMPANION_ANSWER_BYTES;

fn service() -> HttpService {
    HttpService { path: CheckPath::Prefix("/auth".into()), ..HttpService::new("companion", Some(LIMIT)) }
}

type Client1 = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, std::io::Error>;

fn scripted(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Client1 {
    BoxCloneSyncService::new(service_fn(move |_| std::future::ready(Ok(answer()))))
}

#[tokio::test(start_paused = true)]
async fn bad_answers_are_typed_errors_in_time() {
    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let half = vec![0; MAX_COMPANION_ANSWER_BYTES / 2 + 1];
    let late = Err(CompanionError::Timeout(LIMIT));
    let large = Err(CompanionError::TooLarge(MAX_COMPANION_ANSWER_BYTES));
    let lost = || CompanionError::Unavailable("connection reset".into());
    let broken = Err(lost());
    let busy = |status| move || Response::builder().status(status).body(Body::empty()).unwrap();
    let too_much = move || Response::new(frames(vec![data(&half), data(&half)], true));
    for (what, client, expected) in [
        ("500", scripted(busy(500)), Err(CompanionError::Status(500))),
        ("599", scripted(busy(599)), Err(CompanionError::Status(599))),
        ("200", scripted(busy(200)), Ok(Decision::Allow(Allowance::default()))),
        ("too much", scripted(too_much), large),
        ("silence after the head", scripted(|| Response::new(frames(vec![], true))), late.clone()),
        ("silence in the body", scripted(|| Response::new(frames(vec![data(b"a")], true))), late.clone()),
        ("a reset in the body", scripted(move || Response::new(frames(vec![Err(reset())], false))), broken.clone()),
        ("a reset", BoxCloneSyncService::new(service_fn(move |_| std::future::ready(Err(reset())))), broken),
        ("nothing", BoxCloneSyncService::new(service_fn(|_| std::future::pending())), late),
    ] {
        let begun = tokio::time::Instant::now();
        let answer = HttpAuthorizer::new(client, service()).check(check()).await;
        // How the body of these scripts wraps an error is its own matter.
        let answer = answer.map_err(|error| match error {
            CompanionError::Unavailable(reason) if reason.contains("connection reset") => lost(),
            error => error,
        });
        assert_eq!(answer, expected, "{what}");
        assert!(begun.elapsed() <= LIMIT, "{what}");
    }
    let tunnel = Check { method: http::Method::CONNECT, ..check() };
    let answer = HttpAuthorizer::new(scripted(busy(200)), service()).check(tunnel).await;
    assert!(matches!(answer, Err(CompanionError::Invalid { field: "method", .. })));
}

/// What is decided about a request by a real client of HTTP/1, whose peer answers with these bytes.
async fn decided(answer: &'static [u8], stays: bool) -> Result<Decision, CompanionError> {
    let (address, serve) = raw_peer(answer, stays).await;
    let connect =
        service_fn(move |_: http::Uri| Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) }));
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connect);
    let service = HttpService { upstream: vec![Pattern::exact("x-user")], ..service() };
    tokio::select! {
        () = serve => panic!("the peer ended"),
        decision = HttpAuthorizer::new(client, service).check(check()) => decision,
    }
}

#[tokio::test]
async fn over_a_socket_the_status_decides_and_bad_peers_are_errors() {
    let allowed = decided(b"HTTP/1.1 200 OK\r\nx-user: alice\r\ncontent-length: 0\r\n\r\n", true).await;
    let expected = Allowance { request: vec![HeaderEdit::set("x-user", "alice")], ..Allowance::default() };
    assert_eq!(allowed, Ok(Decision::Allow(expected)));

    let denied =
        decided(b"HTTP/1.1 401 No\r\nx-why: token\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", true)
            .await;
    let headers = vec![HeaderEdit::append("x-why", "token")];
    let expected = Refusal { status: Some(401), headers, body: "no".into(), ..Refusal::default() };
    assert_eq!(denied, Ok(Decision::Deny(expected)));

    for (answer, stays) in [
        (&b""[..], false),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", false),
        (b"HTTP/1.1 999999 OK\r\n\r\n", false),
        (b"HTTP/1.1 403 No\r\ncontent-length: 10\r\n\r\nshort", false),
        (b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", false),
        (b"\x16\x03\x01\x00\x05", false),
    ] {
        let decision = decided(answer, stays).await;
        assert!(matches!(decision, Err(CompanionError::Unavailable(_))), "{decision:?}");
    }
    assert_eq!(decided(b"", true).await, Err(CompanionError::Timeout(LIMIT)));
}

#[tokio::test]
async fn over_a_socket_the_question_is_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect =
        service_fn(move |_: http::Uri| Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) }));
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connect);
    let authorizer = HttpAuthorizer::new(client, HttpService { timeout: None, ..service() });
    let seen = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let sent = Check { headers: vec![("authorization".into(), "token".into())], ..check() };
    let (decision, seen) = tokio::join!(authorizer.check(sent), seen);
    assert!(matches!(decision, Ok(Decision::Deny(_))));
    let mut lines: Vec<_> = seen.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["POST /auth/cart?item=7 HTTP/1.1", "authorization: token", "content-length: 0", "host: shop.example"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_given_up_is_dropped() {
    struct Told(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let dropped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&dropped);
    let client: Client1 = BoxCloneSyncService::new(service_fn(move |_| {
        let told = Told(std::sync::Arc::clone(&told));
        async move {
            let _told = told;
            std::future::pending().await
        }
    }));
    let question = HttpAuthorizer::new(client, service()).check(check());
    assert!(tokio::time::timeout(LIMIT / 2, question).await.is_err());
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
}
