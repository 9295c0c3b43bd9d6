//! A mesh of servers and clients around a waypoint, on loopback addresses of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::Identity;
use mesh_test_support::pki::{Ca, Spec};

use crate::backend;

/// The servers: their names, and the last number of their address.
const SERVERS: [(&str, u8); 4] = [("carts", 2), ("canary", 3), ("shadow", 4), ("authz", 5)];

pub struct Mesh {
    pub dir: tempfile::TempDir,
    identities: Identities,
    /// Tells this mesh from others of this process.
    number: u8,
    seen: Seen,
}

/// What servers were asked.
pub type Seen = Arc<Mutex<Vec<String>>>;

impl Mesh {
    pub async fn new(number: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("authority")).unwrap();
        let domain = parse_trust_domain("cluster.local").unwrap();
        let authority = Authority::open(&dir.path().join("authority"), domain, Rules::default(), Arc::new(SystemClock));
        let authority = Arc::new(authority.unwrap());
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let bundles = BundleSet::default().with(authority.bundle());
        let identities = Identities::builder(Arc::new(source), bundles).build();
        let mesh = Self { dir, identities, number, seen: Seen::default() };
        for (name, host) in SERVERS {
            let identity = mesh.identity(name).await;
            backend::start(name, mesh.ip(host), identity, Arc::clone(&mesh.seen)).await;
        }
        mesh.outside().await;
        mesh
    }

    /// Servers outside the mesh: one for the web, one that knows the mesh but has no tunnels.
    async fn outside(&self) {
        let ca = Ca::root("outside.test");
        std::fs::write(self.dir.path().join("outside.pem"), pem::encode("CERTIFICATE", &ca.certificate)).unwrap();
        let leaf = ca.leaf(&Spec { dns: vec!["api.example".into()], ..Spec::new("spiffe://outside.test/api") });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(leaf.chain, leaf.key).unwrap();
        let at = |host| SocketAddr::new(self.ip(host), 8443);
        backend::start_outside("outside", at(6), Arc::new(config), Arc::clone(&self.seen)).await;
        let legacy = self.identity("legacy").await.server_config(&[]).unwrap();
        backend::start_outside("legacy", at(7), legacy, Arc::clone(&self.seen)).await;
    }

    pub fn ip(&self, host: u8) -> IpAddr {
        let process = u8::try_from(std::process::id() % 250).unwrap();
        Ipv4Addr::new(127, 90 + self.number, process, host).into()
    }

    /// Where a waypoint ends tunnels.
    pub fn waypoint(&self, index: usize) -> SocketAddr {
        SocketAddr::new(self.ip(100 + u8::try_from(index).unwrap()), 15008)
    }

    /// Writes the manifests of a topic down, in which servers are at 127.0.0.
    pub fn manifests(&self, topic: &Path) -> std::path::PathBuf {
        let file = self.dir.path().join(topic.file_name().unwrap());
        let text = std::fs::read_to_string(topic).unwrap().replace("127.0.0.", self.prefix().as_str());
        std::fs::write(&file, text.replace("/directory/", &format!("{}/", self.dir.path().display()))).unwrap();
        file
    }

    /// An authority as cases write it, in terms of the addresses here.
    pub fn authority(&self, text: &str) -> String {
        text.replace("127.0.0.", &self.prefix())
    }

    fn prefix(&self) -> String {
        self.ip(0).to_string().strip_suffix('0').unwrap().to_owned()
    }

    pub async fn identity(&self, name: &str) -> Identity {
        self.identities.identity(&id(name)).await.unwrap()
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether a server is asked this, soon.
    pub async fn saw(&self, what: &str) -> bool {
        for _ in 0..500 {
            if self.seen.lock().unwrap().iter().any(|seen| seen == what) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

pub fn id(name: &str) -> SpiffeId {
    parse_spiffe_id(&format!("spiffe://cluster.local/ns/shop/sa/{name}")).unwrap()
}
