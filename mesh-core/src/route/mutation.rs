use std::borrow::Cow;

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::Template;
use crate::request::{Head, Request};

/// What one level of a route table does to headers: first it removes, then it sets, then it adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// On the way to the server.
    pub request: Mutation,
    /// On the way back.
    pub response: Mutation,
}

/// Removals and additions of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mutation {
    /// What is removed, before anything is added.
    pub remove: Vec<HeaderName>,
    /// What is added or set.
    pub add: Vec<Addition>,
}

/// A header that is added or set. Envoy's `HeaderValueOption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: Template,
    /// What becomes of a header of the same name.
    pub action: AppendAction,
    /// Whether it is added with an empty value too; otherwise an empty value adds nothing.
    pub keep_empty: bool,
}

/// What becomes of a header that is there already. Default: it stays, and the value is added beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AppendAction {
    /// It stays; the value is added.
    #[default]
    AppendIfExistsOrAdd,
    /// It stays; the value is added only if there is none.
    AddIfAbsent,
    /// It is replaced; the value is added if there is none.
    OverwriteIfExistsOrAdd,
    /// It is replaced; nothing is added if there is none.
    OverwriteIfExists,
}

impl Mutation {
    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Edits the headers of a request with this head.
    pub fn edit_request(&self, head: &Head<'_>, headers: &mut HeaderMap) {
        self.edit(head, None, headers);
    }

    /// Edits the headers of the response to a request.
    pub fn edit_response(&self, request: &Request<'_>, headers: &mut HeaderMap) {
        self.edit(&request.head, Some(request.headers), headers);
    }

    fn edit(&self, head: &Head<'_>, sent: Option<&HeaderMap>, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        // All values are computed before the first is written: none of them sees another.
        let mut set: SmallVec<[(&HeaderName, HeaderValue); 8]> = SmallVec::new();
        let mut add: SmallVec<[(&HeaderName, HeaderValue); 8]> = SmallVec::new();
        for addition in &self.add {
            let value = addition.value.render(head, sent.unwrap_or(headers));
            let Some(value) = header_value(value).filter(|value| addition.keep_empty || !value.is_empty()) else {
                continue;
            };
            let exists = headers.contains_key(&addition.name);
            match (addition.action, exists) {
                (AppendAction::AppendIfExistsOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                    add.push((&addition.name, value));
                }
                (AppendAction::OverwriteIfExistsOrAdd, _) | (AppendAction::OverwriteIfExists, true) => {
                    set.push((&addition.name, value));
                }
                (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => {}
            }
        }
        for (name, value) in set {
            match headers.entry(name) {
                Entry::Occupied(mut entry) => drop(entry.insert(value)),
                Entry::Vacant(entry) => drop(entry.insert(value)),
            }
        }
        for (name, value) in add {
            headers.append(name, value);
        }
    }
}

/// A rendered value, unless a part of the request in it cannot stand in a header.
fn header_value(value: Cow<'_, str>) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}
