//! What a waypoint is programmed with by manifests alone, for one that runs without a control plane.

use std::io;
use std::path::Path;

use mesh_core::name::{Locality, NamespacedName};

use crate::admission::admit;
use crate::finding::{Finding, Origin};
use crate::source::dir::{self, SourceFile};
use crate::translate::waypoint::Resources;
use crate::translate::{Place, Waypoints};

/// Reads a file of manifests, or a directory of such files, and gives what an instance of one waypoint is programmed with that
/// is somewhere, and what is worth knowing about the manifests.
///
/// # Errors
/// What is wrong with the manifests, or that the waypoint is none of them. Whoever was programmed before goes on so.
pub fn resources(
    manifests: &Path,
    place: &Place,
    waypoint: &NamespacedName,
    locality: &Locality,
) -> Result<(Resources, Vec<Finding>), Vec<Finding>> {
    let origin = Origin::file(manifests);
    let files = read(manifests).map_err(|error| vec![origin.error(format!("cannot be read: {error}"))])?;
    let (world, findings) = admit(&files)?;
    let waypoints = Waypoints::new(&world, place);
    if !waypoints.keys().any(|key| key == waypoint) {
        return Err(vec![origin.error(format!("there is no waypoint `{waypoint}`"))]);
    }
    Ok((waypoints.resources(waypoint, locality), findings))
}

fn read(manifests: &Path) -> io::Result<Vec<SourceFile>> {
    if manifests.is_dir() { dir::read(manifests) } else { Ok(vec![dir::read_file(manifests)?]) }
}
