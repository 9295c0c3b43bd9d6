//! Servers behind tunnels and a client of tunnels, all within the test: what the waypoint sees of node proxies.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authz::PolicySet;
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::Live;
use mesh_core::name::{ServiceAccount, parse_trust_domain};
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use mesh_identity::verify::Expected;
use mesh_transport::hbone::ConnectHeaders;
use mesh_transport::hbone::pool::Pool;
use mesh_transport::proxy::{Drain, End, Inbound, Inputs, OutboundStream, Tracker, Tunnels};
use mesh_transport::socket::Listener;

use super::process::{Cast, Process};
use super::{Block, application, ask, id, name_of};

/// Two servers behind tunnels, clients, and what they trust.
pub struct Scene {
    pub block: Block,
    directory: tempfile::TempDir,
    identities: Identities,
    tasks: Tasks,
    tracker: Tracker,
    pool: Pool,
}

impl Scene {
    /// With the servers `one` and `two`.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["authority", "manifests"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let domain = parse_trust_domain("cluster.local").unwrap();
        let path = directory.path().join("authority");
        let authority = Arc::new(Authority::open(&path, domain, Rules::default(), Arc::new(SystemClock)).unwrap());
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let bundles = BundleSet::default().with(authority.bundle());
        let identities = Identities::builder(Arc::new(source), bundles).build();
        let (tracker, tasks) = (Tracker::new(Arc::new(())), Tasks::default());
        let scene = Self { block: Block::new(), directory, identities, tasks, tracker, pool: Pool::new() };
        scene.server("one", 11).await;
        scene.server("two", 12).await;
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn cast(&self) -> Cast<'_> {
        Cast { block: self.block, directory: self.directory.path() }
    }

    /// An application behind its node proxy.
    async fn server(&self, name: &'static str, host: u8) {
        let domain = parse_trust_domain("cluster.local").unwrap();
        let mut workload = Workload::new(name, domain.clone(), "shop", name).unwrap();
        workload.identity = ServiceAccount::new(domain, "shop", name).unwrap();
        workload.addresses = vec![self.block.ip(host)];
        workload.tunnel = TunnelProtocol::Hbone;
        let mut delta = Delta::new();
        delta.upsert_workload(workload);
        let (catalog, policies) = (Catalog::default().apply(delta), PolicySet::default());
        let inputs = Inputs::new(Live::constant(catalog), Live::constant(policies), self.identities.clone());
        let inbound = Inbound::new(inputs, name, self.identities.identity(&id(name)).await.unwrap()).unwrap();
        let listener = Listener::bind(self.block.at(host, 15008)).unwrap();
        self.tasks.spawn(inbound.serve(listener, Drain::new()));
        application::http(name, self.block.at(host, 8080)).await;
    }

    /// A tunnel to the waypoint for this authority.
    pub async fn tunnel(&self, from: &str, authority: &str) -> Result<OutboundStream, mesh_transport::proxy::Error> {
        let identity = self.identities.identity(&id(from)).await.unwrap();
        let out = Tunnels::new(self.pool.clone(), identity, self.tracker.clone(), self.tasks.clone());
        let to = SocketAddr::new(self.block.waypoint(), 15008);
        let end = End { authority: authority.parse().unwrap(), expected: Expected::Ids(vec![id("waypoint")]) };
        out.open(to, &end, self.block.at(1, 1), &ConnectHeaders::default()).await
    }

    pub async fn get(&self, from: &str, authority: &str, path: &str, headers: &str) -> String {
        ask(self.tunnel(from, authority).await.unwrap(), path, headers).await
    }

    /// The name of whom the waypoint sends requests to by default.
    pub async fn default_backend(&self) -> String {
        let answer = self.get("client", "10.1.0.1:80", "/cart", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        name_of(&answer).to_owned()
    }

    /// Asks until the default backend is this one; no request may fail.
    pub async fn becomes(&self, name: &str) {
        super::until(&format!("requests go to {name}"), async || self.default_backend().await == name).await;
    }

    /// What every waypoint must do with [`mesh`](super::manifests::mesh), however it is programmed.
    pub async fn behaves(&self, waypoint: &Process) {
        assert_eq!(self.default_backend().await, "one");
        let answer = self.get("client", "10.1.0.1:80", "/cart", "x-canary: yes\r\n").await;
        assert_eq!(name_of(&answer), "two", "{answer}");
        assert!(answer.contains("x-by: waypoint"), "{answer}");
        let answer = self.get("client", "carts.shop.svc.cluster.local:80", "/cart", "").await;
        assert_eq!(name_of(&answer), "one", "by host name: {answer}");
        let to_workload = self.block.at(12, 8080).to_string();
        let answer = self.get("client", &to_workload, "/cart", "").await;
        assert_eq!(name_of(&answer), "two", "addressed to the workload: {answer}");

        for (from, authority, path) in [
            ("client", "10.1.0.1:80", "/admin/x"),
            ("client", "10.1.0.1:80", "/%61dmin"),
            ("client", "10.1.0.1:80", "/a/../admin"),
            ("thief", "10.1.0.1:80", "/cart"),
            ("client", to_workload.as_str(), "/closed"),
        ] {
            let answer = self.get(from, authority, path, "").await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{from} {authority} {path}: {answer}");
            assert!(answer.ends_with("RBAC: access denied"), "{answer}");
        }

        for stranger in ["10.9.9.9:80", "10.1.0.1:81", "elsewhere.example:80", "127.0.0.1:22"] {
            let error = self.tunnel("client", stranger).await.unwrap_err();
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

    /// Replaces the manifests in the directory that the control plane follows.
    pub fn publish(&self, text: &str) {
        super::process::replace(&self.path("manifests").join("mesh.yaml"), text);
    }
}
