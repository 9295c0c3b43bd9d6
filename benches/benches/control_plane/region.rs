//! The control plane as a process of its own, and what it uses.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::live::Publisher;
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::source::{CsrSource, Identities, TokenSource};
use mesh_identity::tls::server_authenticated_client;
use mesh_identity::verify::Expected;
use tonic::transport::{Channel, Endpoint};

use crate::world::{Changed, Layout, Size};

/// The argument by which this program is the control plane; what follows are the arguments of that.
pub const ROLE: &str = "--as-control-plane";

/// The token of `node-0`.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How long the control plane waits between two looks at the directory.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A control plane that serves a mesh from a directory.
pub struct Region {
    directory: tempfile::TempDir,
    layout: Layout,
    size: Size,
    admin: u16,
    mesh: u16,
    child: Child,
    /// From the start of the process to the moment at which it said to be ready.
    pub cold: Duration,
}

impl Region {
    /// Writes the manifests and starts a control plane. Returns when it is ready.
    pub async fn start(layout: Layout, size: Size) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().to_owned();
        fs::create_dir(at.join("manifests")).unwrap();
        layout.write(&at.join("manifests"), size);
        fs::write(at.join("token"), TOKEN).unwrap();
        let [admin, mesh] = ports();
        let settings = format!(
            "listen: 127.0.0.1:{mesh}\nadmin: 127.0.0.1:{admin}\nlog: {{level: warn}}\n\
             sources: {{directory: {0}/manifests, poll_interval_ms: {1}}}\nauthority: {{dir: {0}/authority}}\n\
             nodes: [{{name: node-0, token_file: {0}/token}}]\n",
            at.display(),
            BETWEEN_LOOKS.as_millis()
        );
        fs::write(at.join("settings.yaml"), settings).unwrap();
        let start = Instant::now();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([ROLE, "serve", "--config"]).arg(at.join("settings.yaml"));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut region = Self { directory, layout, size, admin, mesh, child, cold: Duration::ZERO };
        while !region.is_ready() {
            assert!(region.child.try_wait().unwrap().is_none(), "the control plane has ended");
            assert!(start.elapsed() < Duration::from_secs(300), "the control plane does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        region.cold = start.elapsed();
        region
    }

    fn is_ready(&self) -> bool {
        let answer = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
            write!(stream, "GET /healthz/ready HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        };
        answer().is_some_and(|answer| answer.contains("200 OK"))
    }

    /// Makes the file ready in which something is changed.
    pub fn prepare(&self, changed: Changed) -> Prepared {
        let (path, text) = self.layout.changed(self.size, changed);
        let beside = self.path("changed");
        fs::write(&beside, text).unwrap();
        Prepared { beside, path: self.path("manifests").join(path) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A channel of somebody who has no certificate, over a connection of its own.
    pub fn nobody(&self) -> Channel {
        let (_, bundles) = Publisher::new(self.bundles());
        let config = server_authenticated_client(bundles, expected(), Arc::new(SystemClock), &[b"h2"]).unwrap();
        self.channel(config)
    }

    /// A channel by the certificate of an identity that the token of `node-0` is good for.
    pub async fn of(&self, id: &str) -> Channel {
        let token = TokenSource::Fixed(TOKEN.into());
        let source = CsrSource::new(self.nobody(), token, Duration::from_secs(3600), Arc::new(SystemClock));
        let identities = Identities::builder(Arc::new(source), self.bundles()).build();
        let identity = identities.identity(&parse_spiffe_id(id).unwrap()).await.unwrap();
        self.channel(identity.client_config(expected(), &[b"h2"]).unwrap())
    }

    fn channel(&self, config: Arc<rustls::ClientConfig>) -> Channel {
        let connector = Connector::new(config).to(format!("127.0.0.1:{}", self.mesh));
        let endpoint = Endpoint::from_static("http://localhost");
        let endpoint = endpoint.initial_stream_window_size(1024 * 1024).initial_connection_window_size(4 * 1024 * 1024);
        endpoint.connect_with_connector_lazy(connector)
    }

    fn bundles(&self) -> BundleSet {
        let roots = fs::read(self.path("authority/root-cert.pem")).unwrap();
        BundleSet::default().with(Bundle::from_pem(parse_trust_domain("cluster.local").unwrap(), &roots).unwrap())
    }

    /// Waits until it has nothing more to do than to look at its directory.
    pub async fn quiet(&self) -> Duration {
        let start = Instant::now();
        loop {
            let share = self.share(Duration::from_secs(2)).await;
            if share < 0.9 || start.elapsed() > Duration::from_secs(90) {
                return start.elapsed();
            }
        }
    }

    /// CPU time of one look at the directory when nothing has changed: from the share of a processor that the looks take.
    pub async fn look(&self) -> Duration {
        let share = self.share(Duration::from_secs(3)).await;
        BETWEEN_LOOKS.mul_f64(share / (1.0 - share).max(0.01))
    }

    async fn share(&self, of: Duration) -> f64 {
        let (before, start) = (self.cpu(), Instant::now());
        tokio::time::sleep(of).await;
        (self.cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64()
    }

    /// CPU time of its process so far, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // The name of the program, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Resident memory of its process in bytes: now, and at its largest.
    pub fn memory(&self) -> (usize, usize) {
        let text = fs::read_to_string(self.proc("status")).unwrap();
        let of = |name: &str| -> usize {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A changed file that lies beside the manifests.
pub struct Prepared {
    beside: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Puts it in the place of the file. Gives when that was.
    pub fn take_place(self) -> Instant {
        let start = Instant::now();
        fs::rename(self.beside, self.path).unwrap();
        start
    }
}

fn expected() -> Expected {
    Expected::Ids(vec![parse_spiffe_id("spiffe://cluster.local/ns/istio-system/sa/control-plane").unwrap()])
}

/// Ports that nobody has.
fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
