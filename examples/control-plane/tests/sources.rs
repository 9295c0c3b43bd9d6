//! Sources of a control plane that runs: several at once, broken, restarted, called by webhooks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

#[path = "support/git.rs"]
mod git;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::git::Remote;
use crate::support::{Region, ports, until};

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{clusterIP: 10.0.0.1, ports: [{{port: 80}}]}}\n"
    )
}

impl Region {
    /// Other sources than the directory.
    fn sources(&self, sources: &str) {
        let settings = std::fs::read_to_string(self.path("settings.yaml")).unwrap();
        let kept: String =
            settings.lines().filter(|line| !line.starts_with("sources:")).map(|line| format!("{line}\n")).collect();
        let state = self.path("state");
        self.write("settings.yaml", &format!("{kept}state_dir: {}\nsources:\n{sources}", state.display()));
    }

    fn page(&self, path: &str) -> Value {
        let answer = self.get(path).unwrap_or_default();
        serde_json::from_str(answer.split_once("\r\n\r\n").map_or("null", |(_, body)| body)).unwrap_or_default()
    }

    fn serves(&self, name: &str) -> bool {
        self.page("/config_dump").to_string().contains(&format!("shop/{name}.shop.svc.cluster.local"))
    }

    fn finds(&self, text: &str) -> bool {
        self.page("/findings").to_string().contains(text)
    }

    fn source(&self, name: &str) -> Value {
        let sources = self.page("/sources");
        sources.as_array().into_iter().flatten().find(|source| source["name"] == name).cloned().unwrap_or_default()
    }

    /// Ends it and begins anew with the same files.
    async fn restart(mut self, meanwhile: impl FnOnce(&Self)) -> Self {
        self.stop();
        meanwhile(&self);
        self.serve().await
    }
}

#[tokio::test]
async fn a_bad_file_holds_itself_and_nothing_else_and_a_restart_in_between_changes_nothing() {
    let region = Region::new("td.test");
    region.settings(&format!("state_dir: {}\n", region.path("state").display()));
    region.write("manifests/a.yaml", &service("a"));
    region.write("manifests/b.yaml", &service("b"));
    let region = region.serve().await;
    assert!(region.serves("a") && region.serves("b"));
    region.write(
        "manifests/a.yaml",
        &(service("a2") + "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {clusterIP: bad}\n"),
    );
    region.write("manifests/b.yaml", &service("b2"));
    until("the good file is taken", || region.serves("b2")).await;
    assert!(region.serves("a") && !region.serves("a2") && region.finds("`bad` is no IP address"));

    let region = region.restart(|region| region.write("manifests/b.yaml", &service("b3"))).await;
    until("the good file is taken", || region.serves("b3")).await;
    assert!(region.serves("a") && !region.serves("a2") && region.finds("`bad` is no IP address"));

    // Without the directory what was served last is served, and marked.
    let region = region.restart(|region| std::fs::rename(region.path("manifests"), region.path("away")).unwrap()).await;
    until("it is told", || region.finds("cannot be read")).await;
    assert!(region.serves("a") && region.serves("b3") && region.finds("before the restart"));
    assert!(region.source("directory")["restored_age_seconds"].is_u64(), "{}", region.source("directory"));
    std::fs::rename(region.path("away"), region.path("manifests")).unwrap();
    region.write("manifests/a.yaml", &service("a2"));
    until("the mended file is taken", || region.serves("a2")).await;
    until("nothing is wrong", || !region.finds("error") && !region.finds("restart")).await;
}

