//! The waypoint as a process, between tunnels: programmed by manifests, and by the control plane.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as Plain};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authz::PolicySet;
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::Live;
use mesh_core::name::{ServiceAccount, SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_core::resolve::{Destination, Tunnel};
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use mesh_transport::hbone::ConnectHeaders;
use mesh_transport::hbone::pool::Pool;
use mesh_transport::proxy::{Drain, Inbound, Inputs, OutboundStream, Tracker, Tunnels};
use mesh_transport::socket::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(20);

/// Addresses of this process: others run beside it.
fn ip(host: u8) -> IpAddr {
    Ipv4Addr::new(127, 77, u8::try_from(std::process::id() % 250).unwrap(), host).into()
}

fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn id(name: &str) -> SpiffeId {
    parse_spiffe_id(&format!("spiffe://cluster.local/ns/shop/sa/{name}")).unwrap()
}

fn manifests(first: &str) -> String {
    let (one, two) = (ip(11), ip(12));
    format!(
        r#"
kind: Namespace
metadata: {{name: shop, labels: {{istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: waypoint, namespace: shop}}
spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}
---
kind: Pod
metadata: {{name: waypoint-1, namespace: shop, labels: {{gateway.networking.k8s.io/gateway-name: waypoint}}}}
spec: {{nodeName: node-a, serviceAccountName: waypoint}}
status: {{podIP: {}}}
---
kind: Service
metadata: {{name: carts, namespace: shop}}
spec: {{clusterIP: 10.1.0.1, selector: {{app: one}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
kind: Service
metadata: {{name: canary, namespace: shop}}
spec: {{clusterIP: 10.1.0.2, selector: {{app: two}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
kind: Pod
metadata: {{name: one, namespace: shop, labels: {{app: one}}}}
spec: {{nodeName: node-a, serviceAccountName: one}}
status: {{podIP: {one}, conditions: [{{type: Ready, status: "True"}}]}}
---
kind: Pod
metadata: {{name: two, namespace: shop, labels: {{app: two}}}}
spec: {{nodeName: node-a, serviceAccountName: two}}
status: {{podIP: {two}, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: carts, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: carts}}]
  rules:
  - matches: [{{headers: [{{name: x-canary, value: "yes"}}]}}]
    filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-by, value: waypoint}}]}}}}]
    backendRefs: [{{name: canary, port: 80}}]
  - backendRefs: [{{name: {first}, port: 80}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-admin, namespace: shop}}
spec:
  targetRefs: [{{group: "", kind: Service, name: carts}}]
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/admin*]}}}}]}}, {{from: [{{source: {{serviceAccounts: [shop/thief]}}}}]}}]
"#,
        ip(10)
    )
}

