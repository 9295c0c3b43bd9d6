//! An L7 proxy made of the parts: what it serves, as its configuration changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use mesh_core::authz::rbac::{Action as Rule, Permission, Policy as RbacPolicy, Principal, Rbac, RbacFilter};
use mesh_core::balance::{
    Assignment, Cluster, Discovery, Endpoint, HealthCheck, HttpProbe, HttpProtocol, LocalityEndpoints, Policy, Probe,
};
use mesh_core::config::{Assembly, Config, Resources};
use mesh_core::filter::Connection;
use mesh_core::listener::{
    FilterChain, HttpFilter, HttpFilterKind, HttpManager, Listener, ListenerFilter, ListenerKind, RouteSource,
    SocketListener, TcpProxy, Terminal, UpgradeSupport,
};
use mesh_core::live::Publisher;
use mesh_core::name::Locality;
use mesh_core::route::{
    Action, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost,
};
use mesh_core::string_match::Pattern;
use mesh_transport::http::{Accepted, Body, Downstream, Server};
use mesh_transport::l7::{AccessLog, Incoming, Proxy, Record, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[path = "l7/edges.rs"]
mod edges;
#[path = "l7/hostile.rs"]
mod hostile;
#[path = "l7/protocol.rs"]
mod protocol;
#[path = "l7/secured.rs"]
mod secured;
#[path = "l7/wired.rs"]
mod wired;

const SOON: Duration = Duration::from_secs(5);

/// A server that says its name, the path, and what it was sent.
async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = tower::service_fn(move |request: Request<Body>| async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let text = format!("{name} {} {}", head.uri.path(), String::from_utf8_lossy(&body));
                let mut response = Response::new(Body::from(text));
                response.headers_mut().insert("served-by", HeaderValue::from_static(name));
                Ok::<_, Infallible>(response)
            });
            let server = Server::new(&HttpManager::new(RouteSource::Rds("none".into())));
            let accepted = Accepted::new(Downstream::new([127, 0, 0, 1].into(), 80), ());
            tokio::spawn(async move { server.serve(stream, accepted, service, CancellationToken::new()).await });
        }
    });
    address
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Vec<Record>>, Notify)>);

impl AccessLog for Log {
    fn record(&self, record: &Record) {
        let (records, written) = &*self.0;
        records.lock().unwrap().push(record.clone());
        written.notify_one();
    }
}

impl Log {
    async fn next(&self) -> Record {
        let (records, written) = &*self.0;
        let waiting = async {
            loop {
                let last = records.lock().unwrap().pop();
                match last {
                    Some(record) => return record,
                    None => written.notified().await,
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("a record is written")
    }
}

struct Scene {
    resources: Resources,
    assembly: Assembly,
    publisher: Publisher<Config>,
    proxy: Proxy,
    log: Log,
}

impl Scene {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let (publisher, live) = Publisher::new(Config::default());
        let log = Log::default();
        let settings = Settings { log: Arc::new(log.clone()), ..settings };
        let (proxy, driver) = Proxy::new(live, settings);
        tokio::spawn(driver);
        Self { resources: Resources::default(), assembly: Assembly::default(), publisher, proxy, log }
    }

    fn cluster(&mut self, name: &str, endpoints: &[SocketAddr]) {
        let endpoints = endpoints.iter().map(|address| Endpoint::new(*address)).collect();
        let assignment = Assignment::new(name, vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
        let mut cluster = Cluster::new(name, Discovery::Eds { service_name: None });
        cluster.policy = Policy::RoundRobin { slow_start: None };
        self.resources.clusters.insert(name.into(), Arc::new(cluster));
        self.resources.assignments.insert(name.into(), Arc::new(assignment));
    }

    fn routes(&mut self, routes: Vec<Route>) {
        let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
        self.resources.routes.insert("routes".into(), Arc::new(table));
    }

    fn listener(&mut self, change: impl FnOnce(&mut SocketListener)) {
        let mut socket = SocketListener::internal();
        change(&mut socket);
        let listener = Listener { name: "in".into(), kind: ListenerKind::Internal(Box::new(socket)) };
        self.resources.listeners.insert("in".into(), Arc::new(listener));
    }

    fn http(&mut self, change: impl FnOnce(&mut HttpManager)) {
        let mut manager = HttpManager::new(RouteSource::Rds("routes".into()));
        change(&mut manager);
        self.listener(|socket| socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))]);
    }

