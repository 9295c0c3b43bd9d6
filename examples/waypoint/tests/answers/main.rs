//! The same manifests, the same requests, the same answers: from our waypoint, and from a real Envoy where there is one, whose
//! path is in `MESH_ENVOY`. What is asked and what is to be answered is in `cases`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod backend;
mod bootstrap;
mod case;
mod client;
mod envoy;
mod mesh;
mod ours;
mod process;
mod still;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::case::{Case, Peer};
use crate::mesh::Mesh;

/// What is asked about, in the order of its names.
fn topics() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers/cases");
    let files = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut topics: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    topics.sort();
    assert!(topics.len() >= 4, "{topics:?}");
    topics
}

/// Asks a waypoint what a topic asks. Gives what it answers otherwise than it should.
async fn ask(mesh: &Mesh, waypoint: SocketAddr, topic: &Path, peer: Peer) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in Case::read(&topic.with_extension("txt")) {
        let told = client::answer(mesh, waypoint, &case.request).await;
        let expected = case.answer(peer);
        let (request, file) = (&case.text, topic.file_stem().unwrap().to_string_lossy());
        let is_so = match expected.strip_suffix('…') {
            Some(beginning) => told.starts_with(beginning.trim_end()),
            None => told == expected,
        };
        if !is_so {
            wrong.push(format!("{file}: {request}\n  expected {expected}\n  answered {told}"));
        }
        for also in &case.also {
            if !mesh.saw(also).await {
                wrong.push(format!("{file}: {request}\n  nobody saw {also}, but: {:#?}", mesh.seen()));
            }
        }
    }
    wrong
}

fn report(wrong: &BTreeMap<String, Vec<String>>) {
    let all: Vec<&str> = wrong.values().flatten().map(String::as_str).collect();
    assert!(all.is_empty(), "{} answers are not as they should be:\n{}", all.len(), all.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_waypoint_answers_so() {
    let mesh = Mesh::new(1).await;
    let mut wrong = BTreeMap::new();
    for (index, topic) in topics().iter().enumerate() {
        let at = mesh.waypoint(index);
        let running = ours::start(&mesh, at, topic).await;
        wrong.insert(topic.display().to_string(), ask(&mesh, at, topic, Peer::Ours).await);
        drop(running);
    }
    report(&wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by tests/interop/xds/run"]
async fn envoy_answers_so() {
    let program = envoy::program();
    let mesh = Mesh::new(2).await;
    let mut wrong = BTreeMap::new();
    for (index, topic) in topics().iter().enumerate() {
        let at = mesh.waypoint(index);
        let running = envoy::start(&program, &mesh, at, topic).await;
        wrong.insert(topic.display().to_string(), ask(&mesh, at, topic, Peer::Envoy).await);
        drop(running);
    }
    report(&wrong);
}

#[test]
#[ignore = "needs Envoy: run by tests/interop/xds/run"]
fn envoy_takes_what_waypoints_are_programmed_with() {
    let program = envoy::program();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-plane/tests/golden-waypoint");
    for entry in std::fs::read_dir(root).unwrap() {
        envoy::validate(&program, &entry.unwrap().path());
    }
}
