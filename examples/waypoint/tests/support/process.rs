//! The programs of a scene, as processes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use super::{Block, until};

/// Port of the way into the mesh, at each workload's own address.
pub const SOCKS_PORT: u16 = 15080;

const NODES: [&str; 3] = ["node-a", "node-b", "node-w"];

/// What this test program is to run as, and the file of settings.
const PART: &str = "MESH_TEST_PART";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Waypoint,
    ControlPlane,
    NodeProxy,
}

/// Where the control plane, the waypoint and the node proxies of a scene listen, and who they are.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    pub block: Block,
    pub directory: &'a Path,
}

impl Cast<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A control plane over the directory `manifests`, with the authority of the directory `authority`.
    pub fn control_plane(&self) -> Process {
        let Self { block, directory } = self;
        let directory = directory.display();
        let nodes = NODES.map(|node| {
            fs::write(self.path(&format!("{node}.token")), format!("0123456789abcdef0123456789-{node}")).unwrap();
            format!("{{name: {node}, token_file: {directory}/{node}.token}}")
        });
        let settings = format!(
            "listen: {}\nadmin: {}\nsources: {{directory: {directory}/manifests, poll_interval_ms: 20}}\n\
             authority: {{dir: {directory}/authority}}\nnodes: [{}]\n",
            block.at(1, 15012),
            block.at(1, 15014),
            nodes.join(", "),
        );
        self.start(Program::ControlPlane, "control-plane", &settings, block.at(1, 15014))
    }

    /// A node proxy for the workloads of this node, with its admin endpoint at this host of the block.
    pub fn node_proxy(&self, node: &str, host: u8) -> Process {
        let (directory, admin) = (self.directory.display(), self.block.at(host, 15000));
        let settings = format!(
            "node: {node}\n{}state_dir: {directory}/{node}\nadmin: {admin}\nsocks5_port: {SOCKS_PORT}\n",
            self.joining(node)
        );
        self.start(Program::NodeProxy, node, &settings, admin)
    }

    /// The waypoint, programmed by the control plane, with a state that outlives it.
    pub fn waypoint(&self) -> Process {
        self.waypoint_with(&format!("{}state_dir: {}/waypoint\n", self.joining("node-w"), self.directory.display()))
    }

    /// The waypoint, with these settings of who programs it.
    pub fn waypoint_with(&self, programmed: &str) -> Process {
        let (ip, admin) = (self.block.waypoint(), self.block.at(10, 15000));
        let settings = format!(
            "waypoint: {{name: waypoint, namespace: shop, pod: waypoint-1, ip: {ip}}}\nhbone: {ip}:15008\n\
             admin: {admin}\ndrain_seconds: 2\n{programmed}",
        );
        self.start(Program::Waypoint, "waypoint", &settings, admin)
    }

    /// How a program of this node joins the mesh of the control plane.
    fn joining(&self, node: &str) -> String {
        let directory = self.directory.display();
        format!(
            "control_plane: {}\ntrust_bundle: {directory}/authority/root-cert.pem\ntoken_file: {directory}/{node}.token\n",
            self.block.at(1, 15012),
        )
    }

    fn start(&self, program: Program, name: &str, settings: &str, admin: SocketAddr) -> Process {
        let file = self.path(&format!("{name}.settings.yaml"));
        fs::write(&file, settings).unwrap();
        let log = self.path(&format!("{name}.log"));
        let mut command = match program {
            Program::Waypoint => Command::new(env!("CARGO_BIN_EXE_waypoint")),
            // The others are binaries of other packages, which cargo does not build for these tests.
            _ => Command::new(std::env::current_exe().unwrap()),
        };
        match program {
            Program::Waypoint => command.arg("--config").arg(&file),
            _ => command
                .args(["plays_a_part", "--exact", "--nocapture", "--test-threads=1"])
                .env(PART, format!("{program:?} {}", file.display())),
        };
        // Anew: what is awaited in it must not be of an earlier life.
        let log_file = fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log_file).spawn().unwrap();
        Process { child, name: name.to_owned(), admin, log }
    }
}

/// The other programs of a scene: in a test of its own, which does nothing when tests are run.
pub fn play() {
    let Ok(part) = std::env::var(PART) else { return };
    let (program, file) = part.split_once(' ').unwrap();
    let words = |words: &[&str]| words.iter().map(|word| (*word).into()).collect::<Vec<_>>().into_iter();
    let ended = match program {
        "ControlPlane" => mesh_control_plane::main_with_args(words(&["control-plane", "serve", "--config", file])),
        "NodeProxy" => mesh_node_proxy::main_with_args(words(&["node-proxy", "--config", file])),
        _ => panic!("no such part: {part}"),
    };
    assert_eq!(ended, ExitCode::SUCCESS);
}

/// A program that runs; it ends with its handle.
pub struct Process {
    child: Child,
    name: String,
    admin: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// A page of its admin endpoint, head and all; `None` while nobody listens there.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub fn is_ready(&self) -> bool {
        self.get("/healthz/ready").is_some_and(|answer| answer.contains("200 OK"))
    }

    pub async fn ready(&mut self) {
        let what = format!("{} is ready", self.name);
        until(&what, async || {
            assert!(self.child.try_wait().unwrap().is_none(), "{} has ended", self.name);
            self.is_ready()
        })
        .await;
    }

    /// Whether its log holds this.
    pub fn has_told(&self, text: &str) -> bool {
        fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    /// Kills it at once, as a lost machine does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asked to end, it drains and ends well.
    pub async fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut ended = None;
        until("it ends", async || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        assert!(ended.unwrap().success(), "{} ended badly", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("== {}\n{}", self.name, fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Replaces a file whole.
pub fn replace(path: &Path, text: &str) {
    let scratch = path.with_extension("scratch");
    fs::write(&scratch, text).unwrap();
    fs::rename(&scratch, path).unwrap();
}
