//! What a running control plane has in force, asked of its admin endpoint.

use mesh_host::member::Error;
use serde_json::Value;

use super::output::Asked;
use crate::admission::read_value;
use crate::drift::{Snapshot, compare};
use crate::finding::Origin;
use crate::inventory;
use crate::resource::{Kind, ObjectId};
use crate::world::World;

/// All objects in force: the page as it is, and as it is read.
pub(super) fn snapshot(asked: &Asked) -> Result<(Value, Snapshot), Error> {
    let page = asked.get("/debug/world", &[])?;
    let snapshot = Snapshot::from_json(&page)?;
    Ok((page, snapshot))
}

/// What an object in force holds; `None` if it cannot be told.
pub(super) fn content(asked: &Asked, object: &str) -> Option<Value> {
    let mut page = asked.get("/debug/world", &[("object", Some(object))]).ok()?;
    Some(page["content"].take()).filter(|content| !content.is_null())
}

/// A world that is in force.
pub(super) struct InForce {
    pub(super) world: World,
    /// Secrets that differ from those at hand. Their contents are shown to nobody.
    pub(super) secrets: Vec<String>,
}

/// What is in force. Only what differs from a world at hand is asked for: two objects with one digest say the same.
///
/// # Errors
/// The control plane does not answer, or cannot tell what some object holds.
pub(super) fn world(asked: &Asked, at_hand: &World) -> Result<InForce, Error> {
    let (_, found) = snapshot(asked)?;
    let drift = compare(&Snapshot::of(at_hand), &found);
    let ids = inventory::items(at_hand).map(|item| (item.id.to_string(), item.id));
    let ids: std::collections::HashMap<String, ObjectId> = ids.collect();
    let mut world = at_hand.clone();
    for id in drift.missing.iter().filter_map(|object| ids.get(object)) {
        world.remove(id);
    }
    let (mut secrets, mut untold) = (Vec::new(), Vec::new());
    let of_secret = format!("{} ", Kind::Secret.name());
    for object in drift.extra.iter().chain(&drift.different) {
        if object.starts_with(&of_secret) {
            secrets.push(object.clone());
            continue;
        }
        let entry = found.objects.get(object);
        let Some((read, entry)) = content(asked, object).zip(entry) else {
            untold.push(object.as_str());
            continue;
        };
        let mut objects = read_value(&"".into(), read).objects.into_iter();
        match objects.find(|read| format!("{:032x}", read.digest) == entry.digest) {
            Some(read) => world.put(origin(&entry.place), read.digest, read.object),
            None => untold.push(object.as_str()),
        }
    }
    match untold.as_slice() {
        [] => Ok(InForce { world, secrets }),
        [first, rest @ ..] => Err(format!(
            "the control plane does not show what {first}{} holds: it has the texts of directories, and of repositories with \
             a `state_dir`, not those of clusters",
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) }
        )
        .into()),
    }
}

/// Where an object stands, of `file:line`.
fn origin(place: &str) -> Origin {
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    Origin { line: line.parse().unwrap_or(1), ..Origin::file(file) }
}
