//! Streams and the pool: half-close, resets, back-pressure, many streams, connections that go away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, dial, id};
use mesh_core::resolve::Destination;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_transport::hbone::pool::{Dial, Dialed, Key, Pool};
use mesh_transport::hbone::{ConnectHeaders, Error, handshake};
use mesh_transport::relay::{Counts, relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test]
async fn each_direction_ends_by_itself_in_either_order() {
    for client_first in [true, false] {
        let ((mut client, down), (up, mut server)) = (tcp_pair().await, tcp_pair().await);
        let counts = Arc::new(Counts::default());
        let relayed = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move { relay(down, up, &counts).await }
        });
        let (first, second) = if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        first.write_all(b"one").await.unwrap();
        first.shutdown().await.unwrap();
        let mut text = String::new();
        second.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one", "the end arrives after the bytes");
        second.write_all(b"three").await.unwrap();
        second.shutdown().await.unwrap();
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "three", "the other direction stayed open");
        relayed.await.unwrap().unwrap();
        let (sent, received) = if client_first { (3, 5) } else { (5, 3) };
        assert_eq!((counts.sent(), counts.received()), (sent, received));
    }
}

#[tokio::test]
async fn half_close_through_tunnel_both_ways() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let socks = mesh.socks("client");
    let listener = TcpListener::bind((mesh.ip(2), 0)).await.unwrap();
    let application = listener.local_addr().unwrap();

    // The client ends first; the server answers afterwards.
    let (client, server) = tokio::join!(dial(socks, application), listener.accept());
    let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "question");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "answer");

    // The server ends first; the client goes on.
    let (client, server) = tokio::join!(dial(socks, application), listener.accept());
    let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
    server.write_all(b"banner").await.unwrap();
    server.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "banner");
    client.write_all(b"thanks").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "thanks");
    timeout(SOON, mesh.inputs.tracker.emptied()).await.expect("nothing is left open");
}

#[tokio::test]
async fn a_client_that_dies_ends_the_server_side() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let socks = mesh.socks("client");
    let listener = TcpListener::bind((mesh.ip(2), 0)).await.unwrap();
    let (client, server) = tokio::join!(dial(socks, listener.local_addr().unwrap()), listener.accept());
    let (client, mut server) = (client.unwrap(), server.unwrap().0);
    client.set_zero_linger().unwrap();
    drop(client);
    let mut rest = Vec::new();
    timeout(SOON, server.read_to_end(&mut rest)).await.expect("the reset arrives as an end").ok();
}

#[tokio::test]
async fn a_reader_that_stalls_stops_the_writer() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let socks = mesh.socks("client");
    let listener = TcpListener::bind((mesh.ip(2), 0)).await.unwrap();
    let (client, server) = tokio::join!(dial(socks, listener.local_addr().unwrap()), listener.accept());
    let (mut client, mut server) = (client.unwrap(), server.unwrap().0);

    // The server does not read. The client may fill sockets, windows and one chunk per hop, and must then be stopped.
    let chunk = vec![7_u8; 256 * 1024];
    let mut accepted = 0_u64;
    while let Ok(written) = timeout(Duration::from_secs(1), client.write(&chunk)).await {
        accepted += written.unwrap() as u64;
        assert!(accepted < 64 * 1024 * 1024, "nothing stops the writer");
    }
    assert!(accepted > 4 * 1024 * 1024, "a window was used: {accepted}");

    // When it reads again, every byte comes.
    let reader = tokio::spawn(async move {
        let mut total = 0_u64;
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            match server.read(&mut buffer).await.unwrap() {
                0 => return total,
                read => {
                    assert!(buffer[..read].iter().all(|byte| *byte == 7));
                    total += read as u64;
                }
            }
        }
    });
    client.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, reader).await.unwrap().unwrap(), accepted);
}

