//! What policies see beside the object that is judged.

use std::sync::Arc;

use regorus::Value;
use serde_json::Value as Json;

use crate::admission::inventory::{Inventory, Key};
use crate::admission::judge::Subject;

/// An inventory as documents, which follow it at the cost of what differs.
#[derive(Clone)]
pub(super) struct Data {
    shown: Inventory,
    documents: Value,
}

impl Data {
    /// Of nothing.
    pub(super) fn new() -> Self {
        Self { shown: Inventory::default(), documents: Value::new_object() }
    }

    /// The documents `mesh` and `inventory` of an inventory; none if they are what they were at the last call.
    pub(super) fn follow(&mut self, inventory: &Inventory) -> Option<Value> {
        let changed = inventory.changed_since(&self.shown);
        if changed.is_empty() {
            return None;
        }
        for (key, object) in changed {
            if let Some(before) = self.shown.get(&key).cloned() {
                for path in paths(&key, &before) {
                    take(&mut self.documents, &path);
                }
            }
            if let Some(object) = object {
                let document = Value::from(Json::clone(&object));
                for path in paths(&key, &object) {
                    put(&mut self.documents, &path, document.clone());
                }
            }
        }
        self.shown = inventory.clone();
        Some(self.documents.clone())
    }
}

/// Where an object stands: `mesh.<kinds>[.<namespace>].<name>`, and as Gatekeeper has it, by version and kind.
fn paths(key: &Key, object: &Arc<Json>) -> [Vec<String>; 2] {
    let Subject { group, version, .. } = Subject::of(object);
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let Key { namespace, kind, name, .. } = key;
    let (mut mesh, mut inventory) = (vec!["mesh".to_owned(), plural(kind)], vec!["inventory".to_owned()]);
    if namespace.is_empty() {
        inventory.push("cluster".to_owned());
    } else {
        mesh.push(namespace.clone());
        inventory.extend(["namespace".to_owned(), namespace.clone()]);
    }
    mesh.push(name.clone());
    inventory.extend([api_version, kind.clone(), name.clone()]);
    [mesh, inventory]
}

fn put(document: &mut Value, path: &[String], object: Value) {
    let [first, rest @ ..] = path else {
        *document = object;
        return;
    };
    if let Ok(fields) = document.as_object_mut() {
        put(fields.get_or_insert_with(Value::from(first.as_str()), Value::new_object), rest, object);
    }
}

/// Takes an object away, and what is empty without it.
fn take(document: &mut Value, path: &[String]) {
    let Ok(fields) = document.as_object_mut() else { return };
    let [first, rest @ ..] = path else { return };
    let first = Value::from(first.as_str());
    let is_empty = match fields.get_mut(&first) {
        Some(_) if rest.is_empty() => true,
        Some(inner) => {
            take(inner, rest);
            inner.as_object().is_ok_and(|fields| fields.is_empty())
        }
        None => false,
    };
    if is_empty {
        fields.remove(&first);
    }
}

/// Name of a kind as in the path of its API.
fn plural(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    match kind.as_bytes() {
        [.., b's' | b'x'] => kind + "es",
        [.., before, b'y'] if !b"aeiou".contains(before) => kind[..kind.len() - 1].to_owned() + "ies",
        _ => kind + "s",
    }
}
