//! The bytes of connections of HTTP/1.1, through a whole proxy.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints};
use mesh_core::config::{Assembly, Config, Resources, Upstream};
use mesh_core::filter::Connection;
use mesh_core::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal};
use mesh_core::live::Live;
use mesh_core::name::Locality;
use mesh_core::route::{Action, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost};
use mesh_transport::http::Transport;
use mesh_transport::l7::{AccessLog, Connect, Connecting, Incoming, Proxy, Record, Settings, Target as Reached};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::Target;

#[path = "../../../mesh-transport/tests/http/corpus.rs"]
mod corpus;

/// What backends read of what clients say.
pub(crate) const PROXY: Target = Target { name: "http_proxy", run: proxy, seeds: connections };

const BACKEND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

/// Whatever a client sends, a backend can read it in one way only, and nothing is left of it when both are gone.
fn proxy(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let Some(config) = config() else { panic!("the configuration of the target is no good") };
    runtime.block_on(async {
        let settings =
            Settings { connect: Arc::new(Recorder(Arc::clone(&seen))), log: Arc::new(Silent), ..Settings::default() };
        let (proxy, driver) = Proxy::new(config, settings);
        let through = async {
            while proxy.listeners().is_empty() {
                tokio::task::yield_now().await;
            }
            ask(&proxy, bytes).await;
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            proxy.open() + in_flight(&proxy) as usize
        };
        let left = tokio::select! {
            left = through => left,
            () = driver => panic!("the proxy ended"),
        };
        assert_eq!(left, 0, "connections or requests are left");
    });
    for connection in seen.lock().map(|seen| seen.clone()).unwrap_or_default() {
        if let Err(problem) = read(&connection) {
            panic!("a backend may read this in two ways, {problem}: {:?}", String::from_utf8_lossy(&connection));
        }
    }
}

async fn ask(proxy: &Proxy, bytes: &[u8]) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let serving = proxy.serve("in", far, Incoming::new(Arc::new(Connection::new(BACKEND, BACKEND))));
    let (mut reader, mut writer) = tokio::io::split(near);
    let writing = async {
        // The connection may be closed already.
        let _ = writer.write_all(bytes).await;
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        let _ = writer.shutdown().await;
    };
    let mut answer = Vec::new();
    let _ = tokio::join!(serving, writing, reader.read_to_end(&mut answer));
}

fn in_flight(proxy: &Proxy) -> u32 {
    let clusters = proxy.clusters().all();
    let balancers = clusters.values().filter_map(|cluster| match &**cluster.upstream() {
        Upstream::Endpoints { balancer, .. } => Some(balancer),
        _ => None,
    });
    balancers.map(|balancer| balancer.status().iter().map(|status| status.active).sum::<u32>()).sum()
}

fn config() -> Option<Live<Config>> {
    let mut resources = Resources::default();
    let place = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(BACKEND)]);
    let cluster = Cluster::new("all", Discovery::Static(Assignment::new("all", vec![place])));
    resources.clusters.insert("all".into(), Arc::new(cluster));
    let to_all = Action::Forward(Box::new(Forward::to("all")));
    let routes = vec![Route::new(RouteMatch::new(PathMatch::prefix("/")), to_all)];
    let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).ok()?;
    let mut manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
    manager.codec = mesh_core::listener::Codec::Http1;
    // The client closes when it has sent all, and reads no longer.
    manager.timeouts.delayed_close = std::time::Duration::ZERO;
    let mut socket = SocketListener::internal();
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Internal(Box::new(socket)) };
    resources.listeners.insert("in".into(), Arc::new(listener));
    Some(Live::constant(Assembly::default().assemble(&resources, tokio::time::Instant::now().into_std())))
}

struct Silent;

impl AccessLog for Silent {
    fn record(&self, _: &Record) {}
}

/// Backends that keep what they are sent, and answer what they take for a head.
struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

impl Connect for Recorder {
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime, which ends with the input")]
    fn connect(&self, _: Reached) -> Connecting {
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(record(far, Arc::clone(&self.0)));
        Box::pin(std::future::ready(Ok(Box::new(near) as Box<dyn Transport>)))
    }
}

async fn record(mut io: DuplexStream, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut all = Vec::new();
    let mut answered = 0;
    while let Ok(1..) = io.read_buf(&mut all).await {
        let heads = all.windows(4).filter(|window| window == b"\r\n\r\n").count();
        while answered < heads {
            answered += 1;
            if io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                break;
            }
        }
    }
    if let Ok(mut seen) = seen.lock() {
        seen.push(all);
    }
}

/// Reads requests as the strictest reader would. A part at the end that is cut is in order.
fn read(mut bytes: &[u8]) -> Result<(), &'static str> {
    while let Some((head, rest)) = head_of(bytes) {
        let mut lines = head.split("\r\n");
        let request: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = request[..] else { return Err("a request line of other than three parts") };
        if !method.bytes().all(is_token)
            || !target.starts_with(['/', '*'])
            || !target.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err("a malformed method or target");
        }
        let (mut hosts, mut length, mut chunked) = (0, None, 0);
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else { return Err("a header without a colon and space") };
            if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|byte| byte != b'\t' && byte < b' ')
            {
                return Err("a malformed header");
            }
            match name {
                "host" => hosts += 1,
                "content-length" if length.is_some() => return Err("two lengths"),
                "content-length" => length = Some(value.parse().map_err(|_| "a length that is no number")?),
                "transfer-encoding" if value == "chunked" => chunked += 1,
                "transfer-encoding" => return Err("another coding"),
                _ => {}
            }
        }
        if hosts != 1 || chunked > 1 || (chunked > 0 && length.is_some()) {
            return Err("not one host, or not one length");
        }
        let body = if chunked > 0 { chunks(rest)? } else { rest.get(length.unwrap_or(0)..) };
        let Some(after) = body else { return Ok(()) };
        bytes = after;
    }
    Ok(())
}

/// A head as text, and what follows it; `None` if it is cut.
fn head_of(bytes: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    // Values may have bytes that are no text (RFC 9110 section 5.5).
    let head = String::from_utf8_lossy(&bytes[..end]);
    let ended = head.split("\r\n").all(|line| !line.contains(['\r', '\n']));
    Some((if ended { head } else { "a line that ends otherwise".into() }, &bytes[end + 4..]))
}

/// What follows chunks; `None` if they are cut.
fn chunks(mut bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("the size of a chunk that is none");
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "the size of a chunk that is none")?;
        let rest = &bytes[end + 2..];
        if size == 0 {
            // Trailers, up to an empty line.
            let trailers = &bytes[end..];
            let end = trailers.windows(4).position(|window| window == b"\r\n\r\n");
            return Ok(end.map(|end| &trailers[end + 4..]));
        }
        let (Some(mark), after) = (rest.get(size..size + 2), rest.get(size + 2..)) else { return Ok(None) };
        if mark != b"\r\n" {
            return Err("a chunk that is longer than it says");
        }
        let Some(after) = after else { return Ok(None) };
        bytes = after;
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn connections() -> Vec<Vec<u8>> {
    let refused = corpus::REFUSED.iter().map(|(_, bytes, _)| format!("{bytes}{}", corpus::SMUGGLED));
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let broken = corpus::BROKEN.iter().map(|(_, body)| format!("{head}{body}{}", corpus::SMUGGLED));
    let sound = [
        "GET /x?y HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, x\r\nx: y\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx: y\r\n\r\nOPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nok",
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
    ];
    refused.chain(broken).chain(sound.map(str::to_owned)).map(String::into_bytes).collect()
}
