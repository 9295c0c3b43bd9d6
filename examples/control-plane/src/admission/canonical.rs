//! What of an object counts when it is asked whether two are the same.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::resource::{HEALTHY, Kind};

/// What an API server adds to the metadata of an object, or changes without any change of what was asked for.
const OF_THE_SERVER: [&str; 7] =
    ["creationTimestamp", "generation", "managedFields", "namespace", "resourceVersion", "selfLink", "uid"];

/// Digest of an object: equal for the same object in a file, in git and in an API server. What an API server keeps for itself
/// does not count, nor does the status where nobody reads it, nor what is written as it would be without.
pub(super) fn digest_of(kind: Kind, mut value: Value) -> u128 {
    if let Value::Object(object) = &mut value {
        // Versions are names for the same object.
        object.remove("apiVersion");
        match kind {
            Kind::WorkloadEntry => only_health(object),
            Kind::Service => only_addresses(object),
            _ if !status_is_read(kind) => drop(object.remove("status")),
            _ => {}
        }
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            tidy_metadata(metadata, kind);
        }
        for (path, default) in defaults(kind) {
            let segments: Vec<_> = path.split('.').collect();
            without_default(object, &segments, default);
        }
    }
    let mut canonical = Vec::with_capacity(512);
    write(&value, &mut canonical);
    let hash = digest(&SHA256, &canonical);
    hash.as_ref().iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

fn tidy_metadata(metadata: &mut Map<String, Value>, kind: Kind) {
    let namespace = metadata.remove("namespace");
    metadata.retain(|key, _| !OF_THE_SERVER.contains(&key.as_str()));
    if let Some(namespace) = namespace.filter(|name| kind.is_namespaced() && name != "default") {
        metadata.insert("namespace".to_owned(), namespace);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    if let Some(Value::Object(labels)) = metadata.get_mut("labels")
        && kind == Kind::Namespace
    {
        labels.remove("kubernetes.io/metadata.name");
    }
    for part in ["annotations", "labels"] {
        if metadata.get(part).and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.remove(part);
        }
    }
}

const fn status_is_read(kind: Kind) -> bool {
    matches!(kind, Kind::Pod | Kind::Node | Kind::Gateway | Kind::ServiceImport)
}

/// Leaves of a status what an agent says of the health of its workload: that alone is read.
fn only_health(object: &mut Map<String, Value>) {
    let Some(status) = object.remove("status") else { return };
    let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let health = conditions.filter(|one| one.get("type").and_then(Value::as_str) == Some(HEALTHY));
    let said: Vec<Value> = health.filter_map(|one| one.get("status")).cloned().collect();
    if !said.is_empty() {
        object.insert("status".to_owned(), Value::Array(said));
    }
}

/// Leaves of a status the addresses that a load balancer gave: they alone are read.
fn only_addresses(object: &mut Map<String, Value>) {
    let Some(Value::Object(mut status)) = object.remove("status") else { return };
    let Some(Value::Object(mut balancer)) = status.remove("loadBalancer") else { return };
    if let Some(given) = balancer.remove("ingress").filter(|given| given.as_array().is_some_and(|all| !all.is_empty()))
    {
        object.insert("status".to_owned(), given);
    }
}

