//! The control plane as a process: nodes that attest, regions that federate, settings that are refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_identity::attest::{Evidence, JoinTokenEvidence, X509PopEvidence};
use mesh_identity::bundle::Bundle;
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::source::SvidSource;
use mesh_identity::spire::{Joining, Node};
use mesh_identity::trust::TrustStore;
use mesh_test_support::pki::{Ca, Leaf, Spec};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::support::{BINARY, Region, ports, until};

impl Region {
    /// A section in which nodes may attest.
    fn spire(&self, more: &str) -> String {
        let dir = self.dir.path().display();
        format!(
            "spire: {{listen: \"127.0.0.1:{}\", dir: {dir}/spire, entries: {dir}/entries.json{more}}}\n",
            self.spire
        )
    }

    fn entries(&self, all: &[(&str, &str)]) {
        let entry = |(id, parent): &(&str, &str)| {
            let domain = self.trust_domain;
            format!(
                r#"{{"spiffe_id": "spiffe://{domain}{id}", "parent_id": "spiffe://{domain}{parent}",
                    "selectors": [{{"type": "unix", "value": "uid:1"}}]}}"#
            )
        };
        let all: Vec<String> = all.iter().map(entry).collect();
        self.write("entries.json", &format!(r#"{{"entries": [{}]}}"#, all.join(",")));
    }

    async fn join(&self, evidence: impl Evidence) -> Result<Node, String> {
        let trust_domain = parse_trust_domain(self.trust_domain).unwrap();
        let trust = TrustStore::builder(Arc::new(SystemClock)).build();
        let roots = std::fs::read(self.path("authority/root-cert.pem")).unwrap();
        trust.own(Bundle::from_pem(trust_domain.clone(), &roots).unwrap());
        let joining = Joining {
            server: format!("127.0.0.1:{}", self.spire),
            trust,
            evidence: Arc::new(evidence),
            trust_domain,
            directory: None,
            clock: Arc::new(SystemClock),
        };
        joining.join().await.map_err(|error| mesh_core::report::chain(&error))
    }
}

/// Certificate and key in one text.
fn text(leaf: &Leaf) -> String {
    let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    chain + &pem::encode("PRIVATE KEY", leaf.key.secret_der())
}

async fn entries_of(node: &Node) -> usize {
    node.sync().await.unwrap();
    node.entries().load().as_ref().map_or(0, |entries| entries.all().len())
}

