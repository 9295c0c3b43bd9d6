//! What it costs to tell what a change would do.

use std::path::PathBuf;
use std::time::Instant;

use mesh_control_plane::admission::{SourceFile, admit};
use mesh_control_plane::preview::Mesh;
use mesh_control_plane::preview::diff::diff;
use mesh_control_plane::settings::Settings;

use crate::world::{Size, of_policies};

/// A change of all policies of a mesh with so many services, and no change.
pub fn measure(services: usize) {
    let size = Size {
        services,
        workloads: 4 * services,
        routes: services / 10,
        policies: services,
        namespaces: services / 10,
    };
    let [old, new] = [false, true].map(|changed| {
        let file = SourceFile { path: PathBuf::from("mesh.yaml"), text: Ok(of_policies(size, changed)) };
        let world = admit(&[file]).unwrap_or_else(|findings| panic!("{:?}", findings.first())).0;
        Mesh::new(&world, &Settings::default_place().unwrap())
    });
    let start = Instant::now();
    let report = diff(&old, &new);
    let all = start.elapsed();
    assert!(report.effects.len() >= services / 2, "{} effects", report.effects.len());
    let start = Instant::now();
    assert!(diff(&old, &old).effects.is_empty());
    println!(
        "preview of {size:?}: all {services} policies changed {:.2} s ({} effects), nothing changed {:.3} s",
        all.as_secs_f64(),
        report.effects.len(),
        start.elapsed().as_secs_f64()
    );
}
