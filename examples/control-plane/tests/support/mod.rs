//! The control plane as a process.
#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

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

    pub async fn serve(mut self) -> Self {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.path("settings.yaml"));
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until("it is ready", || self.get("/healthz/ready").is_some_and(|answer| answer.contains("200 OK"))).await;
        self
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub fn metrics(&self) -> String {
        self.get("/metrics").unwrap()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
            }
        }
    }
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
