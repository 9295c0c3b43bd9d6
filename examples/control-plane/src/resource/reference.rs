//! References from object to object, and `gateway.networking.k8s.io` ReferenceGrant, which allows them across namespaces.

use serde::Deserialize;

use super::Metadata;

/// A reference to an object that may be in another namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct ObjectReference {
    /// API group; empty when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Kind; `Secret` when absent, where certificates are meant.
    #[serde(default)]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Namespace; that of the object that refers when absent.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// A reference to an object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct LocalReference {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// `gateway.networking.k8s.io ReferenceGrant`: objects of its namespace may be referred to from others.
#[derive(Debug, Clone, Deserialize)]
pub struct ReferenceGrant {
    /// Name; the namespace is that of what may be referred to.
    pub metadata: Metadata,
    /// Whom it allows what.
    pub spec: ReferenceGrantSpec,
}

/// Specification of a ReferenceGrant. A reference is allowed where any of both fits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ReferenceGrantSpec {
    /// Which objects may refer.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// Objects that may refer to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct GrantFrom {
    /// Their API group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Objects that may be referred to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct GrantTo {
    /// Their API group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Only the one of this name; all when absent or empty.
    #[serde(default)]
    pub name: Option<String>,
}
