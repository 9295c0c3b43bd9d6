//! One object: from a value to a type, with the rules that an API server would apply.

use mesh_core::name::NamespacedName;
use serde_json::{Map, Value};

use super::file::{FileRead, ReadObject};
use super::known::{self, Fate};
use super::{canonical, check, mesh_config, typed};
use crate::finding::{Code, Finding, Origin, Severity};
use crate::resource::{Kind, Object, ObjectId, Read};

/// Reads an object.
pub(super) fn read(mut object: Map<String, Value>, origin: &Origin, to: &mut FileRead) {
    let head = match Head::read(&object) {
        Ok(head) => head,
        Err((field, message)) => {
            to.partial = true;
            let finding = Finding { field: field.to_owned(), code: Code::NO_OBJECT, ..origin.error(message) };
            return to.findings.push(finding);
        }
    };
    let Some(kind) = Kind::of(head.group, head.kind) else {
        let finding = without_effect(&head, origin);
        return to.findings.push(Finding { object: head.to_string(), ..finding });
    };
    let id = match id(kind, &object) {
        Ok(id) => id,
        Err((field, message)) => {
            to.partial = true;
            let finding = Finding { field: field.to_owned(), code: Code::NO_OBJECT, ..origin.error(message) };
            return to.findings.push(Finding { object: head.to_string(), ..finding });
        }
    };
    let mut findings = Vec::new();
    if !kind.versions().contains(&head.version) {
        let known = kind.versions().join(", ");
        let message = format!("`{}` is not known; there are {known}", head.version);
        findings.push(Finding { field: "apiVersion".to_owned(), code: Code::UNKNOWN_VERSION, ..origin.error(message) });
    }
    nulls(kind, &mut object, origin, &mut findings);
    let value = Value::Object(object);
    let read = typed_object(kind, &value, origin, &mut findings);
    check::metadata(kind, &value, origin, &mut findings);
    if let Some(object) = &read {
        findings.extend(check::validate(object, origin));
    }
    let name = id.to_string();
    let good = findings.iter().all(|finding| finding.severity != Severity::Error);
    to.findings.extend(findings.into_iter().map(|finding| Finding { object: name.clone(), ..finding }));
    match read.filter(|_| good) {
        Some(object) => {
            let digest = canonical::digest_of(kind, value);
            to.objects.push(ReadObject { origin: origin.clone(), digest, object });
        }
        None => to.refused.push(id),
    }
}

/// A field, and what is wrong with it.
type Wrong = (&'static str, &'static str);

/// What every object begins with.
struct Head<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    name: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn read(object: &'a Map<String, Value>) -> Result<Self, Wrong> {
        let text = |field: &'static str| match object.get(field) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
            None | Some(Value::Null) => Err((field, "is missing; an API server refuses such a document")),
            Some(_) => Err((field, "is no name; an API server refuses such a document")),
        };
        let kind = text("kind")?;
        let api_version = text("apiVersion")?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let name = object.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
        Ok(Self { group, version, kind, name })
    }
}

/// As `Kind name`, for what is no object of ours.
impl std::fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} {name}", self.kind),
            None => f.write_str(self.kind),
        }
    }
}

/// What there is to say of a kind that is not read.
fn without_effect(head: &Head<'_>, origin: &Origin) -> Finding {
    let Head { group, version, kind, .. } = head;
    let api_version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
    let what = format!("`{api_version} {kind}`");
    let (severity, code, message) = match known::fate(group, kind) {
        Fate::Others(why) => (Severity::Note, Code::WITHOUT_EFFECT, format!("{what} has no effect here: {why}")),
        Fate::Matters(why) => (Severity::Warning, Code::NOT_ENFORCED, format!("{what} has no effect here: {why}")),
        // A security resource that is not understood may be one that was meant to protect.
        Fate::NotEnforced(message) => (Severity::Error, Code::NOT_ENFORCED, message),
        Fate::Misplaced(known) => {
            let group = if known.group().is_empty() { "no group (`v1`)" } else { known.group() };
            (Severity::Error, Code::UNKNOWN_KIND, format!("{what} is not there: {known} is a kind of {group}"))
        }
        Fate::Unknown(Some(known)) => {
            (Severity::Error, Code::UNKNOWN_KIND, format!("{what} is not known; is {known} meant?"))
        }
        Fate::Unknown(None) => {
            (Severity::Warning, Code::UNKNOWN_KIND, format!("{what} is not known; it has no effect here"))
        }
    };
    Finding { code, ..origin.finding(severity, message) }
}

