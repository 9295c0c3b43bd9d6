//! The waypoint as a process, programmed by our control plane as another one.
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

use support::manifests::mesh;
use support::process::play;
use support::scene::Scene;
use support::until;

#[test]
fn plays_a_part() {
    play();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programmed_by_a_control_plane_and_serving_without_it() {
    let scene = Scene::new().await;
    scene.publish(&mesh(scene.block, "carts"));

    // Nobody programs it yet, nobody says who it is: it is there, and not ready. The control plane was there once, and has
    // left the roots by which the waypoint will know it.
    let cast = scene.cast();
    let mut control_plane = cast.control_plane();
    control_plane.ready().await;
    control_plane.kill();
    let mut waypoint = cast.waypoint();
    until("it can be asked", async || waypoint.get("/healthz/ready").is_some()).await;
    let told = waypoint.get("/healthz/ready").unwrap();
    assert!(told.contains("503") && told.contains("identity"), "{told}");
    let mut control_plane = cast.control_plane();
    control_plane.ready().await;
    waypoint.ready().await;
    scene.behaves(&waypoint).await;

    // A change takes effect, what is wrong does not, and no request fails meanwhile.
    scene.publish(&mesh(scene.block, "canary"));
    scene.becomes("two").await;
    scene.publish("kind: HTTPRoute\nmetadata: [");
    until("it is told of", async || control_plane.has_told("configuration not taken")).await;
    assert_eq!(scene.default_backend().await, "two");
    scene.publish(&mesh(scene.block, "carts"));
    scene.becomes("one").await;

    // Without a control plane it goes on, and so does one that starts anew.
    control_plane.kill();
    scene.behaves(&waypoint).await;
    waypoint.end().await;
    let mut waypoint = cast.waypoint();
    waypoint.ready().await;
    scene.behaves(&waypoint).await;

    // The control plane is back, and so are changes.
    let mut control_plane = cast.control_plane();
    control_plane.ready().await;
    scene.publish(&mesh(scene.block, "canary"));
    scene.becomes("two").await;
    waypoint.end().await;
    control_plane.end().await;
}
