use http::HeaderName;
use http::header::HOST;

use crate::route::{Addition, AppendAction, Mutation, Template};

/// What becomes of headers. The authority is none of them: it is rewritten with the URL.
pub(super) fn mutation(
    set: impl Iterator<Item = (HeaderName, Template)>,
    add: impl Iterator<Item = (HeaderName, Template)>,
    remove: &[HeaderName],
) -> Mutation {
    let addition = |action| move |(name, value)| Addition { name, value, action, keep_empty: true };
    let set = set.map(addition(AppendAction::OverwriteIfExistsOrAdd));
    let add = add.map(addition(AppendAction::AppendIfExistsOrAdd));
    Mutation {
        remove: remove.iter().filter(|name| **name != HOST).cloned().collect(),
        add: set.chain(add).filter(|addition| addition.name != HOST).collect(),
    }
}

/// The authority that is set as if it were a header.
pub(super) fn authority<T>(set: &[(HeaderName, T)]) -> Option<&T> {
    set.iter().find_map(|(name, value)| (*name == HOST).then_some(value))
}