/// Which object it is, as far as that can be told without reading the rest of it.
fn id(kind: Kind, object: &Map<String, Value>) -> Result<ObjectId, Wrong> {
    let metadata = match object.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        None => return Err(("metadata", "is missing")),
        Some(_) => return Err(("metadata", "is no object")),
    };
    let name = match metadata.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name,
        Some(Value::Number(_) | Value::Bool(_)) => return Err(("metadata.name", "is no text; put it in quotes")),
        _ if metadata.contains_key("generateName") => {
            return Err(("metadata.name", "is missing; names are made up by API servers only"));
        }
        _ => return Err(("metadata.name", "is missing")),
    };
    let namespace = match metadata.get("namespace") {
        _ if !kind.is_namespaced() => "",
        None | Some(Value::Null) => "default",
        Some(Value::String(namespace)) if namespace.is_empty() => "default",
        Some(Value::String(namespace)) => namespace,
        Some(_) => return Err(("metadata.namespace", "is no text; put it in quotes")),
    };
    Ok(ObjectId { kind, name: NamespacedName::new(namespace, name.as_str()) })
}

/// A field without a value is no field. In what protects, it may be one that was to be narrower.
fn nulls(kind: Kind, object: &mut Map<String, Value>, origin: &Origin, findings: &mut Vec<Finding>) {
    let protects = kind.group() == "security.istio.io";
    for (key, value) in object.iter_mut() {
        if protects && key == "spec" {
            refuse_nulls(value, "spec", origin, findings);
        } else {
            drop_nulls(value);
        }
    }
    object.retain(|key, value| !value.is_null() || (protects && key == "spec"));
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn refuse_nulls(value: &Value, path: &str, origin: &Origin, findings: &mut Vec<Finding>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                // Said of in its own words.
                if !(value.is_null() && ["from", "to", "when"].contains(&key.as_str())) {
                    refuse_nulls(value, &path, origin, findings);
                }
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                refuse_nulls(value, &format!("{path}[{index}]"), origin, findings);
            }
        }
        Value::Null => {
            let finding = origin.error("has no value; leave the field out, or say what it is");
            findings.push(Finding { field: path.to_owned(), ..finding });
        }
        _ => {}
    }
}

/// A value that is read as the type of its kind.
struct Typed<'a> {
    value: &'a Value,
    unknown: std::cell::RefCell<Vec<typed::Unknown>>,
}

impl Read<typed::Mistake> for Typed<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, typed::Mistake> {
        let (read, unknown) = typed::read(self.value);
        self.unknown.replace(unknown);
        read
    }
}

fn typed_object(kind: Kind, value: &Value, origin: &Origin, findings: &mut Vec<Finding>) -> Option<Object> {
    let typed = Typed { value, unknown: std::cell::RefCell::default() };
    let read = Object::read(kind, &typed);
    // Where a field that is not known is an error, it is the last that was looked at.
    let unknown = typed.unknown.into_inner();
    let refused = read.as_ref().err().map(|mistake| mistake.field.clone());
    findings.extend(unknown.into_iter().filter(|unknown| Some(&unknown.field) != refused.as_ref()).filter_map(
        |unknown| {
            let message = unknown_field(kind, &unknown)?;
            Some(Finding { field: unknown.field, code: Code::UNKNOWN_FIELD, ..origin.warning(message) })
        },
    ));
    let mut object = read
        .map_err(|mistake| findings.push(Finding { field: mistake.field, ..origin.error(mistake.message) }))
        .ok()?;
    if let Object::ConfigMap(map) = &mut object {
        mesh_config::read(map, origin, findings)?;
    }
    Some(object)
}

/// What there is to say of a field that is not known, if anything.
fn unknown_field(kind: Kind, unknown: &typed::Unknown) -> Option<String> {
    let further = known::further_fields(kind)?;
    let name = unknown.name.as_str();
    let of_head = !unknown.field.contains(['.', '[']) && ["apiVersion", "kind", "status"].contains(&name);
    let of_metadata = unknown.field.starts_with("metadata.") && known::FURTHER_METADATA.contains(&name);
    if of_head || of_metadata || further.contains(&name) || unknown.field.starts_with("status.") {
        return None;
    }
    let meant = unknown.meant.map(|name| format!("; is `{name}` meant?")).unwrap_or_default();
    Some(format!("is not known and has no effect{meant}"))
}
