//! What hostile peers may do to the listeners: bytes that mean nothing, handshakes that never end, frames beyond every
//! bound. Each time memory stays bounded and a good client is served meanwhile.
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

use std::net::SocketAddr;
use std::time::Duration;

use common::{HBONE, Mesh, id};
use mesh_identity::verify::Expected;
use mesh_transport::proxy::{Drain, Passthrough};
use mesh_transport::socket::Listener;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A mesh with a server that echoes, and what a good client does to it.
struct Scene {
    mesh: Mesh,
    socks: SocketAddr,
    application: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let mesh = Mesh::new();
        mesh.serve("server", 2).await;
        let (socks, application) = (mesh.socks("client"), mesh.echo(2).await);
        Self { mesh, socks, application }
    }

    fn hbone(&self) -> SocketAddr {
        SocketAddr::new(self.mesh.ip(2), HBONE)
    }

    /// A good client is served, on a connection of its own.
    async fn serves(&self) {
        let whole = async {
            let mut stream = common::dial(self.socks, self.application).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"hello");
        };
        tokio::time::timeout(Duration::from_secs(5), whole).await.expect("a good client is served");
    }

    /// TLS with a certificate of the mesh, and nothing of HTTP/2 yet.
    async fn tls(&self) -> TlsStream<TcpStream> {
        let identity = self.mesh.identities.identity(&id("client")).await.unwrap();
        let config = identity.client_config(Expected::Anyone, &[b"h2"]).unwrap();
        let tcp = TcpStream::connect(self.hbone()).await.unwrap();
        TlsConnector::from(config).connect(ServerName::IpAddress(self.hbone().ip().into()), tcp).await.unwrap()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal header field without indexing (RFC 7541 section 6.2.2), for short names.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |length: usize, out: &mut Vec<u8>| {
        if length < 127 {
            out.push(u8::try_from(length).unwrap());
        } else {
            out.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap() | 0x80);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
    };
    let mut out = vec![0];
    length(name.len(), &mut out);
    out.extend(name);
    length(value.len(), &mut out);
    out.extend(value);
    out
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Reads until the peer closes, within a bound.
async fn closes(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = vec![0; 65_536];
    let all = async { while matches!(stream.read(&mut rest).await, Ok(length) if length > 0) {} };
    tokio::time::timeout(Duration::from_secs(30), all).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes() {
    let scene = Scene::new().await;
    for round in 0..200_usize {
        let mut tcp = TcpStream::connect(scene.hbone()).await.unwrap();
        let mut bytes: Vec<u8> = (0..round * 7).map(|_| fastrand::u8(..)).collect();
        if round % 3 == 0 {
            // The beginning of a TLS record, so that it is looked into.
            bytes.splice(0..0, [22, 3, 1, 2, 0]);
        }
        let _ = tcp.write_all(&bytes).await;
        let _ = tcp.shutdown().await;
        assert!(closes(&mut tcp).await, "round {round}");
    }
    scene.serves().await;
    // Behind TLS as well.
    for round in 0..50_usize {
        let mut tls = scene.tls().await;
        let bytes: Vec<u8> = (0..round * 11).map(|_| fastrand::u8(..)).collect();
        let mut sent = if round % 2 == 0 { PREFACE.to_vec() } else { Vec::new() };
        sent.extend(bytes);
        let _ = tls.write_all(&sent).await;
        let _ = tls.shutdown().await;
        assert!(closes(&mut tls).await, "round {round}");
    }
    scene.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_handshakes_that_never_end() {
    let scene = Scene::new().await;
    let before = resident();
    let mut held = Vec::new();
    // Ten thousand in all; as many at a time as this process may have open.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024);
    let at_a_time = usize::try_from(limit / 3).unwrap().min(5_000);
    let mut opened = 0;
    while opened < 10_000 {
        held.clear();
        for _ in 0..at_a_time.min(10_000 - opened) {
            let mut tcp = TcpStream::connect(scene.hbone()).await.unwrap();
            // A part of a ClientHello: the rest never comes.
            let _ = tcp.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
            held.push(tcp);
            opened += 1;
        }
        scene.serves().await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB", grown >> 20);
    // What was given up for others is closed, not forgotten.
    let mut closed = 0;
    for tcp in &mut held {
        let mut byte = [0];
        if matches!(tokio::time::timeout(Duration::from_millis(1), tcp.read(&mut byte)).await, Ok(Ok(0) | Err(_))) {
            closed += 1;
        }
    }
    let bound = mesh_transport::hbone::limits::CONCURRENT_HANDSHAKES;
    assert!(closed >= held.len().saturating_sub(bound), "{closed} of {} were closed", held.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handshake_ends_at_its_deadline() {
    let scene = Scene::new().await;
    let mut tcp = TcpStream::connect(scene.hbone()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let drip = async {
        // The beginning of a ClientHello, one byte now and then: that keeps no handshake alive.
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        for byte in hello.into_iter().chain(std::iter::repeat(0)) {
            if tcp.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut byte = [0];
            if tcp.try_read(&mut byte).is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), drip).await.expect("it is ended");
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
    scene.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_beyond_the_bounds() {
    let scene = Scene::new().await;
    let connect = |stream: u32, more: Vec<u8>| {
        let mut block = field(b":method", b"CONNECT");
        block.extend(field(b":authority", scene.application.to_string().as_bytes()));
        block.extend(more);
        frame(1, 4, stream, &block)
    };
    let large = field(b"x", &vec![b'a'; 70_000]);
    let many: Vec<u8> = (0..10_000).flat_map(|_| field(b"x", b"y")).collect();
    let mut continued = frame(1, 0, 1, &field(b":method", b"CONNECT"));
    for _ in 0..200 {
        continued.extend(frame(9, 0, 1, &field(b"x", &vec![b'a'; 8_000])));
    }
    let floods: [(&str, Vec<u8>); 7] = [
        ("a header list above the limit", connect(1, large)),
        ("ten thousand headers", connect(1, many)),
        ("headers without an end", continued),
        ("a frame above the limit", frame(0, 0, 1, &vec![0; 2 << 20])),
        ("SETTINGS without end", frame(4, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(50_000)),
        ("pings without end", frame(6, 0, 0, &[0; 8]).repeat(50_000)),
        ("empty data without end", [connect(1, vec![]), frame(0, 0, 1, &[]).repeat(50_000)].concat()),
    ];
    let before = resident();
    for (what, bytes) in &floods {
        let mut attackers = Vec::new();
        for _ in 0..8 {
            let (mut read, mut write) = tokio::io::split(scene.tls().await);
            let sent = [PREFACE, &frame(4, 0, 0, &[]), bytes].concat();
            // The answers are not read: they must not pile up.
            attackers.push(tokio::spawn(async move {
                let _ = tokio::time::timeout(Duration::from_secs(3), write.write_all(&sent)).await;
                (closes(&mut read).await, write)
            }));
        }
        scene.serves().await;
        for attacker in attackers {
            attacker.abort();
        }
        assert!(resident().saturating_sub(before) < 300 << 20, "{what}: {} MiB", (resident() - before) >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    let scene = Scene::new().await;
    let mut tls = scene.tls().await;
    tls.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls);
    let ended = tokio::spawn(async move { closes(&mut read).await });
    let mut block = field(b":method", b"CONNECT");
    block.extend(field(b":authority", scene.application.to_string().as_bytes()));
    let mut refused = false;
    for round in 0..20_000_u32 {
        let stream = round * 2 + 1;
        let pair = [frame(1, 4, stream, &block), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
        if write.write_all(&pair).await.is_err() {
            refused = true;
            break;
        }
    }
    let _ = write.flush().await;
    assert!(refused || ended.await.unwrap(), "a connection that only opens and resets is ended");
    scene.serves().await;
    assert!(scene.mesh.inputs.tracker.len() < 300, "{} connections are left", scene.mesh.inputs.tracker.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socks5_and_plaintext_listeners_too() {
    let scene = Scene::new().await;
    for round in 0..200_usize {
        let mut tcp = TcpStream::connect(scene.socks).await.unwrap();
        let mut bytes: Vec<u8> = (0..round).map(|_| fastrand::u8(..)).collect();
        if round % 2 == 0 {
            bytes.splice(0..0, [5, 1, 0, 5, 1, 0]);
        }
        let _ = tcp.write_all(&bytes).await;
        let _ = tcp.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_millis(200), closes(&mut tcp)).await;
    }
    scene.serves().await;
    // A plaintext listener that is reached directly leads to itself, and refuses.
    let listener = Listener::bind(SocketAddr::new(scene.mesh.ip(2), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut inputs = scene.mesh.inputs.clone();
    inputs.own_ports = [address.port()].into_iter().collect();
    let serve = Passthrough::new(inputs, common::uid("server")).serve(listener, Drain::new());
    scene.mesh.inputs.tasks.spawn(serve);
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        assert!(closes(&mut tcp).await);
        held.push(tcp);
    }
    scene.serves().await;
}
