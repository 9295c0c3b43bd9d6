//! Our waypoint, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::mesh::Mesh;
use crate::process::Process;

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
    Process::start(command.arg("--config").arg(path("yaml")), path("log"), at).await
}
