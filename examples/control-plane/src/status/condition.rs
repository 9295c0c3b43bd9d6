use serde_json::{Map, Value, json};

use super::Statuses;
use crate::resource::Kind;
use crate::world::World;

/// Conditions of one object, or of a part of one.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    generation: Option<i64>,
    all: Vec<Value>,
}

/// What a condition says: its status, its reason, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) is_true: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Said {
    pub(super) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_true: true, reason, message: message.into() }
    }

    pub(super) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_true: false, reason, message: message.into() }
    }
}

/// Longest message, in bytes, that an API server takes.
const LONGEST: usize = 32_768;

impl Conditions {
    /// None yet, of an object of this generation.
    pub(super) fn of(generation: Option<i64>) -> Self {
        Self { generation, all: Vec::new() }
    }

    /// Adds a condition.
    pub(super) fn say(&mut self, kind: &str, said: Said) {
        let Said { is_true, reason, mut message } = said;
        message.truncate(message.floor_char_boundary(LONGEST));
        let status = if is_true { "True" } else { "False" };
        let mut fields = Map::new();
        fields.insert("type".to_owned(), kind.into());
        fields.insert("status".to_owned(), status.into());
        fields.insert("reason".to_owned(), reason.into());
        fields.insert("message".to_owned(), message.into());
        if let Some(generation) = self.generation {
            fields.insert("observedGeneration".to_owned(), generation.into());
        }
        self.all.push(Value::Object(fields));
    }

    /// All of them.
    pub(super) fn finish(self) -> Value {
        Value::Array(self.all)
    }
}

/// The conditions of a kind that are there only while there is something to say.
const fn passing(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Gateway => &["InsecureFrontendValidationMode"],
        Kind::Service | Kind::ServiceEntry | Kind::WorkloadEntry => &["istio.io/WaypointBound"],
        Kind::AuthorizationPolicy => &["ZtunnelAccepted", "WaypointAccepted"],
        _ => &[],
    }
}

/// Statuses, with what is not to be said any more: a condition without a `status` is to be taken away, and so are entries of
/// `parents` and `ancestors` that are not named.
#[must_use]
pub fn with_absent(world: &World, statuses: &Statuses) -> Statuses {
    let mut all = statuses.clone();
    for kind in Kind::ALL.iter().copied().filter(|kind| !passing(*kind).is_empty()) {
        for id in world.ids(kind) {
            let status = all.entry(id).or_insert_with(|| json!({}));
            let Some(fields) = status.as_object_mut() else { continue };
            let conditions = fields.entry("conditions").or_insert_with(|| json!([]));
            let Some(conditions) = conditions.as_array_mut() else { continue };
            for name in passing(kind) {
                if !conditions.iter().any(|one| one.get("type").and_then(Value::as_str) == Some(name)) {
                    conditions.push(json!({ "type": name }));
                }
            }
        }
    }
    let lists = [
        (Kind::HttpRoute, "parents"),
        (Kind::GrpcRoute, "parents"),
        (Kind::TlsRoute, "parents"),
        (Kind::TcpRoute, "parents"),
        (Kind::BackendTlsPolicy, "ancestors"),
    ];
    for (kind, field) in lists {
        for id in world.ids(kind) {
            all.entry(id).or_insert_with(|| json!({ field: [] }));
        }
    }
    all
}