#[tokio::test]
async fn a_stalled_stream_does_not_stop_its_neighbours() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let socks = mesh.socks("client");
    let stalled = TcpListener::bind((mesh.ip(2), 0)).await.unwrap();
    let (client, server) = tokio::join!(dial(socks, stalled.local_addr().unwrap()), stalled.accept());
    let (mut client, _server) = (client.unwrap(), server.unwrap().0);
    let chunk = vec![0_u8; 256 * 1024];
    while timeout(Duration::from_millis(300), client.write(&chunk)).await.is_ok() {}

    let mut neighbour = dial(socks, mesh.echo(2).await).await.unwrap();
    neighbour.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    timeout(SOON, neighbour.read_exact(&mut answer)).await.expect("the neighbour is served").unwrap();
    assert_eq!(mesh.inputs.pool.usage().0, 1, "both on one connection");
}

#[tokio::test]
async fn a_thousand_streams_through_one_pool() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let (application, socks) = (mesh.echo(2).await, mesh.socks("client"));
    let dials = (0..1000).map(|_| tokio::spawn(dial(socks, application))).collect::<Vec<_>>();
    let mut streams = Vec::new();
    for dial in dials {
        streams.push(dial.await.unwrap().unwrap());
    }
    let (connections, open) = mesh.inputs.pool.usage();
    assert_eq!(open, 1000);
    assert!((10..=12).contains(&connections), "{connections} connections for 1000 streams of at most 100 each");
    for (number, stream) in streams.iter_mut().enumerate() {
        let text = format!("{number:04}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, text.as_bytes());
    }
    drop(streams);
    timeout(SOON, mesh.inputs.tracker.emptied()).await.expect("all end");
}

/// Connections in memory to a scripted server.
#[derive(Debug)]
struct Scripted {
    dials: AtomicUsize,
    max_streams: u32,
    /// Connections that go away as soon as a request arrives on them.
    go_away: usize,
    /// Most streams that were open on one connection.
    peak: Arc<AtomicUsize>,
    frozen: Arc<Mutex<Vec<DuplexStream>>>,
    freeze: bool,
}

impl Scripted {
    fn new(max_streams: u32) -> Self {
        Self {
            dials: AtomicUsize::new(0),
            max_streams,
            go_away: 0,
            peak: Arc::default(),
            frozen: Arc::default(),
            freeze: false,
        }
    }
}

impl Dial for Scripted {
    fn dial<'a>(
        &'a self,
        _identity: &'a Identity,
        _: &'a Key,
    ) -> Pin<Box<dyn Future<Output = Result<Dialed, Error>> + Send + 'a>> {
        Box::pin(async move {
            let number = self.dials.fetch_add(1, Ordering::SeqCst);
            let (near, far) = tokio::io::duplex(64 * 1024);
            if self.freeze {
                self.frozen.lock().unwrap().push(far);
            } else {
                tokio::spawn(script(far, self.max_streams, number < self.go_away, Arc::clone(&self.peak)));
            }
            let (client, driver) = handshake(near).await?;
            let drive = Box::pin(async move {
                let _ = driver.run().await;
            });
            Ok(Dialed { client, peer: id("server"), chain: Arc::from([]), drive })
        })
    }
}

