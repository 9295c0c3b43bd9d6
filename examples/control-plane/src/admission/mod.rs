//! From texts to a world: parsing, the schema of each kind with the rules that an API server would apply, and the checks that
//! need more than one object.
//!
//! [`read_file`] and [`read_value`] are the one way by which objects come in, from whatever source. Whether an object is good
//! depends on itself alone, and on who else has a say ([`judge`]); what is wrong among several good ones is a warning.
//!
//! [`admit`] takes files as one whole or not at all: for those who check them, or have nothing that was good before. What runs
//! judges each file by itself; see [`source`](crate::source).

mod canonical;
pub(crate) mod check;
mod file;
pub mod gate;
pub mod inventory;
pub mod judge;
mod judged;
mod known;
mod lines;
mod mesh_config;
mod object;
#[cfg(feature = "rego")]
pub mod rego;
mod remembered;
mod split;
mod typed;
#[cfg(feature = "kubernetes")]
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

pub use self::check::validate;
pub use self::file::{FileRead, ReadObject, locate, read_file, read_value};
use self::inventory::{Inventory, Key};
use self::judge::{Judge, Operation, Review};
pub use self::judged::SourceFile;
pub(crate) use self::judged::{Judged, twice};
#[cfg(feature = "kubernetes")]
pub(crate) use self::value::read_one;
use crate::finding::{Code, Finding, Origin, Severity, summed};
use crate::resource::ObjectId;
use crate::world::World;

/// Reads files into a world.
///
/// A world is taken whole or not at all: half of a change can be worse than none of it.
///
/// # Errors
/// All findings, when any of them is an error.
pub fn admit(files: &[SourceFile]) -> Result<(World, Vec<Finding>), Vec<Finding>> {
    let mut world = World::default();
    let mut findings = Vec::new();
    let source: Arc<str> = "".into();
    for file in files {
        match &file.text {
            Ok(text) => {
                let read = read_file(&source, &file.path, text);
                findings.extend(read.findings);
                for ReadObject { origin, digest, object } in read.objects {
                    let id = object.id();
                    if let Some((first, _)) = world.origin(&id) {
                        findings.push(twice(&origin, &id, first));
                    } else {
                        world.put(origin, digest, object);
                    }
                }
            }
            Err(reason) => {
                let finding = Origin::file(file.path.clone()).error(reason.clone());
                findings.push(Finding { code: Code::UNREADABLE, ..finding });
            }
        }
    }
    findings.extend(placed(files, check::whole(&world)));
    findings.sort_by(|a, b| (a.severity, &a.origin, &a.field).cmp(&(b.severity, &b.origin, &b.field)));
    let findings = summed(findings);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        Err(findings)
    } else {
        Ok((world, findings))
    }
}

/// Reads files into a world, where somebody else has a say too: see [`judge`]. What they hold otherwise than the files before, or
/// not any more, is judged as a change; without files before, all is new.
///
/// # Errors
/// All findings, when any of them is an error.
pub fn admit_by(
    judge: &dyn Judge,
    files: &[SourceFile],
    before: &[SourceFile],
) -> Result<(World, Vec<Finding>), Vec<Finding>> {
    let written = |files| -> Vec<(Origin, Arc<Value>)> {
        manifests(files).into_iter().map(|(origin, object)| (origin, Arc::new(object))).collect()
    };
    let of = |objects: &[(Origin, Arc<Value>)]| objects.iter().map(|(_, object)| Arc::clone(object)).collect();
    let (objects, olds) = (written(files), written(before));
    let (inventory, in_force): (Inventory, Inventory) = (of(&objects), of(&olds));
    let mut reviews = Vec::new();
    for (origin, object) in &objects {
        let old = Key::of(object).and_then(|key| in_force.get(&key));
        reviews.push(match old {
            Some(old) => Review { operation: Operation::Update, old: Some(old), ..Review::create(object, origin) },
            None => Review::create(object, origin),
        });
    }
    for (origin, old) in &olds {
        if Key::of(old).is_some_and(|key| inventory.get(&key).is_none()) {
            reviews.push(Review { operation: Operation::Delete, object: None, old: Some(old), user: None, origin });
        }
    }
    let mut said = judge.judge_all(&reviews, &inventory).concat();
    let refused = said.iter().any(|finding| finding.severity == Severity::Error);
    match admit(files) {
        Ok((world, findings)) if !refused => {
            said.extend(findings);
            said.sort();
            Ok((world, said))
        }
        Ok((_, findings)) | Err(findings) => {
            said.extend(findings);
            said.sort();
            Err(said)
        }
    }
}

/// The objects of files as they were written, whatever their kind, with where they stand. What cannot be read is left out.
#[must_use]
pub fn manifests(files: &[SourceFile]) -> Vec<(Origin, Value)> {
    let texts = files.iter().filter_map(|file| Some((&file.path, file.text.as_ref().ok()?)));
    let source: Arc<str> = "".into();
    texts.flat_map(|(path, text)| file::values(&source, path, text)).collect()
}

/// An object of a file as it was written; `None` if the file does not hold it, or not with this digest.
pub(crate) fn content(file: &SourceFile, id: &ObjectId, digest: u128) -> Option<Value> {
    let text = file.text.as_ref().ok()?;
    let source: Arc<str> = "".into();
    let read = read_file(&source, &file.path, text);
    let found = read.objects.into_iter().find(|read| read.object.id() == *id && read.digest == digest)?;
    let is_it = |value: &Value| {
        let subject = judge::Subject::of(value);
        let namespace = match (id.kind.is_namespaced(), subject.namespace) {
            (true, "") => "default",
            (true, namespace) => namespace,
            (false, _) => "",
        };
        subject.kind == id.kind.name()
            && id.name.namespace.as_str() == namespace
            && id.name.name.as_str() == subject.name
    };
    let mut values = file::values(&source, &file.path, text).into_iter();
    values.find(|(at, value)| *at == found.origin && is_it(value)).map(|(_, value)| value)
}

/// Findings with the lines of their fields.
fn placed(files: &[SourceFile], findings: Vec<Finding>) -> Vec<Finding> {
    let mut by_file: BTreeMap<Arc<Path>, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_file.entry(Arc::clone(&finding.origin.file)).or_default().push(finding);
    }
    for (path, findings) in &mut by_file {
        let text = files.iter().find(|file| *file.path == **path).and_then(|file| file.text.as_ref().ok());
        if let Some(text) = text {
            locate(text, findings);
        }
    }
    by_file.into_values().flatten().collect()
}

#[cfg(test)]
mod tests;
