//! The waypoint as a process between tunnels, programmed by manifests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod support;

use std::fs;

use support::manifests::mesh;
use support::process::replace;
use support::scene::Scene;
use support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programmed_by_manifests_and_changed_without_a_failed_request() {
    let scene = Scene::new().await;
    let file = scene.path("mesh.yaml");
    fs::write(&file, mesh(scene.block, "carts")).unwrap();
    let programmed = format!(
        "manifests: {}\npoll_interval_ms: 20\nlocal_authority: {}\n",
        file.display(),
        scene.path("authority").display()
    );
    let mut waypoint = scene.cast().waypoint_with(&programmed);
    waypoint.ready().await;
    scene.behaves(&waypoint).await;

    // What is wrong leaves in force what was.
    replace(&file, "kind: HTTPRoute\nspec: 7\n");
    until("it is told of", async || waypoint.has_told("what was taken before stays in force")).await;
    assert_eq!(scene.default_backend().await, "one");

    // While requests come, the default backend changes: none of them fails.
    replace(&file, &mesh(scene.block, "canary"));
    scene.becomes("two").await;
    waypoint.end().await;
}
