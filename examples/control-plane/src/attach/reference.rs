//! References from object to object.

use std::fmt;

use mesh_core::name::NamespacedName;

use crate::resource::{Kind, ObjectId, ParentRef};

/// Why what is referred to cannot be used. That it is not permitted is said before all else, so that nobody learns what there
/// is in a namespace that does not permit it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefFault {
    /// It is in another namespace, which does not permit the reference by a ReferenceGrant.
    NotPermitted(String),
    /// It is of a kind that is none for this.
    Kind(String),
    /// It is not there.
    Missing(String),
    /// It does not hold what it should.
    Invalid(String, String),
}

impl fmt::Display for RefFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted(to) => write!(f, "{to} is in another namespace, and no ReferenceGrant there permits it"),
            Self::Kind(kind) => write!(f, "`{kind}` is no kind for this"),
            Self::Missing(to) => write!(f, "{to} is not there"),
            Self::Invalid(to, reason) => write!(f, "{to}: {reason}"),
        }
    }
}

/// The object that a parent reference of a route or ListenerSet of a namespace means, if it is one that can be a parent.
#[must_use]
pub fn parent(namespace: &str, parent: &ParentRef) -> Option<ObjectId> {
    let kind = match (parent.group.as_deref(), parent.kind.as_deref()) {
        (Some("" | "core"), Some("Service")) => Kind::Service,
        (Some("networking.istio.io"), Some("ServiceEntry")) => Kind::ServiceEntry,
        (Some("multicluster.x-k8s.io"), Some("ServiceImport")) => Kind::ServiceImport,
        (None | Some("gateway.networking.k8s.io"), None | Some("Gateway")) => Kind::Gateway,
        (None | Some("gateway.networking.k8s.io"), Some("ListenerSet"))
        | (Some("gateway.networking.x-k8s.io"), Some("XListenerSet")) => Kind::ListenerSet,
        _ => return None,
    };
    let namespace = parent.namespace.as_deref().unwrap_or(namespace);
    Some(ObjectId { kind, name: NamespacedName::new(namespace, parent.name.as_str()) })
}

/// A group, with the two ways in which the one without a name is written.
pub(super) fn group(text: &str) -> &str {
    if text == "core" { "" } else { text }
}
