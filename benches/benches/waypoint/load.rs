//! Those who ask: as many at a time as there are clients, or so many per second whatever the answers take.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::Version;
use crate::backend::BODY_BYTES;

/// Requests under way on a connection of HTTP/2 at a time.
const STREAMS: usize = 8;

/// The headers of every request; the last is the one that routes look at.
const HEADERS: [(&str, &str); 5] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("x-tenant", "gold"),
];

/// Who asks one thing after another.
pub(crate) enum Client {
    Http1 { stream: TcpStream, request: Vec<u8>, read: Vec<u8> },
    Http2 { sender: SendRequest<Bytes>, request: Request<()> },
}

impl Client {
    /// So many, with connections of their own on HTTP/1.1, and with some on each connection of HTTP/2.
    pub(crate) async fn many(version: Version, to: SocketAddr, count: usize) -> Vec<Self> {
        let mut clients = Vec::new();
        while clients.len() < count {
            match version {
                Version::Http1 => clients.push(Self::http1(to).await),
                Version::Http2 => {
                    let first = Self::http2(to).await;
                    let more = (clients.len() + 1..count).take(STREAMS - 1).map(|_| first.another());
                    let more: Vec<Self> = more.collect();
                    clients.push(first);
                    clients.extend(more);
                }
            }
        }
        clients
    }

    /// With a connection of its own.
    pub(crate) async fn one(version: Version, to: SocketAddr) -> Self {
        match version {
            Version::Http1 => Self::http1(to).await,
            Version::Http2 => Self::http2(to).await,
        }
    }

    async fn http1(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let lines: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET /api/v1/items/42?page=3 HTTP/1.1\r\nhost: shop.example\r\n{lines}\r\n").into_bytes();
        Self::Http1 { stream, request, read: vec![0; 8192] }
    }

    async fn http2(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            // The proxy may end first.
            let _ = connection.await;
        });
        let mut request = Request::get("http://shop.example/api/v1/items/42?page=3");
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        Self::Http2 { sender, request: request.body(()).unwrap() }
    }

    fn another(&self) -> Self {
        match self {
            Self::Http2 { sender, request } => Self::Http2 { sender: sender.clone(), request: request.clone() },
            Self::Http1 { .. } => panic!("a connection of HTTP/1.1 is for one client"),
        }
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(&mut self) {
        match self {
            Self::Http1 { stream, request, read } => {
                stream.write_all(request).await.unwrap();
                let (mut length, mut whole) = (0, None);
                while whole.is_none_or(|whole| length < whole) {
                    let count = stream.read(&mut read[length..]).await.unwrap();
                    assert!(count > 0, "the proxy closes a connection");
                    length += count;
                    if whole.is_none() {
                        let end = read[..length].windows(4).position(|bytes| bytes == b"\r\n\r\n");
                        whole = end.map(|end| end + 4 + BODY_BYTES);
                    }
                }
                assert!(read.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&read[..length]));
            }
            Self::Http2 { sender, request } => {
                let mut ready = sender.clone().ready().await.unwrap();
                let (response, _) = ready.send_request(request.clone(), true).unwrap();
                let response = response.await.unwrap();
                assert_eq!(response.status(), 200);
                let (mut body, mut length) = (response.into_body(), 0);
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    length += data.len();
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                assert_eq!(length, BODY_BYTES);
            }
        }
    }
}

/// All ask one thing after another; how many were answered.
pub(crate) async fn saturate(clients: &mut Vec<Client>, span: Duration) -> u64 {
    let begun = Instant::now();
    let asking: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            tokio::spawn(async move {
                let mut answered = 0;
                while begun.elapsed() < span {
                    client.ask().await;
                    answered += 1;
                }
                (client, answered)
            })
        })
        .collect();
    let mut answered = 0;
    for one in asking {
        let (client, count) = one.await.unwrap();
        clients.push(client);
        answered += count;
    }
    answered
}

/// Requests that are due.
struct Due {
    times: Mutex<VecDeque<Instant>>,
    count: Semaphore,
}

/// So many requests per second, evenly, however long the answers take: a request that finds all clients busy waits, and its
/// time counts from when it was due. How long each took, the quickest first.
pub(crate) async fn at_rate(clients: &mut Vec<Client>, per_second: f64, span: Duration) -> Vec<Duration> {
    let due = Arc::new(Due { times: Mutex::default(), count: Semaphore::new(0) });
    let asking: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            let due = Arc::clone(&due);
            tokio::spawn(async move {
                let mut took = Vec::new();
                // Closed when all have been asked for.
                while let Ok(permit) = due.count.acquire().await {
                    permit.forget();
                    let since = due.times.lock().unwrap().pop_front().unwrap();
                    client.ask().await;
                    took.push(since.elapsed());
                }
                (client, took)
            })
        })
        .collect();
    let pace = Arc::clone(&due);
    // A thread, because the timers of the runtime count milliseconds.
    let paced = tokio::task::spawn_blocking(move || pace.keep(Duration::from_secs_f64(1.0 / per_second), span));
    paced.await.unwrap();
    while !due.times.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    due.count.close();
    let mut all = Vec::new();
    for one in asking {
        let (client, took) = one.await.unwrap();
        clients.push(client);
        all.extend(took);
    }
    all.sort();
    all
}

impl Due {
    /// A request each time that the interval has passed. Whoever is woken late makes up for it; what the kernel wakes late is
    /// not the proxy's, and so a request is due when it can be made.
    fn keep(&self, interval: Duration, span: Duration) {
        let begun = Instant::now();
        let mut next = begun + interval;
        while begun.elapsed() < span {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            while next <= now {
                self.times.lock().unwrap().push_back(now);
                self.count.add_permits(1);
                next += interval;
            }
        }
    }
}
