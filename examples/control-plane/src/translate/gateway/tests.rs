//! Golden translations: a directory of manifests and, beside it, what each of its Gateways is programmed with. With
//! `MESH_GOLDEN_WRITE=1` in the environment the expected texts are written anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use mesh_core::listener::FilterChain;
use mesh_core::tls::SecretKind;
use mesh_xds::envoy::LISTENER_TYPE;
use mesh_xds::envoy::cluster::decode_cluster;
use mesh_xds::envoy::endpoint::decode_assignment;
use mesh_xds::envoy::listener::decode_listener;
use mesh_xds::envoy::route::decode_route_table;
use mesh_xds::envoy::tls::decode_secret;

use super::*;
use crate::admission::admit;
use crate::source::dir;
use crate::translate::Waypoints;
use crate::translate::waypoint::Flavour;
use crate::translate::waypoint::tests::{place, show_clusters, show_table, show_terminal};

/// The Gateways of a directory.
fn of(directory: &Path) -> Vec<(NamespacedName, Resources)> {
    let (world, _) = admit(&dir::read(directory).unwrap()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let waypoints = Waypoints::new(&world, &place());
    let locality = Locality::new("eu", "a", "");
    waypoints.gateways().map(|key| (key.clone(), waypoints.gateway(key, &locality))).collect()
}

fn topics() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-gateway");
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn shown(key: &NamespacedName, resources: &Resources) -> String {
    let mut text = format!("gateway {key}\n");
    for listener in &resources.listeners {
        let socket = listener.socket().unwrap();
        writeln!(text, "listener {} at {:?} {:?}", listener.name, socket.addresses, socket.inspectors).unwrap();
        socket.chains.iter().for_each(|chain| show_chain(&mut text, chain));
    }
    for table in &resources.routes {
        writeln!(text, "routes {}", table.config().name).unwrap();
        for host in table.config().hosts.iter().filter(|host| host.routes.is_empty()) {
            writeln!(text, "  nothing for {:?}", host.domains).unwrap();
        }
        show_table(&mut text, table);
    }
    show_clusters(&mut text, &resources.clusters, &resources.assignments);
    for secret in &resources.secrets {
        let kind = match &secret.kind {
            SecretKind::Certificate(_) => "certificate",
            SecretKind::Validation(_) => "validation",
            SecretKind::Generic { .. } => "generic",
        };
        writeln!(text, "secret {} ({kind})", secret.name).unwrap();
    }
    // Authorities byte by byte say nothing.
    let is_said = |line: &&str| line.trim_end_matches(',').trim_start().parse::<u8>().is_err();
    text.lines().filter(is_said).map(|line| format!("{line}\n")).collect()
}

fn show_chain(text: &mut String, chain: &FilterChain) {
    let names: Vec<_> = chain.matcher.server_names.iter().map(ToString::to_string).collect();
    writeln!(text, "chain {} for {:?} {}", chain.name, chain.matcher.transport_protocol, names.join(",")).unwrap();
    if let Some(tls) = &chain.tls {
        writeln!(text, "  tls by {:?}, clients {:?}, {:?}", tls.certificates, tls.client, tls.alpn).unwrap();
    }
    show_terminal(text, chain);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch between comparing and writing")]
fn golden() {
    let topics = topics();
    for directory in &topics {
        let text: String = of(directory).iter().map(|(key, resources)| shown(key, resources)).collect();
        let expected = directory.join("expected.txt");
        if std::env::var("MESH_GOLDEN_WRITE").is_ok() {
            fs::write(&expected, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), text, "{}", directory.display());
    }
    assert!(topics.len() >= 8, "{} topics", topics.len());
}

#[test]
fn what_is_sent_is_what_is_meant() {
    let mut count = 0;
    for (_, resources) in topics().iter().flat_map(|directory| of(directory)) {
        let trust_domain = place().trust_domain;
        let [(_, clusters), (_, assignments), (_, listeners), (_, routes), (_, secrets)] =
            resources.encode(Flavour::Mesh, &trust_domain);
        for (listener, (_, bytes)) in resources.listeners.iter().zip(&listeners) {
            let decoded = decode_listener(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (listener, 0));
        }
        for (table, (_, bytes)) in resources.routes.iter().zip(&routes) {
            let decoded = decode_route_table(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (table, 0));
        }
        for (cluster, (_, bytes)) in resources.clusters.iter().zip(&clusters) {
            let decoded = decode_cluster(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (cluster, 0));
        }
        for (assignment, (_, bytes)) in resources.assignments.iter().zip(&assignments) {
            let decoded = decode_assignment(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (assignment, 0));
        }
        for (secret, (_, bytes)) in resources.secrets.iter().zip(&secrets) {
            let decoded = decode_secret(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (secret, 0));
        }
        let named = |names: &[(String, Vec<u8>)]| names.len();
        assert_eq!(named(&listeners), resources.listeners.len());
        // A real Envoy is given the way into tunnels besides.
        let of_envoy = resources.encode(Flavour::Envoy, &trust_domain);
        let listeners = of_envoy.iter().find(|(url, _)| *url == LISTENER_TYPE).map(|(_, all)| all).unwrap();
        assert_eq!(listeners.last().map(|(name, _)| name.as_str()), Some("connect_originate"));
        count += 1;
    }
    assert!(count >= 8, "{count} Gateways");
}
