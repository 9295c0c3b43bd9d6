use super::Read;
use super::reference::group;
use crate::resource::{GrantFrom, GrantTo, Kind};

/// Who refers to something.
#[derive(Debug, Clone, Copy)]
pub struct Referrer<'a> {
    /// The kind of the object that holds the reference.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: &'a str,
}

/// Whether an object may refer to one of a group, kind, namespace and name: it is of the same namespace, or a ReferenceGrant
/// there says so.
#[must_use]
pub fn is_granted(read: &impl Read, from: Referrer<'_>, to: (&str, &str), namespace: &str, name: &str) -> bool {
    let allows_from = |one: &GrantFrom| {
        (group(&one.group), one.kind.as_str(), one.namespace.as_str())
            == (from.kind.group(), from.kind.name(), from.namespace)
    };
    let allows_to = |one: &GrantTo| {
        let named = one.name.as_deref().filter(|name| !name.is_empty());
        (group(&one.group), one.kind.as_str()) == (group(to.0), to.1) && named.is_none_or(|named| named == name)
    };
    from.namespace == namespace
        || read.grants(namespace).iter().any(|grant| {
            let spec = &grant.spec;
            spec.from.iter().any(allows_from) && spec.to.iter().any(allows_to)
        })
}
