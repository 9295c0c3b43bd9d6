//! Who else has a say in what takes effect.

use std::fmt;

use serde_json::Value;

use super::inventory::Inventory;
use crate::finding::{Finding, Origin};
use crate::resource::Kind;

/// What is about to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// There was none of its name.
    Create,
    /// It takes the place of another one.
    Update,
    /// It goes.
    Delete,
}

impl Operation {
    /// Its name in an `AdmissionReview` of Kubernetes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// An object that is to take effect, or to go.
#[derive(Debug, Clone, Copy)]
pub struct Review<'a> {
    /// What is done.
    pub operation: Operation,
    /// The object as it was written, whatever its kind; none when it goes.
    pub object: Option<&'a Value>,
    /// The object in whose place it comes, or that goes.
    pub old: Option<&'a Value>,
    /// Who asks for it, as an API server says it (`userInfo`). Nobody knows of a file.
    pub user: Option<&'a Value>,
    /// Where it stands.
    pub origin: &'a Origin,
}

impl<'a> Review<'a> {
    /// The review of an object that stands in a file.
    #[must_use]
    pub const fn create(object: &'a Value, origin: &'a Origin) -> Self {
        Self { operation: Operation::Create, object: Some(object), old: None, user: None, origin }
    }

    /// Which object it is about.
    #[must_use]
    pub fn subject(&self) -> Subject<'a> {
        Subject::of(self.object.or(self.old).unwrap_or(&Value::Null))
    }
}

/// Kind and name of an object, as far as it says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Its API group; empty for Kubernetes' own kinds.
    pub group: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace; empty where it says none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Subject<'a> {
    /// That of an object.
    #[must_use]
    pub fn of(object: &'a Value) -> Self {
        let text = |value: Option<&'a Value>| value.and_then(Value::as_str).unwrap_or_default();
        let api_version = text(object.get("apiVersion"));
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let of_metadata = |field| text(object.get("metadata").and_then(|metadata| metadata.get(field)));
        Self {
            group,
            version,
            kind: text(object.get("kind")),
            namespace: of_metadata("namespace"),
            name: of_metadata("name"),
        }
    }

    /// The namespace in which it is, also where it leaves the default out; empty for what is in none.
    #[must_use]
    pub fn scope(&self) -> &'a str {
        match (self.namespace, Kind::of(self.group, self.kind).map(Kind::is_namespaced)) {
            ("", Some(true)) => "default",
            (_, Some(false)) => "",
            (namespace, _) => namespace,
        }
    }
}

/// As `Kind namespace/name`, or `Kind name`.
impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// Has a say in what takes effect. Whoever reads objects asks before any of them does: an error among the findings refuses.
pub trait Judge: Send + Sync {
    /// What is to be said of one object, among all that there will be with it. Equal questions get equal answers.
    fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding>;

    /// What is to be said of each of several objects that take effect together. The inventory has them already.
    fn judge_all(&self, reviews: &[Review<'_>], inventory: &Inventory) -> Vec<Vec<Finding>> {
        reviews.iter().map(|review| self.judge(review, inventory)).collect()
    }

    /// Whether it looks at the inventory. If not, it may be given an empty one.
    fn sees_others(&self) -> bool {
        false
    }

    /// Another one whenever the answers may be others: what was judged before is then judged again.
    fn revision(&self) -> u64 {
        0
    }
}

/// Has nothing to say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anything;

impl Judge for Anything {
    fn judge(&self, _: &Review<'_>, _: &Inventory) -> Vec<Finding> {
        Vec::new()
    }
}