#[tokio::test]
async fn a_repository_and_a_directory_are_served_together_and_a_webhook_says_when_to_look() {
    let remote = Remote::new();
    remote.write("east/a.yaml", service("a"));
    remote.write("east/both.yaml", service("both").replace("80", "81"));
    let first = remote.commit();
    let region = Region::new("td.test");
    region.write("manifests/local.yaml", &service("local"));
    region.write("manifests/both.yaml", &service("both"));
    region.write("secret", "a secret\n");
    let [hooks] = ports();
    let secret = region.path("secret");
    region.sources(&format!(
        "- {{name: local, directory: {}}}\n- {{name: fleet, git: {{url: '{}', branch: main, path: east, \
         interval_seconds: 3600, webhook_secret_file: {}}}}}\nwebhooks: 127.0.0.1:{hooks}\n",
        region.path("manifests").display(),
        remote.url(),
        secret.display()
    ));
    let region = region.serve().await;
    assert!(region.serves("a") && region.serves("local"));
    assert!(region.finds("is shadowed by local:both.yaml:1"), "{}", region.page("/findings"));
    assert_eq!(region.source("fleet")["revision"], first.as_str());
    let metrics = region.metrics();
    for line in [
        format!("mesh_control_plane_source_revision{{source=\"fleet\",revision=\"{first}\"}} 1"),
        "mesh_control_plane_source_files{source=\"fleet\"} 2".to_owned(),
        "mesh_control_plane_source_ready{source=\"local\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }

    let call = |name: &str, secret: &[u8]| {
        let body = "{\"ref\": \"refs/heads/main\"}";
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", hooks)).unwrap();
        let head = format!(
            "POST /hooks/git/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        write!(stream, "{head}x-hub-signature-256: sha256={tag}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(call("fleet", b"another secret"), "401");
    assert_eq!(call("nobody", b"a secret"), "404");
    remote.write("east/a.yaml", service("a2"));
    remote.write("east/bad.yaml", "a: [");
    let bad = remote.commit();
    assert_eq!(call("fleet", b"a secret"), "202");
    until("the bad commit is told of", || region.finds(&format!("commit {bad} is not taken"))).await;
    assert!(region.serves("a") && !region.serves("a2") && region.finds("bad.yaml"));
    assert_eq!(region.source("fleet")["revision"], first.as_str());

    // The remote is away: what was taken last is served after a restart.
    let work = remote.work();
    let region = region.restart(|_| std::fs::rename(&work, remote.path("away")).unwrap()).await;
    until("it is told", || region.finds("could not fetch")).await;
    assert!(region.serves("a") && region.serves("local") && region.finds("before the restart"));

    std::fs::rename(remote.path("away"), remote.work()).unwrap();
    std::fs::remove_file(remote.work().join("east/bad.yaml")).unwrap();
    let mended = remote.commit();
    assert_eq!(call("fleet", b"a secret"), "202");
    until("the mended commit is taken", || region.source("fleet")["revision"] == mended.as_str()).await;
    until("it is served", || region.serves("a2")).await;
    assert!(!region.finds("before the restart"));

    remote.git(&["reset", "--quiet", "--hard", "HEAD^^"]);
    remote.write("east/a.yaml", service("a3"));
    remote.commit();
    assert_eq!(call("fleet", b"a secret"), "202");
    until("another history is taken, and told of", || region.serves("a3") && region.finds("was rewritten")).await;
    let refused = (0..40).map(|_| call("fleet", b"wrong")).filter(|status| status == "429").count();
    assert!(refused > 0, "calls are limited");
}

#[tokio::test]
async fn settings_of_sources_that_cannot_be_used_are_named() {
    for (sources, told) in [
        ("[]", "there is none"),
        ("[{name: a}]", "give one of"),
        ("[{directory: a, git: {url: 'file:///x', branch: main}}]", "give one of"),
        ("[{directory: a}, {directory: b}]", "name of two"),
        ("[{name: A, directory: a}]", "small letters"),
        ("[{name: ../a, directory: a}]", "small letters"),
        ("[{name: '', directory: a}]", "small letters"),
        ("[{git: {url: 'file:///x', branch: main}}]", "state_dir"),
        ("[{directory: a, on_eror: file}]", "on_eror"),
        ("directory", "a list of sources, or one"),
        ("{directory: a, poll_interval: 1}", "poll_interval"),
    ] {
        let region = Region::new("td.test");
        let settings = std::fs::read_to_string(region.path("settings.yaml")).unwrap();
        let kept: String =
            settings.lines().filter(|line| !line.starts_with("sources:")).map(|line| format!("{line}\n")).collect();
        region.write("settings.yaml", &format!("{kept}sources: {sources}\n"));
        let refused = region.run(&["serve"]);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(told), "{sources}: {error}");
    }
}

/// Needs its namespace, wherever that stands; keeps what is marked.
#[cfg(feature = "rego")]
const POLICY: &str = "package p
import rego.v1
deny contains sprintf(\"namespace %v is not there\", [input.request.namespace]) if {
    input.request.kind.kind == \"Service\"
    input.request.operation != \"DELETE\"
    not data.inventory.cluster.v1.Namespace[input.request.namespace]
}
deny contains \"it is protected\" if {
    input.request.operation == \"DELETE\"
    input.request.oldObject.metadata.annotations.protected == \"true\"
}
";

#[cfg(feature = "rego")]
#[tokio::test]
async fn policies_see_all_sources_and_what_goes_out_of_each() {
    let remote = Remote::new();
    let protected = service("kept").replace("namespace: shop", "namespace: shop, annotations: {protected: 'true'}");
    remote.write("a.yaml", service("a"));
    remote.write("kept.yaml", &protected);
    remote.commit();
    let region = Region::new("td.test");
    std::fs::create_dir(region.path("policies")).unwrap();
    region.write("policies/p.rego", POLICY);
    region.write("manifests/namespace.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n");
    region.write("manifests/held.yaml", &protected.replace("kept", "held"));
    region.settings(&format!("admission: {{rego: {}}}\n", region.path("policies").display()));
    region.sources(&format!(
        "- {{name: local, directory: {}}}\n- {{name: fleet, git: {{url: '{}', branch: main, interval_seconds: 1}}}}\n",
        region.path("manifests").display(),
        remote.url()
    ));
    // Of whichever source: the namespace is there.
    let region = region.serve().await;
    until("all is served", || ["a", "kept", "held"].iter().all(|name| region.serves(name))).await;

    // A commit that takes away what is protected does not take effect, with nothing that is in it.
    let first = region.source("fleet")["revision"].clone();
    std::fs::remove_file(remote.work().join("kept.yaml")).unwrap();
    remote.write("b.yaml", service("b"));
    remote.commit();
    until("it is denied", || region.finds("it is protected") && region.finds("is not taken")).await;
    assert!(region.serves("kept") && !region.serves("b") && region.source("fleet")["revision"] == first);
    // A later one that still lacks it does not either; one that has it does.
    remote.write("b.yaml", service("c"));
    remote.commit();
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert!(region.serves("kept") && !region.serves("c") && region.finds("it is protected"));
    remote.write("elsewhere.yaml", &protected);
    remote.commit();
    until("it only moved", || region.serves("c") && !region.finds("it is protected")).await;

    // So with a file.
    std::fs::rename(region.path("manifests/held.yaml"), region.path("held.yaml")).unwrap();
    until("it is denied", || region.finds("it is protected")).await;
    assert!(region.serves("held"));
    std::fs::rename(region.path("held.yaml"), region.path("manifests/held.yaml")).unwrap();
    until("it is back", || !region.finds("it is protected")).await;

    // What does not change is not broken by what does: the namespace of what is served stays.
    std::fs::remove_file(region.path("manifests/namespace.yaml")).unwrap();
    until("it is denied", || region.finds("namespace shop is not there")).await;
    let objects = region.page("/debug/world").to_string();
    assert!(objects.contains("Namespace shop") && region.serves("held"), "{objects}");
    // A policy that allows it lets it go.
    region.write("policies/p.rego", "package p\nimport rego.v1\ndeny contains \"no\" if input.request.name == \"x\"\n");
    until("it may go", || !region.page("/debug/world").to_string().contains("Namespace shop")).await;
    until("nothing is denied", || !region.finds("is not there (policy")).await;
}

#[tokio::test]
async fn readiness_names_the_sources_that_have_not_spoken_and_one_that_is_lost_later_is_stale() {
    let remote = Remote::new();
    remote.write("a.yaml", service("a"));
    remote.commit();
    let region = Region::new("td.test");
    region.write("manifests/local.yaml", &service("local"));
    let (away, work) = (remote.path("away"), remote.work());
    std::fs::rename(&work, &away).unwrap();
    let optional = region.path("nowhere");
    region.sources(&format!(
        "- {{name: local, directory: {}}}\n- {{name: fleet, git: {{url: '{}', branch: main, interval_seconds: 1}}}}\n\
         - {{name: extra, directory: {}, required: false}}\n",
        region.path("manifests").display(),
        remote.url(),
        optional.display()
    ));
    let region = region.begin();
    let ready = |region: &Region| region.get("/healthz/ready").unwrap_or_default();
    until("it says for what it waits", || ready(&region).contains("503")).await;
    until("it has looked", || region.source("fleet")["failing"] == true && region.source("local")["ready"] == true)
        .await;
    until("only the lost one is waited for", || {
        ready(&region).ends_with("waiting for: configuration, source `fleet`\n")
    })
    .await;
    assert!(!region.serves("local"), "half of what there is may be less protected than the whole");
    let source = region.source("fleet");
    assert_eq!((&source["state"], &source["required"]), (&Value::from("unreadable"), &Value::from(true)), "{source}");
    assert_eq!(region.source("extra")["required"], false);

    std::fs::rename(&away, &work).unwrap();
    until("it is ready", || ready(&region).contains("200 OK")).await;
    until("it serves", || region.serves("a") && region.serves("local")).await;
    let source = region.source("fleet");
    assert_eq!(
        (&source["state"], &source["failing"], &source["stale_seconds"]),
        (&Value::from("taken"), &Value::from(false), &Value::from(0)),
        "{source}"
    );

    // Lost again: what it said goes on, and how old that is can be seen.
    std::fs::rename(&work, &away).unwrap();
    until("it is told", || region.source("fleet")["stale_seconds"].as_u64().is_some_and(|seconds| seconds >= 2)).await;
    assert!(ready(&region).contains("200 OK") && region.serves("a"));
    let metrics = region.metrics();
    let figure = |name: &str| {
        let prefix = format!("mesh_control_plane_{name}{{source=\"fleet\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse::<u64>().unwrap()
    };
    assert_eq!((figure("source_failing"), figure("source_ready")), (1, 1));
    assert!(figure("source_stale_seconds") >= 2);

    // After a restart too, from the moment at which it was kept.
    let region = region.restart(|_| ()).await;
    until("it has looked", || region.source("fleet")["failing"] == true).await;
    assert!(region.serves("a") && region.source("fleet")["stale_seconds"].as_u64().is_some_and(|seconds| seconds >= 2));
    std::fs::rename(&away, &work).unwrap();
    until("it is there again", || region.source("fleet")["failing"] == false).await;
    assert_eq!(region.source("fleet")["stale_seconds"], 0);
}
