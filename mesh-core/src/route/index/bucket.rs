use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{FEW, Search};
use crate::name::Text;
use crate::request::{Condition, Field, HeaderMatch, Request};
use crate::route::{CookieMatch, QueryCondition, QueryMatch, Route, RouteMatch};
use crate::string_match::Pattern;

/// Routes whose paths look alike, divided further by the values that they ask for, as far as that spares tests.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    /// The first of all routes in it.
    first: usize,
    splits: Vec<Split>,
    /// Those in no split, in order.
    rest: Vec<usize>,
}

/// Routes that ask for one exact value of the same thing.
#[derive(Debug, Clone)]
struct Split {
    key: Key,
    values: HashMap<Box<str>, Bucket>,
}

/// So often a bucket is divided within one that is divided. Tables come from servers, and must not use up the stack.
const NESTED: usize = 16;

/// Of what a route may ask for an exact value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Field(Field),
    Query(Text),
    Cookie(Text),
}

impl Bucket {
    /// Routes at these positions, which are in order.
    pub(super) fn new(routes: &[Route], positions: Vec<usize>) -> Self {
        Self::nested(routes, positions, NESTED)
    }

    fn nested(routes: &[Route], positions: Vec<usize>, nested: usize) -> Self {
        let first = positions.first().copied().unwrap_or(usize::MAX);
        let mut bucket = Self { first, splits: Vec::new(), rest: positions };
        if let (Some(nested), FEW..) = (nested.checked_sub(1), bucket.rest.len()) {
            let mut groups = groups(routes, &bucket.rest);
            groups.sort_by_cached_key(|group| Reverse(group.spared()));
            groups.into_iter().for_each(|group| bucket.split(routes, group, nested));
        }
        bucket
    }

    /// Moves the routes of a group that are not yet in a split into one of their own, if that is worth a lookup.
    fn split(&mut self, routes: &[Route], mut group: Group<'_>, nested: usize) {
        group.values.retain(|_, positions| {
            positions.retain(|at| self.rest.binary_search(at).is_ok());
            !positions.is_empty()
        });
        if group.spared() < FEW {
            return;
        }
        let mut moved: Vec<usize> = group.values.values().flatten().copied().collect();
        moved.sort_unstable();
        self.rest.retain(|at| moved.binary_search(at).is_err());
        let values =
            group.values.into_iter().map(|(value, positions)| (value.into(), Self::nested(routes, positions, nested)));
        self.splits.push(Split { key: group.key, values: values.collect() });
    }

    pub(super) fn visit(&self, search: &mut Search<'_>) {
        if !search.may_improve(self.first) {
            return;
        }
        for Split { key, values } in &self.splits {
            if let Some(bucket) = key.value(search.request).and_then(|value| values.get(&*value)) {
                bucket.visit(search);
            }
        }
        search.visit(self.rest.iter().copied());
    }
}

impl Key {
    fn value<'a>(&self, request: &Request<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Field(field) => request.text(field),
            Self::Query(name) => request.query_value(name.as_str()).map(Cow::Borrowed),
            Self::Cookie(name) => request.cookie(name.as_str()).map(Cow::Borrowed),
        }
    }
}

/// Routes that ask for a value of one thing, by the value.
struct Group<'r> {
    key: Key,
    values: HashMap<&'r str, Vec<usize>>,
    /// The route that was added last.
    last: Option<usize>,
}

impl Group<'_> {
    /// How many tests a lookup is spared at least.
    fn spared(&self) -> usize {
        let (sum, largest) = self.values.values().fold((0, 0), |(sum, largest), positions| {
            let len = positions.len();
            (sum + len, largest.max(len))
        });
        sum - largest
    }
}

/// Every route stands in the group of each thing of which it asks for a value.
fn groups<'r>(routes: &'r [Route], positions: &[usize]) -> Vec<Group<'r>> {
    let mut groups: Vec<Group<'r>> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    for at in positions {
        let Some(route) = routes.get(*at) else { continue };
        for (key, value) in asked_values(&route.matcher) {
            let group = match known.entry(key) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    groups.push(Group { key: entry.key().clone(), values: HashMap::new(), last: None });
                    *entry.insert(groups.len() - 1)
                }
            };
            // Two values of one thing are never there at once, so one of them is as good as both.
            if let Some(group) = groups.get_mut(group).filter(|group| group.last != Some(*at)) {
                group.values.entry(value).or_default().push(*at);
                group.last = Some(*at);
            }
        }
    }
    groups
}

/// Values without which a route does not match.
fn asked_values(matcher: &RouteMatch) -> impl Iterator<Item = (Key, &str)> {
    let headers = matcher.headers.iter().filter_map(|header| match header {
        HeaderMatch { name, condition: Condition::Text(pattern), invert: false, missing_as_empty: false } => {
            Some((Key::Field(name.clone()), exact(pattern)?))
        }
        _ => None,
    });
    let query = matcher.query.iter().filter_map(|query| match query {
        QueryMatch { name, condition: QueryCondition::Text(pattern) } => {
            Some((Key::Query(name.clone()), exact(pattern)?))
        }
        QueryMatch { condition: QueryCondition::Present(_), .. } => None,
    });
    let cookies = matcher.cookies.iter().filter_map(|cookie| match cookie {
        CookieMatch { name, pattern, invert: false } => Some((Key::Cookie(name.clone()), exact(pattern)?)),
        CookieMatch { invert: true, .. } => None,
    });
    headers.chain(query).chain(cookies)
}

fn exact(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::Exact { text, ignore_case: false } => Some(text.as_str()),
        _ => None,
    }
}
