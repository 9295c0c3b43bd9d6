//! A real Envoy, as a process.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use mesh_control_plane::standalone;
use mesh_control_plane::translate::Place as MeshPlace;
use mesh_control_plane::translate::waypoint::Flavour;
use mesh_core::name::{Locality, NamespacedName, parse_trust_domain};
use mesh_identity::pem;
use mesh_test_support::pki::{Ca, Spec};
use prost::Message;

use crate::bootstrap::bootstrap;
use crate::mesh::Mesh;
use crate::process::Process;
use crate::still;

/// Where it is.
pub fn program() -> OsString {
    std::env::var_os("MESH_ENVOY").expect("MESH_ENVOY names an Envoy")
}

pub async fn start(program: &OsStr, mesh: &Mesh, at: SocketAddr, topic: &Path) -> Process {
    let (mut listeners, clusters, assignments) = resources(&mesh.manifests(topic));
    for listener in &mut listeners {
        if let Some(Place::SocketAddress(socket)) =
            listener.address.as_mut().and_then(|address| address.address.as_mut())
        {
            socket.address = at.ip().to_string();
        }
        for socket in listener.filter_chains.iter_mut().filter_map(|chain| chain.transport_socket.as_mut()) {
            still::downstream(socket);
        }
    }
    let clusters = clusters.into_iter().map(|cluster| still::cluster(cluster, &assignments)).collect();
    let svid = mesh.identity("waypoint").await.svid().unwrap().to_pem();
    let roots = std::fs::read_to_string(mesh.dir.path().join("authority/root-cert.pem")).unwrap();
    let secrets = still::secrets(svid.clone(), svid, roots);
    let path = |end: &str| mesh.dir.path().join(format!("{}.{end}", topic.file_stem().unwrap().to_string_lossy()));
    std::fs::write(path("pb"), bootstrap(listeners, clusters, secrets).encode_to_vec()).unwrap();
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--component-log-level", "connection:debug", "-c"]);
    Process::start(command.arg(path("pb")), path("envoy.log"), at).await
}

/// Whether Envoy takes what some manifests come to. It looks for the files that are named.
pub fn validate(program: &OsStr, directory: &Path) {
    let work = tempfile::tempdir().unwrap();
    let ca = Ca::root("outside.test");
    let leaf = ca.leaf(&Spec::new("spiffe://outside.test/client"));
    for (name, text) in [
        ("ca.pem", pem::encode("CERTIFICATE", &ca.certificate)),
        ("cert.pem", leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()),
        ("key.pem", pem::encode("PRIVATE KEY", leaf.key.secret_der())),
    ] {
        std::fs::write(work.path().join(name), text).unwrap();
    }
    let text = std::fs::read_to_string(directory.join("mesh.yaml")).unwrap();
    let manifests = work.path().join("mesh.yaml");
    std::fs::write(&manifests, text.replace("/etc/tls/", &format!("{}/", work.path().display()))).unwrap();
    let (listeners, clusters, _) = resources(&manifests);
    let file = work.path().join("bootstrap.pb");
    std::fs::write(&file, bootstrap(listeners, clusters, Vec::new()).encode_to_vec()).unwrap();
    let output = Command::new(program).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", directory.display());
}

/// The resources of the waypoint of some manifests.
fn resources(manifests: &Path) -> (Vec<Listener>, Vec<Cluster>, Vec<ClusterLoadAssignment>) {
    let place = MeshPlace::new(parse_trust_domain("cluster.local").unwrap(), "c1");
    let waypoint = NamespacedName::new("shop", "waypoint");
    let (resources, _) = standalone::resources(manifests, &place, &waypoint, &Locality::new("eu", "a", ""))
        .unwrap_or_else(|findings| panic!("{findings:#?}"));
    let [(_, clusters), (_, assignments), (_, listeners)] = resources.encode(Flavour::Envoy, &place.trust_domain);
    (decoded(&listeners), decoded(&clusters), decoded(&assignments))
}

fn decoded<T: Message + Default>(all: &[(String, Vec<u8>)]) -> Vec<T> {
    all.iter().map(|(_, bytes)| T::decode(bytes.as_slice()).unwrap()).collect()
}