/// A server that accepts every CONNECT and holds it open, or goes away at the first.
async fn script(io: DuplexStream, max_streams: u32, go_away: bool, peak: Arc<AtomicUsize>) {
    let mut connection =
        h2::server::Builder::new().max_concurrent_streams(max_streams).handshake::<_, Bytes>(io).await.unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if go_away {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            connection.graceful_shutdown();
            continue;
        }
        let now = open.fetch_add(1, Ordering::SeqCst) + 1;
        peak.fetch_max(now, Ordering::SeqCst);
        let open = Arc::clone(&open);
        tokio::spawn(async move {
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            let _ = send.send_data(Bytes::new(), true);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn identity() -> (Mesh, Identity, Key, Destination) {
    let mesh = Mesh::new();
    let identity = mesh.identities.identity(&id("client")).await.unwrap();
    let key = Key {
        source: id("client"),
        expected: Expected::Ids(vec![id("server")]),
        to: "192.0.2.1:15008".parse().unwrap(),
    };
    (mesh, identity, key, "192.0.2.1:80".parse().unwrap())
}

#[tokio::test]
async fn no_stream_above_what_the_peer_allows() {
    let (_mesh, identity, key, to) = identity().await;
    let scripted = Arc::new(Scripted::new(7));
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&scripted), Duration::from_secs(300));
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(pool.connect(&identity, key.clone(), &to, &ConnectHeaders::default()).await.unwrap());
    }
    assert!(scripted.peak.load(Ordering::SeqCst) <= 7);
    assert_eq!(pool.usage(), (8, 50), "50 streams of 7 per connection");
    // Once full is not full for ever.
    open.truncate(1);
    for _ in 0..6 {
        open.push(pool.connect(&identity, key.clone(), &to, &ConnectHeaders::default()).await.unwrap());
    }
    assert_eq!(scripted.dials.load(Ordering::SeqCst), 8, "no further dial");
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced_without_loss() {
    let (_mesh, identity, key, to) = identity().await;
    let scripted = Arc::new(Scripted { go_away: 1, ..Scripted::new(100) });
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&scripted), Duration::from_secs(300));
    let first = pool.connect(&identity, key.clone(), &to, &ConnectHeaders::default()).await;
    assert!(first.is_ok(), "retried once on a fresh connection: {first:?}");
    assert_eq!(scripted.dials.load(Ordering::SeqCst), 2);

    let always = Arc::new(Scripted { go_away: usize::MAX, ..Scripted::new(100) });
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&always), Duration::from_secs(300));
    assert!(pool.connect(&identity, key, &to, &ConnectHeaders::default()).await.is_err());
    assert_eq!(always.dials.load(Ordering::SeqCst), 2, "and not for ever");
}

#[tokio::test]
async fn waiters_share_dials() {
    let (_mesh, identity, key, to) = identity().await;
    let scripted = Arc::new(Scripted::new(100));
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&scripted), Duration::from_secs(300));
    let connects = (0..90).map(|_| {
        let (pool, identity, key, to) = (pool.clone(), identity.clone(), key.clone(), to.clone());
        tokio::spawn(async move { pool.connect(&identity, key, &to, &ConnectHeaders::default()).await })
    });
    for connect in connects.collect::<Vec<_>>() {
        // Held by nobody: what matters is how often was dialled.
        connect.await.unwrap().unwrap();
    }
    assert_eq!(scripted.dials.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn another_identity_gets_a_connection_of_its_own() {
    let (mesh, one, key, to) = identity().await;
    mesh.add("other", 9);
    let two = mesh.identities.identity(&id("other")).await.unwrap();
    let scripted = Arc::new(Scripted::new(100));
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&scripted), Duration::from_secs(300));
    let _first = pool.connect(&one, key.clone(), &to, &ConnectHeaders::default()).await.unwrap();
    let other = Key { source: id("other"), ..key };
    let _second = pool.connect(&two, other, &to, &ConnectHeaders::default()).await.unwrap();
    assert_eq!(pool.usage(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_released() {
    let (_mesh, identity, key, to) = identity().await;
    let scripted = Arc::new(Scripted::new(100));
    let pool = Pool::with_dialer(Arc::<Scripted>::clone(&scripted), Duration::from_secs(300));
    let open = pool.connect(&identity, key.clone(), &to, &ConnectHeaders::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(pool.usage(), (1, 1), "in use, however long");
    drop(open);
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(pool.usage(), (1, 0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pool.usage(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_peer_is_dropped_within_thirty_seconds() {
    let (_mesh, identity, key, to) = identity().await;
    let scripted = Arc::new(Scripted { freeze: true, ..Scripted::new(100) });
    let pool = Pool::with_dialer(scripted, Duration::from_secs(300));
    let begun = tokio::time::Instant::now();
    let error = pool.connect(&identity, key, &to, &ConnectHeaders::default()).await.unwrap_err();
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}: {error}", begun.elapsed());
}
