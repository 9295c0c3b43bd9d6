//! A real Envoy as a waypoint: what it says to what it would be programmed with, and what it then does. Needs one: its path in
//! `MESH_ENVOY`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod bootstrap;
mod peer;
mod still;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
use tokio::net::{TcpListener, TcpStream};

use crate::bootstrap::bootstrap;

fn envoy() -> Option<OsString> {
    let envoy = std::env::var_os("MESH_ENVOY");
    if envoy.is_none() {
        eprintln!("SKIPPED: MESH_ENVOY names no Envoy");
    }
    envoy
}

/// The resources of the waypoint of some manifests.
fn resources(manifests: &Path) -> (Vec<Listener>, Vec<Cluster>, Vec<ClusterLoadAssignment>) {
    let place = MeshPlace {
        trust_domain: parse_trust_domain("cluster.local").unwrap(),
        cluster_id: "c1".into(),
        network: String::new(),
        root_namespace: "istio-system".into(),
        cluster_domain: "cluster.local".into(),
    };
    let waypoint = NamespacedName::new("shop", "waypoint");
    let (resources, _) = standalone::resources(manifests, &place, &waypoint, &Locality::new("eu", "a", "")).unwrap();
    let [(_, clusters), (_, assignments), (_, listeners)] = resources.encode(Flavour::Envoy, &place.trust_domain);
    (decoded(&listeners), decoded(&clusters), decoded(&assignments))
}

fn decoded<T: Message + Default>(all: &[(String, Vec<u8>)]) -> Vec<T> {
    all.iter().map(|(_, bytes)| T::decode(bytes.as_slice()).unwrap()).collect()
}

#[test]
fn envoy_takes_what_waypoints_are_programmed_with() {
    let Some(envoy) = envoy() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-waypoint");
    let work = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root).unwrap() {
        let directory = entry.unwrap().path();
        let (listeners, clusters, _) = resources(&directory);
        let file = work.path().join("bootstrap.pb");
        std::fs::write(&file, bootstrap(listeners, clusters, Vec::new()).encode_to_vec()).unwrap();
        let output = Command::new(&envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", directory.display());
    }
}

/// An Envoy that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_is_a_waypoint() {
    let Some(envoy) = envoy() else { return };
    // Tunnels end at port 15008 of an address; these are of nobody else.
    let (waypoint, workload): (SocketAddr, SocketAddr) =
        ("127.0.0.9:15008".parse().unwrap(), "127.0.0.2:15008".parse().unwrap());
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy/waypoint.yaml");
    let (mut listeners, clusters, assignments) = resources(&manifests);
    for listener in &mut listeners {
        if let Some(Place::SocketAddress(socket)) =
            listener.address.as_mut().and_then(|address| address.address.as_mut())
        {
            socket.address = waypoint.ip().to_string();
        }
        for socket in listener.filter_chains.iter_mut().filter_map(|chain| chain.transport_socket.as_mut()) {
            still::downstream(socket);
        }
    }
    let clusters = clusters.into_iter().map(|cluster| still::cluster(cluster, &assignments)).collect();
    let ca = Ca::root("cluster.local");
    let leaf = ca.leaf(&Spec::new("spiffe://cluster.local/ns/shop/sa/waypoint"));
    let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    let key = pem::encode("PRIVATE KEY", leaf.key.secret_der());
    let secrets = still::secrets(chain, key, pem::encode("CERTIFICATE", &ca.certificate));
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("bootstrap.pb");
    std::fs::write(&file, bootstrap(listeners, clusters, secrets).encode_to_vec()).unwrap();
    let log = work.path().join("log");
    let child = Command::new(&envoy)
        .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "info", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _running = Running(child);
    for attempt in 0.. {
        if TcpStream::connect(waypoint).await.is_ok() {
            break;
        }
        assert!(attempt < 300, "{}", std::fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let listener = TcpListener::bind(workload).await.unwrap();
    tokio::spawn(peer::serve(peer::identity(&ca, "spiffe://cluster.local/ns/shop/sa/carts"), listener));

    let web = peer::identity(&ca, "spiffe://cluster.local/ns/shop/sa/web");
    let other = peer::identity(&ca, "spiffe://cluster.local/ns/shop/sa/other");
    for (from, authority, path, expected) in [
        (&web, "10.1.0.1:80", "/open", "HTTP/1.1 200 OK … 127.0.0.2:8080 GET /open HTTP/1.1"),
        (&web, "10.1.0.1:80", "/api/cart", "HTTP/1.1 200 OK … 127.0.0.2:8080 GET /cart HTTP/1.1"),
        (&web, "10.1.0.1:80", "/old", "HTTP/1.1 301 Moved Permanently … "),
        (&web, "10.1.0.1:80", "/none", "HTTP/1.1 404 Not Found … "),
        (&web, "10.1.0.1:80", "/broken", "HTTP/1.1 500 Internal Server Error … "),
        (&web, "10.1.0.1:80", "/closed/x", "HTTP/1.1 403 Forbidden … RBAC: access denied"),
        (&web, "10.1.0.1:80", "/open/../closed", "HTTP/1.1 403 Forbidden … RBAC: access denied"),
        // Who calls is known by the tunnel.
        (&other, "10.1.0.1:80", "/open", "HTTP/1.1 403 Forbidden … RBAC: access denied"),
        (&web, "10.1.0.1:90", "/tcp", "HTTP/1.1 200 OK … 127.0.0.2:8090 GET /tcp HTTP/1.1"),
        (&other, "10.1.0.1:90", "/tcp", ""),
        (&web, "10.1.0.1:91", "/any", "HTTP/1.1 200 OK … 127.0.0.2:8091 GET /any HTTP/1.1"),
        // To the workload itself, at a port that a service has too, and at one that none has.
        (&other, "127.0.0.2:90", "/direct", "HTTP/1.1 200 OK … 127.0.0.2:90 GET /direct HTTP/1.1"),
        (&other, "127.0.0.2:8080", "/direct", "HTTP/1.1 200 OK … 127.0.0.2:8080 GET /direct HTTP/1.1"),
        (&other, "127.0.0.2:80", "/closed", "HTTP/1.1 403 Forbidden … RBAC: access denied"),
        // A waypoint is no open proxy.
        (&web, "10.9.9.9:80", "/open", ""),
        (&web, "10.1.0.1:92", "/open", ""),
    ] {
        let told = peer::ask(from, waypoint, authority, path).await.unwrap_or_default();
        let (head, body) = told.split_once("\r\n\r\n").unwrap_or_default();
        let told = head.lines().next().map(|line| format!("{line} … {body}")).unwrap_or_default();
        let log = || std::fs::read_to_string(&log).unwrap();
        assert_eq!(told, expected, "{} to {authority}{path}: {}", from.id(), log());
    }
}
