//! Manifests: whatever a file of a source holds.

use std::path::Path;
use std::sync::Arc;

use mesh_control_plane::admission::{locate, read_file};
use mesh_control_plane::finding::Severity;
use mesh_control_plane::settings::Settings;
use mesh_control_plane::translate::Waypoints;
use mesh_control_plane::world::World;
use mesh_core::name::Locality;

use crate::Target;

pub(crate) const MANIFESTS: Target = Target { name: "manifests", run: manifests, seeds };

/// A file is read or refused, alike each time; what is said of it is said of a line that it has; and what is good is translated
/// for node proxies and for waypoints.
fn manifests(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let source: Arc<str> = "fuzz".into();
    let read = read_file(&source, Path::new("a.yaml"), &text);
    let again = read_file(&source, Path::new("a.yaml"), &text);
    let digests = |read: &mesh_control_plane::admission::FileRead| -> Vec<u128> {
        read.objects.iter().map(|object| object.digest).collect()
    };
    assert_eq!(digests(&read), digests(&again), "one text means one thing");
    assert_eq!(read.findings, again.findings, "and the same is said of it");
    let lines = text.split('\n').count() as u64;
    for finding in &read.findings {
        assert!((1..=lines + 1).contains(&finding.origin.line), "{finding} in {lines} lines");
    }
    let refused = read.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert!(refused || (read.refused.is_empty() && !read.partial), "nothing is refused without a reason");
    let mut world = World::default();
    for object in read.objects {
        world.put(object.origin, object.digest, object.object);
    }
    locate(&text, &mut read.findings.clone());
    let Ok(place) = Settings::default_place() else { return };
    let waypoints = Waypoints::new(&world, &place);
    let translation = waypoints.translation();
    assert!(translation.workloads.is_sorted_by(|one, next| one.uid < next.uid), "each workload once");
    for waypoint in waypoints.keys() {
        let _ = waypoints.resources(waypoint, &Locality::default());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        include_str!("../../../examples/control-plane/tests/golden/services/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden/entries/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden/policies/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden/waypoint-binding/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden-waypoint/routes/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden-waypoint/virtual-services/mesh.yaml"),
        include_str!("../../../examples/control-plane/tests/golden-waypoint/traffic/mesh.yaml"),
        "apiVersion: v1\nkind: List\nitems:\n- &a {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- *a\n",
        "%YAML 1.2\n--- |\n  text\n...\n---\napiVersion: v1\r\nkind: Service\r\nmetadata: {name: a}\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