    /// Publishes, and waits until it is served.
    async fn apply(&mut self) {
        let config = self.assembly.assemble(&self.resources, std::time::Instant::now());
        self.publisher.publish(config.clone());
        let served = async {
            let mut changes = self.proxy.effective().changes();
            while !changes.current().is(&config) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(SOON, served).await.expect("the configuration is served");
    }

    fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connection = Connection::new("10.0.0.1:1234".parse().unwrap(), "10.0.0.9:80".parse().unwrap());
        let peer = "spiffe://td/ns/shop/sa/web".parse().unwrap();
        let proxy = self.proxy.clone();
        tokio::spawn(async move { proxy.serve("in", far, Incoming::new(Arc::new(connection.from_peer(&peer)))).await });
        near
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

fn route(prefix: &str, cluster: &str) -> Route {
    Route::new(RouteMatch::new(PathMatch::prefix(prefix)), Action::Forward(Box::new(Forward::to(cluster))))
}

/// Reads one response with a length.
async fn response(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let reading = async {
        let mut text = Vec::new();
        loop {
            text.push(stream.read_u8().await.unwrap());
            if text.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8(text.clone()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).await.unwrap();
                return head + std::str::from_utf8(&body).unwrap();
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer comes")
}

#[tokio::test]
async fn requests_go_where_routes_lead_and_are_logged() {
    let mut scene = Scene::new();
    let (one, two) = (backend("one").await, backend("two").await);
    scene.cluster("carts", &[one]);
    scene.cluster("pages", &[two]);
    scene.routes(vec![route("/cart", "carts"), route("/", "pages")]);
    scene.http(|_| {});
    scene.apply().await;

    let answer = scene.get("/cart/7?a=b").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("one /cart/7 "), "{answer}");
    let record = scene.log.next().await;
    assert_eq!((record.status_code(), record.complete, record.path.as_str()), (200, true, "/cart/7?a=b"));
    assert_eq!((record.endpoint(), record.flags.to_string()), (Some(one), "-".to_owned()));
    assert_eq!(record.connection.peer_uri(), Some("spiffe://td/ns/shop/sa/web"));
    assert!(scene.get("/").await.ends_with("two / "));
}

#[tokio::test]
async fn what_cannot_be_reached_is_answered_with_the_reason() {
    let mut scene = Scene::new();
    scene.cluster("dead", &[nobody().await]);
    scene.cluster("empty", &[]);
    scene.routes(vec![route("/dead", "dead"), route("/empty", "empty"), route("/unknown", "unknown")]);
    scene.http(|_| {});
    scene.apply().await;
    for (path, status, flag) in
        [("/dead", "503", "UF"), ("/empty", "503", "UH"), ("/unknown", "503", "NC"), ("/elsewhere", "404", "NR")]
    {
        let answer = scene.get(path).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
        assert_eq!(scene.log.next().await.flags.to_string(), flag, "{path}");
    }
}

#[tokio::test]
async fn another_endpoint_is_tried_where_the_route_says_so() {
    let mut scene = Scene::new();
    let alive = backend("alive").await;
    scene.cluster("shop", &[nobody().await, alive]);
    let mut forward = Forward::to("shop");
    forward.retry = Some(RetryPolicy { on: RetryOn::CONNECT_FAILURE, retries: 2, ..RetryPolicy::default() });
    scene.routes(vec![Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)))]);
    scene.http(|_| {});
    scene.apply().await;
    for _ in 0..4 {
        let answer = scene.get("/").await;
        assert!(answer.ends_with("alive / "), "{answer}");
    }
}

