use mesh_core::name::NamespacedName;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::admission::read_one;
use crate::finding::Origin;
use crate::resource::{Kind, Object};

/// What stands in the place of a security resource that cannot be understood and of which no earlier version is known: it
/// closes what the resource was meant to protect. For other kinds there is none.
///
/// | kind | what stands in |
/// | --- | --- |
/// | AuthorizationPolicy | `DENY` of everything, for the selector or the targets of the policy |
/// | PeerAuthentication | `STRICT`, for its selector |
/// | RequestAuthentication | nothing: without it no request has a principal, as one without a token, and policies that demand one refuse it |
///
/// A selector or target that cannot be read either makes it the whole namespace; in the root namespace that is the mesh. So do
/// proxies with policies that they cannot decode, and so it must be: nobody knows for what it was meant. The admission webhook
/// is there that it does not come to this.
pub(super) fn stand_in(kind: Kind, text: &RawValue, name: &NamespacedName) -> Option<(u128, Object)> {
    let spec = serde_json::from_str::<Scoped>(text.get()).map(|scoped| scoped.spec).unwrap_or_default();
    let scope = ["selector", "targetRef", "targetRefs"];
    // One at a time: as much of the scope as can be read.
    let kept = |with: &[&str]| {
        let scope = spec.as_object().into_iter().flatten().filter(|(field, _)| with.contains(&field.as_str()));
        let mut spec: serde_json::Map<String, Value> =
            scope.map(|(field, value)| (field.clone(), value.clone())).collect();
        match kind {
            Kind::AuthorizationPolicy => {
                spec.insert("action".to_owned(), "DENY".into());
                spec.insert("rules".to_owned(), json!([{}]));
            }
            Kind::PeerAuthentication => {
                spec.insert("mtls".to_owned(), json!({"mode": "STRICT"}));
            }
            _ => return None,
        }
        let version = format!("{}/v1", kind.group());
        let metadata = json!({"name": name.name.as_str(), "namespace": name.namespace.as_str()});
        let object = json!({"apiVersion": version, "kind": kind.name(), "metadata": metadata, "spec": spec});
        read_one(&Origin::default(), object).ok().flatten()
    };
    kept(&scope).or_else(|| kept(&[]))
}

#[derive(Deserialize)]
struct Scoped {
    #[serde(default)]
    spec: Value,
}
