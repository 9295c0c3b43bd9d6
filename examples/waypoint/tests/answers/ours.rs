//! Our waypoint, as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::mesh::Mesh;

/// A waypoint that ends with the test.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub async fn start(mesh: &Mesh, at: SocketAddr, topic: &Path) -> Self {
        let name = topic.file_stem().unwrap().to_string_lossy();
        let path = |end: &str| mesh.dir.path().join(format!("{name}.ours.{end}"));
        let settings = format!(
            "waypoint: {{name: waypoint, namespace: shop, pod: waypoint-1, ip: {}}}\nhbone: {at}\nadmin: {}:15000\n\
             manifests: {}\nlocal_authority: {}\nlocality: {{region: eu, zone: a}}\n",
            at.ip(),
            at.ip(),
            mesh.manifests(topic).display(),
            mesh.dir.path().join("authority").display(),
        );
        std::fs::write(path("yaml"), settings).unwrap();
        let log = path("log");
        let child = Command::new(env!("CARGO_BIN_EXE_waypoint"))
            .arg("--config")
            .arg(path("yaml"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut running = Self { child, log };
        for attempt in 0.. {
            if TcpStream::connect(at).await.is_ok() {
                break;
            }
            let ended = running.child.try_wait().unwrap().is_some();
            assert!(attempt < 600 && !ended, "{name}: the waypoint does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
