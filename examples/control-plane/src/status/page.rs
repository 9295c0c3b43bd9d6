//! What the admin endpoint shows of statuses.

use serde_json::{Value, json};

use super::Statuses;
use crate::resource::ObjectId;

/// The page `/status`: all of them.
pub(crate) fn list(all: &Statuses) -> Value {
    all.iter().map(|(id, status)| entry(id, status)).collect()
}

/// That of one object, by `Kind namespace/name`.
pub(crate) fn one(all: &Statuses, asked: &str) -> Value {
    let found = all.iter().find(|(id, _)| id.to_string() == asked);
    match found {
        Some((id, status)) => Value::Array(vec![entry(id, status)]),
        None => json!({"error": format!("nothing is said of `{asked}`")}),
    }
}

fn entry(id: &ObjectId, status: &Value) -> Value {
    json!({
        "kind": id.kind.name(),
        "namespace": id.name.namespace.as_str(),
        "name": id.name.name.as_str(),
        "status": status,
    })
}
