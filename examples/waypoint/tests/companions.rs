//! The waypoint as a process whose filters ask others: authorizers by gRPC and by HTTP, and the rate limit service, all of them
//! in the waypoint's own clusters. It is programmed over xDS by this test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use http::StatusCode;
use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, HttpProtocol, LocalityEndpoints};
use mesh_core::companion::GrpcService;
use mesh_core::companion::ext_authz::{ExternalAuthz, Failure, HttpService, Service};
use mesh_core::companion::rate_limit::GlobalRateLimit;
use mesh_core::listener::{
    FilterChain, HttpFilter, HttpFilterKind, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal,
};
use mesh_core::name::Locality;
use mesh_core::request::Field;
use mesh_core::route::{
    Action, DescriptorAction, Forward, PathMatch, RateLimit, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost,
};
use mesh_core::string_match::Pattern;
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::server::{Access, Cache, Change, Entry, Service as Discoverer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const SOON: Duration = Duration::from_secs(30);

/// How many connections came to a server.
type Connections = Arc<AtomicUsize>;

/// Lets in alice, refuses bob with words of its own, and everybody else without.
struct Door;

#[tonic::async_trait]
impl Authorization for Door {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap();
        let http = attributes.request.unwrap().http.unwrap();
        let header = |key: &str, value: &str| HeaderValueOption {
            header: Some(HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() }),
            ..HeaderValueOption::default()
        };
        let (code, said) = match http.headers.get("x-user").map(String::as_str) {
            Some("alice") => {
                let headers = vec![header("x-checked", &http.path)];
                (0, Some(HttpResponse::OkResponse(OkHttpResponse { headers, ..OkHttpResponse::default() })))
            }
            Some("bob") => {
                let denied = DeniedHttpResponse {
                    status: Some(HttpStatus { code: 401 }),
                    headers: vec![header("www-authenticate", "Basic")],
                    body: "not you, bob".into(),
                };
                (16, Some(HttpResponse::DeniedResponse(denied)))
            }
            _ => (7, None),
        };
        let status = Some(rpc::Status { code, ..rpc::Status::default() });
        Ok(Response::new(CheckResponse { status, http_response: said, dynamic_metadata: None }))
    }
}

/// What is heavy is too much.
struct Counter;

#[tonic::async_trait]
impl RateLimitService for Counter {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let mut entries = request.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
        let heavy = request.domain == "shop" && entries.any(|entry| (&*entry.key, &*entry.value) == ("load", "heavy"));
        let code = if heavy { Code::OverLimit } else { Code::Ok };
        Ok(Response::new(RateLimitResponse { overall_code: code.into(), ..RateLimitResponse::default() }))
    }
}

/// Both services behind one address.
async fn companions() -> (SocketAddr, Connections) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let connections = Connections::default();
    let counted = Arc::clone(&connections);
    let incoming = TcpListenerStream::new(listener).map(move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        stream
    });
    let server =
        Server::builder().add_service(AuthorizationServer::new(Door)).add_service(RateLimitServiceServer::new(Counter));
    tokio::spawn(server.serve_with_incoming(incoming));
    (at, connections)
}

/// A server of HTTP/1.1 that answers each head.
async fn answering(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let answer = answer(&String::from_utf8_lossy(&head));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    at
}

fn backend(head: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len())
}