#[tokio::test]
async fn a_policy_refuses_by_path_and_identity() {
    let mut scene = Scene::new();
    scene.cluster("shop", &[backend("shop").await]);
    scene.routes(vec![route("/", "shop")]);
    let policy = RbacPolicy {
        permissions: vec![Permission::Path(Pattern::prefix("/admin"))],
        principals: vec![Principal::Authenticated(Some(Pattern::exact("spiffe://td/ns/shop/sa/web")))],
    };
    let rules = Rbac { action: Rule::Deny, policies: [("no-admin".into(), policy)].into() };
    let filter = RbacFilter { rules: Some(rules), ..RbacFilter::default() };
    scene.http(|manager| {
        let kind = HttpFilterKind::Rbac(filter);
        manager.filters = vec![HttpFilter { name: "rbac".into(), kind, disabled: false }];
    });
    scene.apply().await;
    assert!(scene.get("/shop").await.ends_with("shop /shop "));
    let answer = scene.get("/admin/x").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("RBAC: access denied"), "{answer}");
    assert_eq!(scene.log.next().await.details.as_str(), "rbac_access_denied_matched_policy[no-admin]");
}

#[tokio::test]
async fn a_connection_uses_new_routes_with_its_next_request() {
    let mut scene = Scene::new();
    scene.cluster("old", &[backend("old").await]);
    scene.cluster("new", &[backend("new").await]);
    scene.routes(vec![route("/", "old")]);
    scene.http(|_| {});
    scene.apply().await;
    let mut stream = scene.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    assert!(response(&mut stream).await.ends_with("old / "));
    scene.routes(vec![route("/", "new")]);
    scene.apply().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    assert!(response(&mut stream).await.ends_with("new / "));
}

#[tokio::test]
async fn a_chain_that_goes_is_drained_and_one_that_stays_is_not() {
    let mut scene = Scene::new();
    scene.cluster("shop", &[backend("shop").await]);
    scene.routes(vec![route("/", "shop")]);
    scene.http(|_| {});
    scene.apply().await;
    let mut stream = scene.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    response(&mut stream).await;

    // The same chain beside another one: its connections do not notice.
    scene.listener(|socket| {
        let manager = HttpManager::new(RouteSource::Rds("routes".into()));
        let mut other = FilterChain::new(Terminal::Tcp(TcpProxy::to("shop")));
        other.matcher.destination_port = Some(81);
        socket.chains = vec![other, FilterChain::new(Terminal::Http(Box::new(manager)))];
    });
    scene.apply().await;
    stream.write_all(b"GET /still HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    assert!(response(&mut stream).await.ends_with("shop /still "));

    // Another chain in its place: what is idle ends, what comes next is served by the new one.
    scene.http(|manager| manager.limits.headers = 50);
    scene.apply().await;
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("drained").unwrap();
    assert!(rest.is_empty());
    assert!(scene.get("/new").await.ends_with("shop /new "));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_taken_before_its_chain_went_is_answered_once() {
    let (mut scene, mut backends) = wired::handed(HttpProtocol::Http1).await;
    let mut stream = scene.connect();
    // The chain has it.
    while scene.proxy.open() == 0 {
        tokio::task::yield_now().await;
    }
    scene.http(|manager| manager.limits.headers = 50);
    scene.apply().await;
    // Paused: whoever is told of something has done what follows from it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    stream.write_all(b"GET /late HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut backend = backends.recv().await.unwrap();
    assert!(wired::head(&mut backend).await.starts_with("GET /late "));
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let answer = response(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_chain_is_chosen_by_what_the_connection_says() {
    let mut scene = Scene::new();
    let shop = backend("shop").await;
    scene.cluster("shop", &[shop]);
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    scene.cluster("echo", &[echo.local_addr().unwrap()]);
    tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await
    });
    scene.routes(vec![route("/", "shop")]);
    scene.listener(|socket| {
        let manager = HttpManager::new(RouteSource::Rds("routes".into()));
        let mut http = FilterChain::new(Terminal::Http(Box::new(manager)));
        http.matcher.application_protocols = ["http/1.1".into(), "h2c".into()].into();
        socket.chains = vec![http, FilterChain::new(Terminal::Tcp(TcpProxy::to("echo")))];
        socket.inspectors = vec![ListenerFilter::HttpInspector];
    });
    scene.apply().await;
    assert!(scene.get("/").await.ends_with("shop / "));
    let mut stream = scene.connect();
    stream.write_all(b"\x00\x01binary").await.unwrap();
    let mut answer = [0; 8];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"\x00\x01binary");
}

#[tokio::test]
async fn a_websocket_goes_through_where_it_is_allowed() {
    let mut scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    scene.cluster("ws", &[listener.local_addr().unwrap()]);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
                let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
        }
    });
    scene.routes(vec![route("/", "ws")]);
    let ask = b"GET /chat HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

    scene.http(|_| {});
    scene.apply().await;
    let mut stream = scene.connect();
    stream.write_all(ask).await.unwrap();
    assert!(response(&mut stream).await.starts_with("HTTP/1.1 403 "));

    scene.http(|manager| manager.upgrades = vec![UpgradeSupport { protocol: "websocket".into(), enabled: true }]);
    scene.apply().await;
    let mut stream = scene.connect();
    stream.write_all(ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"frames").await.unwrap();
    let mut answer = [0; 6];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"frames");
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    let record = scene.log.next().await;
    assert_eq!((record.status_code(), record.bytes), (101, (6, 6)));
}

