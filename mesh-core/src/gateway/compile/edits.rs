use http::HeaderName;
use http::header::HOST;

use crate::gateway::HeaderModifier;
use crate::name::Text;
use crate::route::{Addition, AppendAction, Mutation, Template};

/// What a modifier does to headers. The authority is none.
pub(super) fn mutation(modifier: &HeaderModifier) -> Mutation {
    let HeaderModifier { set, add, remove } = modifier;
    let addition = |(name, value): &(HeaderName, Text), action| Addition {
        name: name.clone(),
        value: Template::literal(value.as_str()),
        action,
        keep_empty: true,
    };
    let set = set.iter().map(|pair| addition(pair, AppendAction::OverwriteIfExistsOrAdd));
    let add = add.iter().map(|pair| addition(pair, AppendAction::AppendIfExistsOrAdd));
    Mutation {
        remove: remove.iter().filter(|name| **name != HOST).cloned().collect(),
        add: set.chain(add).filter(|addition| addition.name != HOST).collect(),
    }
}

/// The authority that a modifier sets.
pub(super) fn host(modifier: &HeaderModifier) -> Option<&Text> {
    modifier.set.iter().find_map(|(name, value)| (*name == HOST).then_some(value))
}
