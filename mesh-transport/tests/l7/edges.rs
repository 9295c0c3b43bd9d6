//! Limits of connections, endpoints that say that they fail, and requests of our own.

use mesh_core::balance::{CircuitSettings, Tunnel};
use mesh_transport::http::Transport;
use mesh_transport::l7::{ClusterClient, Connect, Connecting, Target};
use tower::ServiceExt;

use super::*;

/// A server that answers each connection's first request when it is told to, and counts connections.
struct Slow {
    at: SocketAddr,
    waiting: tokio::sync::mpsc::UnboundedReceiver<TcpStream>,
}

async fn slow() -> Slow {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, waiting) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                head(&mut stream).await;
                let _ = sender.send(stream);
            });
        }
    });
    Slow { at, waiting }
}

async fn head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
}

impl Slow {
    async fn next(&mut self) -> TcpStream {
        tokio::time::timeout(SOON, self.waiting.recv()).await.expect("a request comes").unwrap()
    }
}

fn limit(scene: &mut Scene, name: &str, change: impl FnOnce(&mut CircuitSettings)) {
    let cluster = scene.resources.clusters.get_mut(name).unwrap();
    let mut limited = Cluster::clone(cluster);
    change(&mut limited.circuit);
    *cluster = Arc::new(limited);
}

#[tokio::test]
async fn beyond_the_connections_of_an_endpoint_requests_wait_and_then_overflow() {
    for per_endpoint in [true, false] {
        let mut scene = Scene::new();
        let mut server = slow().await;
        scene.cluster("slow", &[server.at]);
        limit(&mut scene, "slow", |circuit| {
            match per_endpoint {
                true => circuit.max_connections_per_endpoint = Some(1),
                false => circuit.default.max_connections = 1,
            }
            circuit.default.max_pending_requests = 1;
        });
        scene.routes(vec![route("/", "slow")]);
        scene.http(|_| {});
        scene.apply().await;
        let ask = async || {
            let mut stream = scene.connect();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
            stream
        };
        let mut first = ask().await;
        let mut served = server.next().await;
        let mut second = ask().await;
        let slow = scene.proxy.clusters().get("slow").unwrap();
        let active = || slow.upstream().balancers().map(|balancer| balancer.status()[0].active).sum::<u32>();
        while active() < 2 {
            tokio::task::yield_now().await;
        }
        let refused = response(&mut ask().await).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert_eq!(scene.log.next().await.flags.to_string(), "UO");
        assert_eq!(slow.connections(), 1);

        // The one that waited is served over the same connection.
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        served.write_all(answer).await.unwrap();
        assert!(response(&mut first).await.ends_with("ok"));
        head(&mut served).await;
        served.write_all(answer).await.unwrap();
        assert!(response(&mut second).await.ends_with("ok"));
    }
}

#[tokio::test]
async fn connections_of_bytes_are_limited_too() {
    let mut scene = Scene::new();
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    scene.cluster("echo", &[echo.local_addr().unwrap()]);
    limit(&mut scene, "echo", |circuit| circuit.max_connections_per_endpoint = Some(1));
    scene.listener(|socket| socket.chains = vec![FilterChain::new(Terminal::Tcp(TcpProxy::to("echo")))]);
    scene.apply().await;
    let first = scene.connect();
    let (upstream, _) = tokio::time::timeout(SOON, echo.accept()).await.unwrap().unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, scene.connect().read_to_end(&mut rest)).await.expect("it is closed").unwrap();
    assert!(rest.is_empty());
    // When the first has ended there is room again.
    drop((first, upstream));
    while scene.proxy.open() > 0 {
        tokio::task::yield_now().await;
    }
    let _second = scene.connect();
    tokio::time::timeout(SOON, echo.accept()).await.expect("there is room again").unwrap();
}

/// A server that passes its probes, and says of itself that it fails in every other answer.
async fn failing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = tower::service_fn(async |request: Request<Body>| {
                let mut response = Response::new(Body::from("failing"));
                if request.uri().path() != "/health" {
                    response.headers_mut().insert("x-envoy-immediate-health-check-fail", HeaderValue::from_static("1"));
                }
                Ok::<_, Infallible>(response)
            });
            let server = Server::new(&HttpManager::new(RouteSource::Rds("none".into())));
            let accepted = Accepted::new(Downstream::new([127, 0, 0, 1].into(), 80), ());
            tokio::spawn(async move { server.serve(stream, accepted, service, CancellationToken::new()).await });
        }
    });
    address
}