/// A scene of two servers behind tunnels, a client, and what they trust.
struct Scene {
    dir: tempfile::TempDir,
    identities: Identities,
    tasks: Tasks,
    tracker: Tracker,
    pool: Pool,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("authority")).unwrap();
        let domain = parse_trust_domain("cluster.local").unwrap();
        let authority = Authority::open(&dir.path().join("authority"), domain, Rules::default(), Arc::new(SystemClock));
        let authority = Arc::new(authority.unwrap());
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let bundles = BundleSet::default().with(authority.bundle());
        let identities = Identities::builder(Arc::new(source), bundles).build();
        let tracker = Tracker::new(Arc::new(()));
        let scene = Self { dir, identities, tasks: Tasks::default(), tracker, pool: Pool::new() };
        scene.server("one", 11).await;
        scene.server("two", 12).await;
        scene
    }

    /// An application that says its name and the request's line and headers, behind its node proxy.
    async fn server(&self, name: &'static str, host: u8) {
        let domain = parse_trust_domain("cluster.local").unwrap();
        let mut workload = Workload::new(name, domain.clone(), "shop", name).unwrap();
        workload.identity = ServiceAccount::new(domain, "shop", name).unwrap();
        workload.addresses = vec![ip(host)];
        workload.tunnel = TunnelProtocol::Hbone;
        let mut delta = Delta::new();
        delta.upsert_workload(workload);
        let (catalog, policies) = (Catalog::default().apply(delta), PolicySet::default());
        let inputs = Inputs::new(Live::constant(catalog), Live::constant(policies), self.identities.clone());
        let inbound = Inbound::new(inputs, name, self.identities.identity(&id(name)).await.unwrap()).unwrap();
        let listener = Listener::bind(SocketAddr::new(ip(host), 15008)).unwrap();
        self.tasks.spawn(inbound.serve(listener, Drain::new()));
        let application = TcpListener::bind(SocketAddr::new(ip(host), 8080)).await.unwrap();
        self.tasks.spawn(async move {
            loop {
                let (mut stream, _) = application.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let body = format!("{name}\n{}", String::from_utf8_lossy(&head));
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A tunnel to the waypoint for this authority.
    async fn tunnel(&self, from: &str, authority: &str) -> Result<OutboundStream, mesh_transport::proxy::Error> {
        let identity = self.identities.identity(&id(from)).await.unwrap();
        let out = Tunnels::new(self.pool.clone(), identity, self.tracker.clone(), self.tasks.clone());
        let authority: Destination = authority.parse().unwrap();
        let to = SocketAddr::new(ip(10), 15008);
        let tunnel = Tunnel { to, authority, expected: vec![id("waypoint")] };
        out.open(&tunnel, SocketAddr::new(ip(1), 1), &ConnectHeaders::default()).await
    }

    async fn get(&self, from: &str, authority: &str, path: &str, headers: &str) -> String {
        let mut stream = self.tunnel(from, authority).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: carts\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

/// The waypoint.
struct Process {
    child: Child,
    admin: u16,
    log: PathBuf,
}

impl Process {
    fn start(scene: &Scene, programmed: &str) -> Self {
        let admin = free();
        let settings = format!(
            "waypoint: {{name: waypoint, namespace: shop, pod: waypoint-1, ip: {ip}}}\nhbone: {ip}:15008\n\
             admin: 127.0.0.1:{admin}\ndrain_seconds: 2\n{programmed}",
            ip = ip(10),
        );
        fs::write(scene.path("waypoint.yaml"), settings).unwrap();
        let log = scene.path("waypoint.log");
        let child = Command::new(env!("CARGO_BIN_EXE_waypoint"))
            .arg("--config")
            .arg(scene.path("waypoint.yaml"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, admin, log }
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = Plain::connect(("127.0.0.1", self.admin)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    async fn ready(&mut self) {
        for _ in 0..1000 {
            if self.get("/healthz/ready").is_some_and(|answer| answer.contains("200 OK")) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the waypoint has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the waypoint does not become ready: {:?}", self.get("/healthz/ready"));
    }

    /// Asked to end, it drains and ends well.
    fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn name_of(answer: &str) -> &str {
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().lines().next().unwrap_or_default()
}

/// What every waypoint must do, however it is programmed.
async fn behaves(scene: &Scene, waypoint: &Process) {
    let answer = scene.get("client", "10.1.0.1:80", "/cart", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(name_of(&answer), "one", "{answer}");
    let answer = scene.get("client", "10.1.0.1:80", "/cart", "x-canary: yes\r\n").await;
    assert_eq!(name_of(&answer), "two", "{answer}");
    assert!(answer.contains("x-by: waypoint"), "{answer}");
    let answer = scene.get("client", "carts.shop.svc.cluster.local:80", "/cart", "").await;
    assert_eq!(name_of(&answer), "one", "by host name: {answer}");

    for (from, path) in [("client", "/admin/x"), ("client", "/%61dmin"), ("client", "/a/../admin"), ("thief", "/cart")]
    {
        let answer = scene.get(from, "10.1.0.1:80", path, "").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{from} {path}: {answer}");
        assert!(answer.ends_with("RBAC: access denied"), "{answer}");
    }

    for stranger in ["10.9.9.9:80", "10.1.0.1:81", "elsewhere.example:80", "127.0.0.1:22"] {
        let error = scene.tunnel("client", stranger).await.unwrap_err();
        let text = mesh_core::report::chain(&error);
        assert!(text.contains("unknown_destination"), "never an open proxy: {stranger}: {text}");
    }

    let metrics = waypoint.get("/metrics").unwrap();
    let counted =
        metrics.lines().find(|line| line.contains("istio_requests_total") && line.contains("\"403\"")).unwrap();
    assert!(counted.contains("source_principal=\"spiffe://cluster.local/ns/shop/sa/"), "{counted}");
    let dump = waypoint.get("/config_dump").unwrap();
    assert!(dump.contains("inbound-vip|80|http|carts.shop.svc.cluster.local"), "{dump}");
}

fn replace(path: &Path, text: &str) {
    let scratch = path.with_extension("scratch");
    fs::write(&scratch, text).unwrap();
    fs::rename(&scratch, path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programmed_by_manifests_and_changed_without_a_failed_request() {
    let scene = Scene::new().await;
    let file = scene.path("mesh.yaml");
    fs::write(&file, manifests("carts")).unwrap();
    let programmed = format!(
        "manifests: {}\npoll_interval_ms: 20\nlocal_authority: {}\n",
        file.display(),
        scene.path("authority").display()
    );
    let mut waypoint = Process::start(&scene, &programmed);
    waypoint.ready().await;
    behaves(&scene, &waypoint).await;

    // What is wrong leaves in force what was.
    replace(&file, "kind: HTTPRoute\nspec: 7\n");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(name_of(&scene.get("client", "10.1.0.1:80", "/cart", "").await), "one");

    // While requests come, the default backend changes: none of them fails.
    replace(&file, &manifests("canary"));
    let mut changed = false;
    for _ in 0..200 {
        let answer = scene.get("client", "10.1.0.1:80", "/cart", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        changed |= name_of(&answer) == "two";
        if changed {
            break;
        }
    }
    assert!(changed, "the change takes effect");
    waypoint.end();
}