/// What an API server fills in, as far as it is the same for every object of the kind.
fn defaults(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Namespace => &[("spec", r#"{"finalizers":["kubernetes"]}"#)],
        Kind::Service => &[
            ("spec.type", r#""ClusterIP""#),
            ("spec.sessionAffinity", r#""None""#),
            ("spec.internalTrafficPolicy", r#""Cluster""#),
            ("spec.ports.*.protocol", r#""TCP""#),
        ],
        Kind::EndpointSlice => &[("ports.*.protocol", r#""TCP""#)],
        Kind::Secret => &[("type", r#""Opaque""#)],
        Kind::Gateway | Kind::ListenerSet => &[
            ("spec.listeners.*.tls.mode", r#""Terminate""#),
            ("spec.listeners.*.tls.certificateRefs.*.group", r#""""#),
            ("spec.listeners.*.tls.certificateRefs.*.kind", r#""Secret""#),
            ("spec.listeners.*.allowedRoutes", r#"{"namespaces":{"from":"Same"}}"#),
            ("spec.allowedListeners", r#"{"namespaces":{"from":"None"}}"#),
            ("spec.addresses.*.type", r#""IPAddress""#),
            ("spec.parentRef.group", r#""gateway.networking.k8s.io""#),
            ("spec.parentRef.kind", r#""Gateway""#),
        ],
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => &[
            ("spec.parentRefs.*.group", r#""gateway.networking.k8s.io""#),
            ("spec.parentRefs.*.kind", r#""Gateway""#),
            ("spec.rules.*.backendRefs.*.group", r#""""#),
            ("spec.rules.*.backendRefs.*.kind", r#""Service""#),
            ("spec.rules.*.backendRefs.*.weight", "1"),
            ("spec.rules.*.matches.*.headers.*.type", r#""Exact""#),
            ("spec.rules.*.matches.*.queryParams.*.type", r#""Exact""#),
            ("spec.rules.*.matches.*.method.type", r#""Exact""#),
            ("spec.rules.*.matches.*.path", r#"{"type":"PathPrefix","value":"/"}"#),
            ("spec.rules.*.matches.*.path.type", r#""PathPrefix""#),
            ("spec.rules.*.matches", "[{}]"),
            ("spec.rules.*.filters.*.requestRedirect.statusCode", "302"),
            ("spec.rules", "[{}]"),
        ],
        _ => &[],
    }
}

/// Takes a field away where its value is the one that it would have without; `*` is every item of a list.
fn without_default(object: &mut Map<String, Value>, path: &[&str], default: &str) {
    let [first, rest @ ..] = path else { return };
    if rest.is_empty() {
        let is_default = object.get(*first).is_some_and(|value| {
            let mut written = Vec::new();
            write(value, &mut written);
            written == default.as_bytes()
        });
        if is_default {
            object.remove(*first);
        }
        return;
    }
    match (object.get_mut(*first), rest) {
        (Some(Value::Object(inner)), _) => without_default(inner, rest, default),
        (Some(Value::Array(items)), ["*", rest @ ..]) => {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                without_default(item, rest, default);
            }
        }
        _ => {}
    }
}

/// Writes a value as JSON, with keys in their order.
fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            to.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    to.push(b',');
                }
                text(key, to);
                to.push(b':');
                write(value, to);
            }
            to.push(b'}');
        }
        Value::Array(items) => {
            to.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    to.push(b',');
                }
                write(item, to);
            }
            to.push(b']');
        }
        Value::String(string) => text(string, to),
        Value::Bool(truth) => to.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Number(number) => to.extend_from_slice(number.to_string().as_bytes()),
        Value::Null => to.extend_from_slice(b"null"),
    }
}

/// What stands between quotes is told from what ends it; nobody reads it back.
fn text(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            to.push(b'\\');
        }
        to.push(byte);
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(kind: Kind, one: &str, other: &str) -> bool {
        let digest = |text: &str| digest_of(kind, serde_json::from_str(text).unwrap());
        digest(one) == digest(other)
    }

    #[test]
    fn what_an_api_server_adds_does_not_count() {
        for (kind, file, server) in [
            (
                Kind::Service,
                r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}"#,
                r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"default","uid":"u","generation":3,
                    "resourceVersion":"9","creationTimestamp":"2026-01-01T00:00:00Z","managedFields":[{}],
                    "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},
                    "spec":{"sessionAffinity":"None","type":"ClusterIP","internalTrafficPolicy":"Cluster",
                    "ports":[{"protocol":"TCP","port":80}]},"status":{"loadBalancer":{}}}"#,
            ),
            (
                Kind::HttpRoute,
                r#"{"apiVersion":"gateway.networking.k8s.io/v1beta1","metadata":{"name":"a"},
                    "spec":{"parentRefs":[{"name":"g"}],"rules":[{"backendRefs":[{"name":"s","port":80}]}]}}"#,
                r#"{"apiVersion":"gateway.networking.k8s.io/v1","metadata":{"name":"a"},
                    "spec":{"parentRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"g"}],
                    "rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/"}}],
                    "backendRefs":[{"group":"","kind":"Service","name":"s","port":80,"weight":1}]}]},"status":{"parents":[]}}"#,
            ),
        ] {
            assert!(same(kind, file, server), "{kind}");
        }
    }

    #[test]
    fn what_was_asked_for_counts() {
        let one = r#"{"metadata":{"name":"a","labels":{"a":"b"}},"spec":{"ports":[{"port":80}]}}"#;
        for other in [
            r#"{"metadata":{"name":"a","labels":{"a":"c"}},"spec":{"ports":[{"port":80}]}}"#,
            r#"{"metadata":{"name":"a","labels":{"a":"b"}},"spec":{"ports":[{"port":81}]}}"#,
            r#"{"metadata":{"name":"a","labels":{"a":"b"}},"spec":{"ports":[{"port":80,"protocol":"UDP"}]}}"#,
            r#"{"metadata":{"name":"a","labels":{"a":"b"},"namespace":"n"},"spec":{"ports":[{"port":80}]}}"#,
            r#"{"metadata":{"name":"a","labels":{"a\",\"b":"b"}},"spec":{"ports":[{"port":80}]}}"#,
        ] {
            assert!(!same(Kind::Service, one, other), "{other}");
        }
        assert!(!same(Kind::Pod, r#"{"status":{"podIP":"10.0.0.1"}}"#, r#"{"status":{"podIP":"10.0.0.2"}}"#));
        let given = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}"#;
        assert!(!same(Kind::Service, r#"{"status":{"loadBalancer":{}}}"#, given));
    }
}