#[tokio::test]
async fn an_endpoint_that_says_that_it_fails_is_not_used_until_it_passes_again() {
    let mut scene = Scene::new();
    scene.assembly = Assembly::probing();
    let (failing, alive) = (failing().await, backend("alive").await);
    scene.cluster("shop", &[failing, alive]);
    let cluster = scene.resources.clusters.get_mut("shop").unwrap();
    let mut checked = Cluster::clone(cluster);
    // Probed at once, and then not before the test has ended.
    let check = HealthCheck::new(Probe::Http(HttpProbe::new("/health")), SOON, Duration::from_secs(600));
    checked.health_checks = vec![check];
    checked.panic_threshold = 0;
    *cluster = Arc::new(checked);
    scene.routes(vec![route("/", "shop")]);
    scene.http(|_| {});
    scene.apply().await;
    let waiting = async {
        loop {
            let answer = scene.get("/").await;
            if answer.ends_with("failing") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(SOON, waiting).await.expect("it passes its probe and is used");
    assert!(answer.contains("x-envoy-immediate-health-check-fail: 1"), "passed on, as Envoy does: {answer}");
    for _ in 0..8 {
        let answer = scene.get("/").await;
        assert!(answer.ends_with("alive / "), "{answer}");
    }
}

#[tokio::test]
async fn where_nobody_probes_what_an_endpoint_says_of_itself_changes_nothing() {
    let mut scene = Scene::new();
    scene.cluster("shop", &[failing().await]);
    scene.routes(vec![route("/", "shop")]);
    scene.http(|_| {});
    scene.apply().await;
    for _ in 0..3 {
        assert!(scene.get("/").await.ends_with("failing"));
    }
}

#[tokio::test]
async fn requests_of_our_own_go_to_clusters_as_they_are_now() {
    let mut scene = Scene::new();
    let client: ClusterClient = scene.proxy.clusters().client("shop");
    let ask = async || {
        let request = Request::post("http://authorizer.test/check").body(http_body_util::Full::from("hello")).unwrap();
        let Ok(response) = client.clone().oneshot(request).await;
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(ask().await.0, 503, "the cluster is not known");
    scene.http(|_| {});
    scene.routes(vec![route("/", "shop")]);
    scene.cluster("shop", &[backend("shop").await]);
    scene.apply().await;
    assert_eq!(ask().await, (200, "shop /check hello".into()));
    assert_eq!(ask().await.0, 200);
    assert_eq!(scene.proxy.clusters().get("shop").unwrap().connections(), 1, "its connection is used again");
    scene.cluster("shop", &[nobody().await]);
    scene.apply().await;
    let moved = async {
        while ask().await.0 != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, moved).await.expect("nobody is there any more");
}

/// Reaches all that is behind tunnels directly, and keeps who was to be there.
#[derive(Clone, Default)]
struct Expecting(Arc<Mutex<Vec<String>>>);

impl Connect for Expecting {
    fn connect(&self, target: Target) -> Connecting {
        let identities = target.tunnel.iter().flat_map(|tunnel| &tunnel.identities);
        self.0.lock().unwrap().push(identities.map(ToString::to_string).collect());
        Box::pin(async move { Ok(Box::new(TcpStream::connect(target.address).await?) as Box<dyn Transport>) })
    }
}

#[tokio::test]
async fn who_must_prove_to_be_another_is_connected_to_anew() {
    let (expecting, address) = (Expecting::default(), backend("shop").await);
    let mut scene = Scene::with(Settings { connect: Arc::new(expecting.clone()), ..Settings::default() });
    scene.http(|_| {});
    scene.routes(vec![route("/", "shop")]);
    scene.cluster("shop", &[]);
    for (identity, weight, dialled) in [("one", 1, 1), ("one", 2, 1), ("other", 2, 2)] {
        let mut endpoint = Endpoint::new(address);
        endpoint.weight = std::num::NonZero::new(weight).unwrap();
        let id = format!("spiffe://td/ns/shop/sa/{identity}").parse().unwrap();
        endpoint.tunnel = Some(Tunnel { identities: vec![id], ..Tunnel::default() });
        let place = LocalityEndpoints::new(Locality::default(), vec![endpoint]);
        let assignment = Assignment::new("shop", vec![place]);
        scene.resources.assignments.insert("shop".into(), Arc::new(assignment));
        scene.apply().await;
        for _ in 0..2 {
            assert!(scene.get("/").await.ends_with("shop / "));
        }
        let asked = expecting.0.lock().unwrap().clone();
        assert_eq!(asked.len(), dialled, "{asked:?}");
        assert!(asked.last().is_some_and(|last| last.ends_with(identity)), "{asked:?}");
    }
}
