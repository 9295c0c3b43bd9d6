//! What policies see.

use serde_json::{Map, Value, json};

use crate::admission::judge::{Review, Subject};
use crate::resource::Kind;

/// The question, as users of OPA's admission control and of Gatekeeper expect it.
pub(super) fn of(review: &Review<'_>) -> Value {
    let Subject { group, version, kind, name, .. } = review.subject();
    let namespace = namespace(review.object.or(review.old).unwrap_or(&Value::Null));
    let mut request = json!({
        "kind": {"group": group, "version": version, "kind": kind},
        "name": name,
        "namespace": namespace,
        "operation": review.operation.name(),
        "object": review.object,
        "oldObject": review.old,
    });
    if let (Some(user), Some(fields)) = (review.user, request.as_object_mut()) {
        fields.insert("userInfo".to_owned(), user.clone());
    }
    json!({"request": request, "review": request})
}

/// What is in force, as `data.mesh`.
pub(super) fn mesh<'a>(objects: impl Iterator<Item = &'a Value>) -> Value {
    let mut mesh = Map::new();
    for object in objects {
        let subject = Subject::of(object);
        if subject.kind.is_empty() || subject.name.is_empty() {
            continue;
        }
        let kind = mesh.entry(plural(subject.kind)).or_insert_with(|| Value::Object(Map::new()));
        let namespace = namespace(object);
        let holder = match namespace {
            "" => Some(kind),
            namespace => kind.as_object_mut().map(|kind| kind.entry(namespace).or_insert_with(|| json!({}))),
        };
        if let Some(holder) = holder.and_then(Value::as_object_mut) {
            holder.insert(subject.name.to_owned(), object.clone());
        }
    }
    json!({"mesh": mesh})
}

/// The namespace in which an object is, also where it leaves the default out.
fn namespace(object: &Value) -> &str {
    let subject = Subject::of(object);
    let namespaced = Kind::of(subject.group, subject.kind).map(Kind::is_namespaced);
    match (subject.namespace, namespaced) {
        ("", Some(true)) => "default",
        (_, Some(false)) => "",
        (namespace, _) => namespace,
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
