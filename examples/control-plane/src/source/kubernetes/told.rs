//! Objects as they come, read one by one.

use std::path::Path;
use std::sync::Arc;

use mesh_core::name::NamespacedName;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::collection::Collection;
use super::stand_in::stand_in;
use crate::admission::read_one;
use crate::finding::{Finding, Origin};
use crate::resource::{Kind, Object, ObjectId};

/// An object that was told of.
pub(super) struct Told {
    pub(super) name: NamespacedName,
    /// An object made anew under the name of another is another object.
    pub(super) uid: String,
    pub(super) current: Current,
    /// The object as it was told, where somebody else has a say about it.
    pub(super) manifest: Option<Arc<Value>>,
    /// The object; `None` for one without effect.
    pub(super) parsed: Result<Option<Good>, Bad>,
    /// What is to be said of one that is good.
    pub(super) warnings: Vec<Finding>,
}

/// An object that can be used.
#[derive(Clone)]
pub(super) struct Good {
    pub(super) origin: Origin,
    pub(super) digest: u128,
    pub(super) object: Object,
}

/// One that cannot.
#[derive(Clone)]
pub(super) struct Bad {
    /// Why: at least one.
    pub(super) faults: Vec<Finding>,
    /// What stands in its place when no earlier version is known.
    pub(super) stand_in: Option<Good>,
}

/// An object as it stands in the API server, as far as its status is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Current {
    /// The version of the API that it was read under.
    pub(super) served: &'static str,
    /// What a write must name, so that nothing is overwritten that nobody here has seen.
    pub(super) version: String,
    /// Its status; `null` where it has none, and for kinds whose status is not written.
    pub(super) status: Value,
}

/// What an object is, whatever else it holds.
#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
}

/// Reads objects as the source of this name. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) source: Arc<str>,
    pub(super) kind: Kind,
    pub(super) collection: &'static Collection,
    /// Whether objects are kept as they were told, for somebody else who has a say.
    pub(super) keeps_manifests: bool,
}

impl Reader {
    /// Reads an object; whatever is wrong in it is a part of the result. `None` without a name: there is nothing then that a
    /// finding could be about, and no API server serves such.
    pub(super) fn read(&self, served: &'static str, text: &RawValue) -> Option<Told> {
        let Ok(Named { metadata }) = serde_json::from_str(text.get()) else {
            tracing::warn!(kind = self.collection.name, "an object without a name");
            return None;
        };
        let name = self.key(&metadata);
        let origin = origin(&self.source, self.collection, Some(&name));
        let (status, manifest, parsed) = match serde_json::from_str::<Value>(text.get()) {
            Ok(value) => {
                let (status, value) = prepared(self.collection, served, value);
                let manifest = self.keeps_manifests.then(|| Arc::new(value.clone()));
                (status, manifest, parse(&origin, value))
            }
            Err(error) => (Value::Null, None, Err(vec![origin.error(error.to_string())])),
        };
        let parsed = parsed.map_err(|faults| Bad::new(self.kind, &name, &origin, text, faults));
        let current = Current { served, version: metadata.resource_version, status };
        Some(Told { name, uid: metadata.uid, current, manifest, parsed, warnings: Vec::new() })
    }

    /// Which object a text is about.
    pub(super) fn name(&self, text: &RawValue) -> Option<NamespacedName> {
        serde_json::from_str::<Named>(text.get()).ok().map(|named| self.key(&named.metadata))
    }

    fn key(&self, metadata: &NamedMetadata) -> NamespacedName {
        let namespace = if self.kind.is_namespaced() { metadata.namespace.as_str() } else { "" };
        NamespacedName::new(namespace, metadata.name.as_str())
    }
}

impl Bad {
    /// One of this text, which cannot be used for these reasons.
    pub(super) fn new(
        kind: Kind,
        name: &NamespacedName,
        origin: &Origin,
        text: &RawValue,
        mut faults: Vec<Finding>,
    ) -> Self {
        let object = ObjectId { kind, name: name.clone() }.to_string();
        faults.iter_mut().for_each(|fault| object.clone_into(&mut fault.object));
        let good = |(digest, object)| Good { origin: origin.clone(), digest, object };
        Self { faults, stand_in: stand_in(kind, text, name).map(good) }
    }
}

/// An object with what it is, and its status. What others write into it and nothing here depends on is left out, so that it
/// makes no difference.
fn prepared(collection: &Collection, served: &str, mut value: Value) -> (Value, Value) {
    let Some(object) = value.as_object_mut() else { return (Value::Null, value) };
    let version =
        if collection.group.is_empty() { served.to_owned() } else { format!("{}/{served}", collection.group) };
    // The items of a list do not always say what they are.
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), collection.name.into());
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !matches!(field.as_str(), "managedFields" | "resourceVersion"));
    }
    let mut status = Value::Null;
    if collection.has_status {
        status = object.get("status").cloned().unwrap_or_default();
        if let Some(fields) = object.get_mut("status").and_then(Value::as_object_mut) {
            // What others find out that is read here: where something is found, and which clusters contribute.
            fields.retain(|field, _| matches!(field.as_str(), "addresses" | "loadBalancer" | "clusters"));
        }
    }
    (status, value)
}

/// Reads an object that is prepared.
pub(super) fn parse(origin: &Origin, value: Value) -> Result<Option<Good>, Vec<Finding>> {
    let parsed = read_one(origin, value);
    let good = |(digest, object)| Good { origin: origin.clone(), digest, object };
    parsed.map(|read| read.map(good))
}

/// Where an object stands: `httproutes.gateway.networking.k8s.io/<namespace>/<name>`.
pub(super) fn origin(source: &Arc<str>, collection: &Collection, name: Option<&NamespacedName>) -> Origin {
    let mut file = collection.full_name();
    if let Some(name) = name {
        if collection.is_namespaced {
            file = format!("{file}/{}", name.namespace);
        }
        file = format!("{file}/{}", name.name);
    }
    Origin { source: Arc::clone(source), file: Path::new(&file).into(), ..Origin::default() }
}
