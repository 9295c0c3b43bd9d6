//! From texts to a world: parsing by schema, and the checks that need more than one object.
//!
//! A world is taken whole or not at all. As long as any file has an error, the world before goes on: half of a change can
//! be worse than none of it.

pub(crate) mod check;
pub(crate) mod document;
pub mod schema;

use crate::finding::{Finding, Origin, Severity};
use crate::source::dir::SourceFile;
use crate::world::World;

/// Reads files into a world.
///
/// # Errors
/// All findings, when any of them is an error.
pub fn admit(files: &[SourceFile]) -> Result<(World, Vec<Finding>), Vec<Finding>> {
    let mut world = World::default();
    let mut findings = Vec::new();
    for file in files {
        match &file.text {
            Ok(text) => {
                for parsed in document::parse(&file.path, text) {
                    match parsed {
                        Ok((origin, object)) => findings.extend(world.insert(origin, object)),
                        Err(finding) => findings.push(finding),
                    }
                }
            }
            Err(reason) => findings.push(Origin { file: file.path.clone(), line: 1 }.error(reason.clone())),
        }
    }
    findings.extend(world.check());
    findings.sort();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        Err(findings)
    } else {
        Ok((world, findings))
    }
}

#[cfg(test)]
mod tests;
