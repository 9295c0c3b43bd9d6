//! The control plane as a process.
#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Publisher;
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::tls::server_authenticated_client;
use mesh_identity::verify::Expected;
use tonic::transport::{Channel, Endpoint};

pub const BINARY: &str = env!("CARGO_BIN_EXE_control-plane");

/// Ports that nobody has.
pub fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A directory with all that a smallest control plane needs.
pub struct Region {
    pub dir: tempfile::TempDir,
    pub trust_domain: &'static str,
    pub admin: u16,
    pub spire: u16,
    /// Where discovery and certificates are served.
    pub mesh: u16,
    child: Option<Child>,
}

impl Region {
    pub fn new(trust_domain: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("manifests")).unwrap();
        let [admin, spire, mesh] = ports();
        let region = Self { dir, trust_domain, admin, spire, mesh, child: None };
        let settings = format!(
            "trust_domain: {trust_domain}\nlisten: 127.0.0.1:{mesh}\nadmin: 127.0.0.1:{admin}\n\
             sources: {{directory: {0}/manifests}}\nauthority: {{dir: {0}/authority}}\n",
            region.dir.path().display()
        );
        region.write("settings.yaml", &settings);
        region
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file whole.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("scratch"), text).unwrap();
        std::fs::rename(self.path("scratch"), self.path(name)).unwrap();
    }

    pub fn settings(&self, more: &str) {
        let known = std::fs::read_to_string(self.path("settings.yaml")).unwrap();
        self.write("settings.yaml", &format!("{known}{more}"));
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let config = self.path("settings.yaml");
        Command::new(BINARY).args(arguments).arg("--config").arg(config).output().unwrap()
    }

    /// Starts it, and does not wait until it serves.
    pub fn begin(mut self) -> Self {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.path("settings.yaml"));
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self
    }

    pub async fn serve(self) -> Self {
        let region = self.begin();
        until("it is ready", || region.get("/healthz/ready").is_some_and(|answer| answer.contains("200 OK"))).await;
        region
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Ends it as a crash does. It can be served again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn endpoint(&self, config: Arc<rustls::ClientConfig>) -> Channel {
        let connector = Connector::new(config).to(format!("127.0.0.1:{}", self.mesh));
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
    }

    /// A channel of somebody who has no certificate.
    pub fn nobody(&self) -> Channel {
        let (_, bundles) = Publisher::new(self.bundles());
        self.endpoint(server_authenticated_client(bundles, server(), Arc::new(SystemClock), &[b"h2"]).unwrap())
    }

    pub fn bundles(&self) -> BundleSet {
        let roots = std::fs::read(self.path("authority/root-cert.pem")).unwrap();
        BundleSet::default().with(Bundle::from_pem(parse_trust_domain("cluster.local").unwrap(), &roots).unwrap())
    }

    pub fn metrics(&self) -> String {
        self.get("/metrics").unwrap()
    }
}

impl Region {
    /// Ends the process, if there is one.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
            if std::thread::panicking() {
                eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
            }
        }
    }
}

/// Whom clients expect.
pub fn server() -> Expected {
    Expected::Ids(vec![parse_spiffe_id("spiffe://cluster.local/ns/istio-system/sa/control-plane").unwrap()])
}

/// Waits for something that comes about by itself.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not come about: {what}");
}