#[tokio::test]
async fn nodes_attest_and_get_the_identities_that_the_entries_give_them() {
    let machines = Ca::root("machines.test");
    let region = Region::new("td.test");
    region.write("machines.pem", &pem::encode("CERTIFICATE", &machines.certificate));
    region.settings(&region.spire(&format!(", x509pop: {}", region.path("machines.pem").display())));
    region.entries(&[("/web", "/fleet/edge")]);
    let region = region.serve().await;

    let made = region.run(&["join-token", "--path", "/fleet/edge"]);
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let node = region.join(JoinTokenEvidence::new(token.clone())).await.unwrap();
    assert_eq!(entries_of(&node).await, 1);
    let web = parse_spiffe_id("spiffe://td.test/web").unwrap();
    assert_eq!(node.source().fetch(&web).await.unwrap().svid.id(), &web);
    let again = region.join(JoinTokenEvidence::new(token)).await.err().unwrap();
    assert!(again.contains("unknown join token"), "{again}");

    let leaf = machines.leaf(&Spec::new("spiffe://machines.test/m"));
    let machine = X509PopEvidence::from_pem(text(&leaf).as_bytes(), text(&leaf).as_bytes()).unwrap();
    let machine = region.join(machine).await.unwrap();
    assert!(machine.identity().id().path().starts_with("/spire/agent/x509pop/"));
    assert_eq!(entries_of(&machine).await, 0);
    let strange = Ca::root("machines.test").leaf(&Spec::new("spiffe://machines.test/m"));
    let strange = X509PopEvidence::from_pem(text(&strange).as_bytes(), text(&strange).as_bytes()).unwrap();
    assert!(region.join(strange).await.is_err());

    // The entries are followed; wrong ones are told of, and those before stay.
    region.entries(&[("/web", "/fleet/edge"), ("/db", "/fleet/edge")]);
    for _ in 0..500 {
        if entries_of(&node).await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(entries_of(&node).await, 2);
    region.write("entries.json", "{}");
    let told = || std::fs::read_to_string(region.path("log")).unwrap().contains("is not taken");
    until("the wrong entries are told of", told).await;
    assert_eq!(entries_of(&node).await, 2);
}

#[tokio::test]
async fn regions_federate_and_a_renewed_web_certificate_is_presented() {
    let web = Ca::root("web.test");
    let certificate = || web.leaf(&Spec { uris: vec![], dns: vec!["localhost".to_owned()], ..Spec::new("") });
    let first = certificate();
    let [bundles] = ports();
    let served = Region::new("a.test");
    served.write("web.pem", &text(&first));
    let file = served.path("web.pem");
    served.settings(&format!("federation: {{listen: \"127.0.0.1:{bundles}\", certificate: {}}}\n", file.display()));
    let served = served.serve().await;

    let asking = Region::new("b.test");
    asking.write("roots.pem", &pem::encode("CERTIFICATE", &web.certificate));
    let roots = asking.path("roots.pem");
    asking.settings(&format!(
        "federation: {{peers: [{{trust_domain: a.test, url: \"https://localhost:{bundles}/\", roots: {}}}]}}\n",
        roots.display()
    ));
    let asking = asking.serve().await;
    let known = |metrics: &str, name: &str, domain: &str| {
        metrics.contains(&format!("mesh_control_plane_{name}{{trust_domain=\"{domain}\"}}"))
    };
    until("the other region is known", || known(&asking.metrics(), "trust_bundle_left_seconds", "a.test")).await;
    // Scrapes beside each other never find a figure missing.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let metrics = asking.metrics();
                    assert!(known(&metrics, "trust_bundle_age_seconds", "a.test"), "{metrics}");
                    assert!(known(&metrics, "trust_bundle_age_seconds", "b.test"), "{metrics}");
                    assert!(!known(&metrics, "trust_bundle_left_seconds", "b.test"), "our own has no end");
                }
            });
        }
    });
    for name in ["authority_left_seconds", "clients", "findings"] {
        assert!(asking.metrics().contains(&format!("mesh_control_plane_{name} ")), "{name}");
    }

    let roots = std::fs::read(&roots).unwrap();
    assert_eq!(presented(bundles, &roots).await, first.chain[0].to_vec());
    let second = certificate();
    served.write("web.pem", &text(&second));
    for _ in 0..500 {
        if presented(bundles, &roots).await == second.chain[0].to_vec() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(presented(bundles, &roots).await, second.chain[0].to_vec());
    served.write("web.pem", "no certificate");
    let told = || std::fs::read_to_string(served.path("log")).unwrap().contains("is not taken");
    until("the wrong certificate is told of", told).await;
    assert_eq!(presented(bundles, &roots).await, second.chain[0].to_vec());
}

