//! What the admin endpoint shows of what is in force.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::admission;
use crate::finding::{Finding, Severity};
use crate::inventory;
use crate::resource::Kind;
use crate::source::Places;
use crate::world::World;

/// The page `/debug/world`: all objects with their digests, since when they are in force, what refuses something newer, and the
/// version of the control plane.
pub(crate) fn world(world: &World, since: Option<Instant>, findings: &[Finding]) -> Value {
    let mut page = Snapshot::of(world).to_json();
    let age = since.map(|since| since.elapsed().as_secs());
    let refused = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if let Some(fields) = page.as_object_mut() {
        fields.insert("revision".to_owned(), fields.get("digest").cloned().unwrap_or_default());
        fields.insert("age_seconds".to_owned(), json!(age));
        fields.insert("refused_by".to_owned(), json!(refused));
        fields.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    page
}

/// One object of it, with its content as long as the file in which it stands still holds it, or its source keeps its last good
/// state. Secrets are not shown.
pub(crate) fn object(world: &World, places: &Places, asked: &str) -> Value {
    let Some(item) = inventory::items(world).find(|item| item.id.to_string() == asked) else {
        return json!({"error": format!("there is no `{asked}`")});
    };
    let content = match item.id.kind {
        Kind::Secret => Value::Null,
        _ => places
            .texts(&item.origin.source, &item.origin.file)
            .find_map(|file| admission::content(&file, &item.id, item.digest))
            .unwrap_or_default(),
    };
    json!({"object": asked, "digest": format!("{:032x}", item.digest), "origin": item.origin, "content": content})
}
