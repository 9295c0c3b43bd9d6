//! Names, labels and annotations, by the rules of Kubernetes.

use serde_json::{Map, Value};

use crate::finding::{Code, Faults, Finding, Origin};
use crate::resource::Kind;
use crate::translate::DISTRIBUTION;

/// Most bytes of all annotations of an object.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// What may be said of the distribution of traffic, in any case.
const DISTRIBUTIONS: [&str; 4] = ["Any", "PreferClose", "PreferSameZone", "PreferSameNode"];

/// What is wrong with the metadata of an object. What is of the wrong type is said of elsewhere.
pub(crate) fn metadata(kind: Kind, object: &Value, origin: &Origin, findings: &mut Vec<Finding>) {
    let Some(Value::Object(metadata)) = object.get("metadata") else { return };
    let faults = &mut Faults::at("metadata", origin, findings);
    let text = |field: &str| metadata.get(field).and_then(Value::as_str);
    if let Some(name) = text("name") {
        let (good, rule) = match kind {
            Kind::Namespace => (is_label(name), "a DNS label of at most 63 characters"),
            Kind::Service | Kind::ServiceExport | Kind::ServiceImport => {
                (is_label(name), "a DNS label of at most 63 characters")
            }
            _ => (is_subdomain(name), "a DNS name in lower case of at most 253 characters"),
        };
        if !good {
            faults.error("name", format_args!("`{name}` is not {rule}"));
        }
    }
    match text("namespace").filter(|namespace| !namespace.is_empty()) {
        Some(_) if !kind.is_namespaced() => faults.warning("namespace", format_args!("a {kind} is in none")),
        Some(namespace) if !is_label(namespace) => {
            faults.error("namespace", format_args!("`{namespace}` is not a DNS label of at most 63 characters"));
        }
        _ => {}
    }
    if let Some(Value::Object(labels)) = metadata.get("labels") {
        faults.within("labels", |faults| labels_of(labels, faults));
    }
    if let Some(Value::Object(annotations)) = metadata.get("annotations") {
        faults.within("annotations", |faults| annotations_of(kind, annotations, faults));
    }
}

fn labels_of(labels: &Map<String, Value>, faults: &mut Faults<'_>) {
    for (key, value) in labels {
        if !is_key(key) {
            faults.key(
                key,
                "is no key of a label: `[domain/]name` with a name of at most 63 letters, digits, -, _ and .",
            );
        } else if let Some(value) = value.as_str().filter(|value| !value.is_empty() && !is_name(value)) {
            faults.key(key, format_args!("`{value}` is no value of a label: at most 63 letters, digits, -, _ and ."));
        }
    }
}

fn annotations_of(kind: Kind, annotations: &Map<String, Value>, faults: &mut Faults<'_>) {
    for key in annotations.keys().filter(|key| !is_key(&key.to_ascii_lowercase())) {
        faults.key(
            key,
            "is no key of an annotation: `[domain/]name` with a name of at most 63 letters, digits, -, _ and .",
        );
    }
    if let Some(said) = annotations.get(DISTRIBUTION).and_then(Value::as_str)
        && !DISTRIBUTIONS.iter().any(|known| known.eq_ignore_ascii_case(said))
        && matches!(kind, Kind::Service | Kind::ServiceEntry | Kind::Namespace)
    {
        let message = format!("`{said}` is none of {}: no endpoint is preferred", DISTRIBUTIONS.join(", "));
        faults.coded_key(Code::ANNOTATION, DISTRIBUTION, message);
    }
    let length = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let bytes: usize = annotations.iter().map(length).sum();
    if bytes > MOST_ANNOTATIONS {
        faults.error("(all)", format_args!("{bytes} bytes; there may be {MOST_ANNOTATIONS}"));
    }
}

/// A label of DNS (RFC 1123).
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A name of DNS in lower case, of labels of any length, as Kubernetes has it.
fn is_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The key of a label or annotation.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
        None => is_name(key),
    }
}

/// The name in such a key, or the value of a label.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}