/// Lets in alice to what is asked under its own prefix, and tells others to go.
fn door(head: &str) -> String {
    match head.starts_with("GET /check/") && head.contains("x-user: alice\r\n") {
        true => "HTTP/1.1 200 OK\r\nx-by: http\r\ncontent-length: 0\r\n\r\n".to_owned(),
        false => {
            "HTTP/1.1 403 Forbidden\r\nx-why: nobody\r\nx-inside: secret\r\ncontent-length: 7\r\n\r\ngo away".to_owned()
        }
    }
}

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, Status> {
        Ok("somebody".into())
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The waypoint.
struct Waypoint {
    child: Child,
    log: PathBuf,
}

impl Drop for Waypoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// What a waypoint is programmed with.
#[derive(Default)]
struct Program(Vec<(&'static str, Change)>);

impl Program {
    fn put(&mut self, kind: &'static str, name: &str, body: Vec<u8>) {
        self.0.push((kind, Change::Put(name.into(), Entry::new(body, vec![]))));
    }

    fn cluster(&mut self, name: &str, at: SocketAddr, protocol: HttpProtocol) {
        let cluster = Cluster { protocol, ..Cluster::new(name, Discovery::Eds { service_name: None }) };
        let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(at)]);
        self.put(CLUSTER_TYPE, name, encode_cluster(&cluster));
        self.put(ENDPOINT_TYPE, name, encode_assignment(&Assignment::new(name, vec![endpoints])));
    }

    /// A listener that leads to the shop through one filter.
    fn listener(&mut self, name: &str, filter: HttpFilterKind) -> SocketAddr {
        let at = free();
        let all = RouteMatch::new(PathMatch::prefix("/"));
        let routes = vec![Route::new(all, Action::Forward(Box::new(Forward::to("shop"))))];
        let host = VirtualHost { name: "shop".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
        let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
        let mut manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
        manager.filters = vec![HttpFilter { name: "asks".into(), kind: filter, disabled: false }];
        let mut socket = SocketListener::new(at);
        socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
        let listener = Listener { name: name.into(), kind: ListenerKind::Socket(Box::new(socket)) };
        self.put(LISTENER_TYPE, name, encode_listener(&listener));
        at
    }

    /// Starts a waypoint that follows this.
    async fn start(self, directory: &std::path::Path) -> Waypoint {
        const ORDER: [&str; 3] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE];
        let (writer, cache) = Cache::new(&ORDER);
        writer.apply(self.0);
        let service = Discoverer::new(cache, Arc::new(Anyone), &ORDER);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = Server::builder().add_service(service.server());
        tokio::spawn(async move {
            // The resources are there as long as somebody may write them.
            let _writer = writer;
            serving.serve_with_incoming(TcpListenerStream::new(listener)).await
        });
        fs::create_dir(directory.join("authority")).unwrap();
        let settings = format!(
            "hbone: null\ncontrol_plane: http://{at}\nlocal_authority: {}/authority\nadmin: {}\n",
            directory.display(),
            free()
        );
        fs::write(directory.join("waypoint.yaml"), settings).unwrap();
        let log = directory.join("waypoint.log");
        let child = Command::new(env!("CARGO_BIN_EXE_waypoint"))
            .arg("--config")
            .arg(directory.join("waypoint.yaml"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Waypoint { child, log }
    }
}

fn grpc(cluster: &str) -> ExternalAuthz {
    ExternalAuthz::new(Service::Grpc(GrpcService::new(cluster, Some(SOON))))
}

fn authz(settings: ExternalAuthz) -> HttpFilterKind {
    HttpFilterKind::ExternalAuthz(Box::new(settings))
}

fn limit(cluster: &str, deny: bool) -> HttpFilterKind {
    let mut limit = GlobalRateLimit::new("shop", GrpcService::new(cluster, Some(SOON)));
    let by = DescriptorAction::RequestHeader {
        name: Field::Header("x-load".parse().unwrap()),
        key: "load".into(),
        skip_if_absent: false,
    };
    limit.limits = vec![RateLimit { actions: vec![by], ..RateLimit::default() }];
    limit.failure_deny = deny;
    HttpFilterKind::RateLimit(Box::new(limit))
}

/// Asks once the listener is there.
async fn get(at: SocketAddr, path: &str, headers: &str) -> String {
    let asked = async {
        let mut stream = loop {
            match TcpStream::connect(at).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(SOON, asked).await.expect("an answer comes")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_ask_in_the_clusters_that_they_name() {
    let (companions, connections) = companions().await;
    let mut program = Program::default();
    program.cluster("shop", answering(backend).await, HttpProtocol::Http1);
    program.cluster("companions", companions, HttpProtocol::Http2);
    program.cluster("by-http", answering(door).await, HttpProtocol::Http1);
    program.cluster("nobody", free(), HttpProtocol::Http2);

    let by_grpc = program.listener("by-grpc", authz(grpc("companions")));
    let mut service = HttpService::new("by-http", Some(SOON));
    service.path = mesh_core::companion::ext_authz::CheckPath::Prefix("/check".into());
    service.upstream = vec![Pattern::exact("x-by")];
    service.client = vec![Pattern::exact("x-why")];
    let mut settings = ExternalAuthz::new(Service::Http(Box::new(service)));
    settings.headers.allowed = Some(vec![Pattern::exact("x-user")]);
    let by_http = program.listener("by-http", authz(settings));
    let lost = program.listener("lost", authz(grpc("nobody")));
    let unknown = program.listener("unknown", authz(grpc("is-no-cluster")));
    let failure = Failure { status: StatusCode::INTERNAL_SERVER_ERROR, ..Failure::default() };
    let lost_500 = program.listener("lost-500", authz(ExternalAuthz { failure, ..grpc("nobody") }));
    let failure = Failure { allow: true, mark: true, ..Failure::default() };
    let lost_allowed = program.listener("lost-allowed", authz(ExternalAuthz { failure, ..grpc("nobody") }));
    let counted = program.listener("counted", limit("companions", false));
    let uncounted = program.listener("uncounted", limit("nobody", false));
    let uncounted_500 = program.listener("uncounted-500", limit("nobody", true));

    let directory = tempfile::tempdir().unwrap();
    let _waypoint = program.start(directory.path()).await;

    // By gRPC: allowed with a header more, denied in its words, denied without any.
    let answer = get(by_grpc, "/cart?a=b", "x-user: alice\r\n").await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("x-checked: /cart?a=b\r\n"), "{answer}");
    let answer = get(by_grpc, "/cart", "x-user: bob\r\n").await;
    assert_eq!(status(&answer), "401", "{answer}");
    assert!(answer.contains("www-authenticate: Basic\r\n") && answer.ends_with("not you, bob"), "{answer}");
    assert_eq!(status(&get(by_grpc, "/cart", "").await), "403");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the connection is used again");

    // By HTTP.
    let answer = get(by_http, "/cart", "x-user: alice\r\nx-by: me\r\n").await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("x-by: http\r\n") && !answer.contains("x-by: me"), "{answer}");
    let answer = get(by_http, "/cart", "x-user: bob\r\n").await;
    assert_eq!(status(&answer), "403", "{answer}");
    assert!(answer.contains("x-why: nobody\r\n") && answer.ends_with("go away"), "{answer}");
    assert!(!answer.contains("x-inside"), "{answer}");

    // Nobody answers.
    for (at, expected) in [(lost, "403"), (unknown, "403"), (lost_500, "500"), (lost_allowed, "200")] {
        let answer = get(at, "/cart", "x-user: alice\r\n").await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(answer.contains("x-envoy-auth-failure-mode-allowed: true"), expected == "200", "{answer}");
    }

    // Limits.
    for (at, load, expected) in [
        (counted, "light", "200"),
        (counted, "heavy", "429"),
        (uncounted, "heavy", "200"),
        (uncounted_500, "light", "500"),
    ] {
        let answer = get(at, "/cart", &format!("x-load: {load}\r\n")).await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(answer.contains("x-envoy-ratelimited: true"), expected == "429", "{answer}");
    }
}