#[tokio::test]
async fn listeners_bind_and_let_go() {
    let mut scene = Scene::new();
    scene.cluster("shop", &[backend("shop").await]);
    scene.routes(vec![route("/", "shop")]);
    let at = nobody().await;
    let manager = HttpManager::new(RouteSource::Rds("routes".into()));
    let mut socket = SocketListener::new(at);
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Socket(Box::new(socket)) };
    scene.resources.listeners.insert("in".into(), Arc::new(listener));
    scene.apply().await;
    let mut stream = connects(at, true).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    assert!(response(&mut stream).await.ends_with("shop / "));

    scene.resources.listeners.clear();
    scene.apply().await;
    connects(at, false).await;
    // An idle connection of it is told to go.
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("drained").unwrap();
}

/// Waits until an address takes connections, or does not.
async fn connects(at: SocketAddr, wanted: bool) -> Option<TcpStream> {
    for _ in 0..500 {
        let connected = TcpStream::connect(at).await.ok();
        if connected.is_some() == wanted {
            return connected;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{at} does not change");
}

#[tokio::test]
async fn a_backend_that_is_of_no_use_is_found_by_its_answer() {
    let mut scene = Scene::new();
    let (zombie, alive) = (backend("zombie").await, backend("alive").await);
    scene.assembly = Assembly::probing();
    scene.cluster("shop", &[zombie, alive]);
    let mut probe = HttpProbe::new("/health");
    probe.receive = vec![b"alive".to_vec()];
    let millis = Duration::from_millis;
    let cluster = scene.resources.clusters.get_mut("shop").unwrap();
    let mut checked = Cluster::clone(cluster);
    checked.health_checks = vec![HealthCheck::new(Probe::Http(probe), SOON, millis(20))];
    checked.panic_threshold = 0;
    *cluster = Arc::new(checked);
    scene.routes(vec![route("/", "shop")]);
    scene.http(|_| {});
    scene.apply().await;
    let mut answered = 0;
    let waiting = async {
        while answered < 10 {
            let answer = scene.get("/").await;
            assert!(!answer.contains("zombie"), "{answer}");
            answered += usize::from(answer.ends_with("alive / "));
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("what passes its check is used");
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_requests_end() {
    let (scene, mut backends) = wired::handed(HttpProtocol::Http1).await;
    let mut stream = scene.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut backend = backends.recv().await.unwrap();
    wired::head(&mut backend).await;
    let proxy = scene.proxy.clone();
    let drained = tokio::spawn(async move { proxy.drain(SOON).await });
    // Paused: the drain has begun.
    tokio::time::sleep(Duration::from_millis(1)).await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let answer = response(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");
    tokio::time::timeout(SOON, drained).await.expect("the drain ends when all has ended").unwrap();
}
