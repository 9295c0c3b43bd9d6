//! Our waypoint, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mesh::Mesh;
use crate::process::{Process, SOON};

pub async fn start(mesh: &Mesh, at: SocketAddr, topic: &Path) -> Process {
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypoint"));
    let process = Process::start(command.arg("--config").arg(path("yaml")), path("log"), at).await;
    // It listens before it serves.
    let ready = async {
        while !is_ready(SocketAddr::new(at.ip(), 15000)).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, ready).await.expect("the waypoint becomes ready");
    process
}

async fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin).await else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /healthz/ready HTTP/1.0\r\n\r\n").await;
    asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.contains("200 OK")
}