/// The certificate that a server of the Web presents.
async fn presented(port: u16, roots: &[u8]) -> Vec<u8> {
    let config = mesh_identity::tls::server_named_client(roots, &[b"h2"]).unwrap();
    let tcp = tokio::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(config).connect(name, tcp).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn settings_that_cannot_work_are_refused_and_named() {
    let spire = |region: &Region, more: &str| {
        region.entries(&[("/web", "/fleet/edge")]);
        region.spire(more)
    };
    type Row<'a> = (&'a str, &'a dyn Fn(&Region) -> String, &'a str);
    let file = |region: &Region, text: &str| {
        region.write("file", text);
        region.path("file").display().to_string()
    };
    let rows: &[Row<'_>] = &[
        ("an unknown setting", &|_| "survive_partition: 3\n".into(), "survive_partition"),
        ("entries that are not there", &|region| region.spire(""), "entries.json"),
        (
            "entries that are none",
            &|region| {
                region.write("entries.json", "[]");
                region.spire("")
            },
            "entries.json",
        ),
        ("an administrator without name", &|region| spire(region, ", administrators: [admin]"), "SPIFFE"),
        (
            "machines without authority",
            &|region| spire(region, &format!(", x509pop: {}", file(region, "nothing"))),
            "no CA",
        ),
        (
            "keys of a cluster that are none",
            &|region| {
                let keys = file(region, "{}");
                spire(region, &format!(", k8s_psat: [{{name: a, jwks: {keys}, issuer: i, accounts: [\"a:b\"]}}]"))
            },
            "key",
        ),
        (
            "a web certificate that is none",
            &|region| {
                let [port] = ports();
                format!("federation: {{listen: \"127.0.0.1:{port}\", certificate: {}}}\n", file(region, "nothing"))
            },
            "private key",
        ),
        (
            "a bundle that nobody verifies",
            &|region| {
                let bundle = file(region, "{}");
                format!("federation: {{peers: [{{trust_domain: b.test, url: \"https://b/\", bundle: {bundle}}}]}}\n")
            },
            "endpoint_id",
        ),
        (
            "federation with itself",
            &|_| "federation: {peers: [{trust_domain: td.test, url: \"https://b/\"}]}\n".into(),
            "td.test",
        ),
        ("an empty token", &|region| format!("nodes: [{{name: a, token_file: {}}}]\n", file(region, "\n")), "16 bytes"),
        ("a node without token", &|_| "nodes: [{name: a}]\n".into(), "neither"),
        ("a partition beyond all", &|_| "survive_partition_days: 1000\n".into(), "partition"),
    ];
    for (row, more, told) in rows {
        let region = Region::new("td.test");
        region.settings(&more(&region));
        refused(row, &region, told);
    }
}

#[test]
fn lives_that_contradict_each_other_are_refused_and_short_ones_are_kept() {
    for (authority, survive, told) in [
        (", svid_ttl_seconds: 7200, max_svid_ttl_seconds: 3600", "", "7200"),
        (", svid_ttl_seconds: 600, max_svid_ttl_seconds: 600, min_svid_ttl_seconds: 700", "", "600"),
        (", max_svid_ttl_seconds: 3600", "survive_partition_days: 3\n", "max_svid_ttl_seconds"),
        (", max_svid_ttl_seconds: 999999999", "", "at most"),
    ] {
        let region = Region::new("td.test");
        let known = std::fs::read_to_string(region.path("settings.yaml")).unwrap();
        region.write("settings.yaml", &(known.replace("/authority}", &format!("/authority{authority}}}")) + survive));
        refused(authority, &region, told);
    }
}

fn refused(row: &str, region: &Region, told: &str) {
    let config = region.path("settings.yaml");
    let mut child = Command::new(BINARY)
        .args([Path::new("serve"), Path::new("--config"), &config])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(region.path("log")).unwrap())
        .spawn()
        .unwrap();
    let mut status = None;
    for _ in 0..500 {
        status = child.try_wait().unwrap();
        if status.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = std::fs::read_to_string(region.path("log")).unwrap();
    assert!(status.is_some_and(|status| !status.success()), "{row}: it serves\n{log}");
    let last = log.lines().rfind(|line| line.starts_with("control-plane: ")).unwrap_or_default();
    assert!(last.contains(told), "{row}: {told} is not in\n{log}");
}

#[test]
fn join_tokens_are_made_for_nodes_of_this_trust_domain() {
    let region = Region::new("td.test");
    let without = region.run(&["join-token"]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("no section `spire`"), "{without:?}");
    region.settings(&region.spire(""));
    for (arguments, told) in [
        (&["--path", "fleet/edge"][..], "does not begin with /"),
        (&["--path", "/fleet//edge"], "SPIFFE"),
        (&["--ttl", "18446744073709551615"], "ttl"),
        (&["--ttl", "0"], "ttl"),
    ] {
        let refused = region.run(&[&["join-token"], arguments].concat());
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(told), "{refused:?}");
    }
    let made = region.run(&["join-token", "--ttl", "60"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(String::from_utf8(made.stdout).unwrap().trim().len(), 36);
}
