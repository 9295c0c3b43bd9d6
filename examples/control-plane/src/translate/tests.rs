//! Golden translations: a directory of manifests and, beside it, what node proxies receive. With `MESH_GOLDEN_WRITE=1` in
//! the environment the expected texts are written anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use mesh_core::authz::{Action, Connection, PolicyDelta, PolicySet, Verdict, evaluate};
use mesh_core::name::{SpiffeId, parse_trust_domain};
use mesh_core::service::IpFamilies;

use super::*;
use crate::admission::admit;
use crate::source::dir;

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "c1")
}

fn of(directory: &Path) -> (Translation, String) {
    let (world, findings) = admit(&dir::read(directory).unwrap()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let translation = translate(&world, &place());
    let mut text = String::new();
    for workload in &translation.workloads {
        let name = workload.hostname.as_ref().map(ToString::to_string).unwrap_or_default();
        let addresses: Vec<_> = workload.addresses.iter().map(ToString::to_string).collect();
        writeln!(text, "workload {}", workload.uid).unwrap();
        writeln!(
            text,
            "  {} node={} {:?} {:?} at {}{name} capacity={}",
            workload.identity,
            workload.node,
            workload.tunnel,
            workload.health,
            addresses.join(","),
            workload.capacity
        )
        .unwrap();
        writeln!(
            text,
            "  canonical {}/{} locality {}",
            workload.canonical_name, workload.canonical_revision, workload.locality
        )
        .unwrap();
        if let Some(waypoint) = &workload.waypoint {
            writeln!(text, "  waypoint {waypoint}").unwrap();
        }
        for policy in &workload.policies {
            writeln!(text, "  policy {policy}").unwrap();
        }
        for (key, ports) in &workload.services {
            let ports: Vec<_> =
                ports.iter().map(|port| format!("{}->{}", port.service_port, port.target_port.unwrap_or(0))).collect();
            writeln!(text, "  endpoint of {key} {}", ports.join(" ")).unwrap();
        }
    }
    for service in &translation.services {
        let vips: Vec<_> = service.vips.iter().map(|(_, range)| range.to_string()).collect();
        let ports: Vec<_> = service
            .ports
            .iter()
            .map(|port| format!("{}->{} {:?}", port.service_port, port.target_port.unwrap_or(0), port.protocol))
            .collect();
        writeln!(
            text,
            "service {}\n  vips {} canonical={} {:?}\n  ports {}\n  {:?}",
            service.key,
            vips.join(","),
            service.canonical,
            service.visibility,
            ports.join(", "),
            service.load_balancing
        )
        .unwrap();
        if service.ip_families != IpFamilies::Automatic {
            writeln!(text, "  families {:?}", service.ip_families).unwrap();
        }
        if let Some(waypoint) = &service.waypoint {
            writeln!(text, "  waypoint {waypoint}").unwrap();
        }
        for (waypoint, share) in &service.weighted_waypoints {
            writeln!(text, "  of {share} {waypoint}").unwrap();
        }
    }
    for policy in &translation.policies {
        writeln!(
            text,
            "policy {} {:?} {:?}{}",
            policy.name,
            policy.scope,
            policy.action,
            if policy.dry_run { " dry run" } else { "" }
        )
        .unwrap();
        for rule in &policy.rules {
            writeln!(text, "  rule").unwrap();
            for clause in &rule.clauses {
                for entry in &clause.matches {
                    let shown = format!("{entry:?}");
                    let fields = shown.trim_start_matches("Match { ").trim_end_matches(" }").split("], ");
                    let said: Vec<_> = fields.filter(|field| !field.trim_end_matches(']').ends_with('[')).collect();
                    writeln!(text, "    {}", said.join("], ")).unwrap();
                }
            }
        }
    }
    for finding in findings {
        writeln!(text, "{finding}").unwrap();
    }
    (translation, text)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch between comparing and writing")]
fn golden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let directory = entry.unwrap().path();
        let (_, text) = of(&directory);
        let expected = directory.join("expected.txt");
        if std::env::var("MESH_GOLDEN_WRITE").is_ok() {
            fs::write(&expected, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), text, "{}", directory.display());
        count += 1;
    }
    assert!(count >= 3, "{count} topics");
}

/// Verdicts for a peer with and without identity, per workload and port.
fn allowed(translation: &Translation, workload: &str, port: u16, identity: bool) -> bool {
    let mut delta = PolicyDelta::new();
    translation.policies.iter().for_each(|policy| delta.upsert(policy.clone()));
    let policies = PolicySet::default().apply(delta);
    let workload = translation.workloads.iter().find(|candidate| candidate.name == workload).unwrap();
    let peer: SpiffeId = "spiffe://cluster.local/ns/a/sa/b".parse().unwrap();
    let connection = Connection {
        peer: identity.then_some(&peer),
        source: "10.0.0.1".parse().unwrap(),
        destination: (workload.addresses[0], port).into(),
    };
    matches!(evaluate(&policies, workload, &connection), Verdict::Allowed(_))
}

#[test]
fn peer_authentication_means_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/peer-authentication");
    let (translation, _) = of(&root);
    for (workload, port, plaintext) in [
        ("strict-by-namespace", 80, false),
        ("open-by-selector", 80, true),
        ("one-port-strict", 80, true),
        ("one-port-strict", 8443, false),
        ("one-port-open", 80, false),
        ("one-port-open", 9090, true),
        ("elsewhere", 80, true),
    ] {
        assert_eq!(allowed(&translation, workload, port, false), plaintext, "{workload}:{port} in plaintext");
        assert!(allowed(&translation, workload, port, true), "{workload}:{port} with an identity");
    }
    assert!(translation.policies.iter().all(|policy| policy.action == Action::Deny));
}
