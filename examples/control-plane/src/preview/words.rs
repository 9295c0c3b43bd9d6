//! How policies and causes are called, by those who explain and those who compare.

use std::collections::BTreeSet;

use super::mesh::Mesh;
use super::outcome::{Cause, Point, PolicyRef};

/// What decided, with the policies and where they stand. The namespaces are those of what is addressed.
pub(super) fn cause_in_words(mesh: &Mesh, cause: &Cause, namespaces: &BTreeSet<String>) -> String {
    let policies: Vec<String> = cause.policies.iter().map(|policy| policy_in_words(mesh, policy, namespaces)).collect();
    let said = if policies.is_empty() { String::new() } else { format!(": {}", policies.join(", ")) };
    match cause.point {
        Point::Client => format!("{}{said}", cause.why),
        _ => format!("{}{said} ({})", cause.why, cause.point),
    }
}

/// A policy, its rule and where it stands.
pub(super) fn policy_in_words(mesh: &Mesh, policy: &PolicyRef, namespaces: &BTreeSet<String>) -> String {
    if mesh.is_strict(&policy.name) {
        let origins: BTreeSet<String> =
            namespaces.iter().filter_map(|namespace| mesh.strict_origins(namespace).into_iter().next()).collect();
        let origins: Vec<String> = origins.into_iter().collect();
        return format!("PeerAuthentication STRICT ({})", origins.join(", "));
    }
    let rule = policy.rule.map(|rule| format!(" rule {rule}")).unwrap_or_default();
    let origin = mesh.policy_origin(&policy.name).map(|origin| format!(" ({origin})")).unwrap_or_default();
    format!("policy {}{rule}{origin}", policy.name)
}
