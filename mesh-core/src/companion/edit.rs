use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, Entry, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::route::AppendAction;
use crate::string_match::Regex;

/// Most changes that one answer may ask for.
pub const MAX_EDITS: usize = 128;

/// Most bytes that the changes of one answer may have, names and values together.
pub const MAX_EDIT_BYTES: usize = 64 * 1024;

/// A change of a header as a companion asks for it; nobody has looked at it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Bytes,
    /// What becomes of a header of the same name.
    pub action: AppendAction,
}

impl HeaderEdit {
    /// A header that takes the place of one of the same name.
    pub fn set(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into(), action: AppendAction::OverwriteIfExistsOrAdd }
    }

    /// A header that stands beside one of the same name.
    pub fn append(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into(), action: AppendAction::AppendIfExistsOrAdd }
    }
}

/// Which headers of a request a companion may change. Envoy's `HeaderMutationRules`.
///
/// Whatever they say, pseudo-headers, `host`, and the headers that belong to a connection or say where a message ends are
/// not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditRules {
    /// Whether headers that begin with `x-envoy` may be changed.
    pub allow_envoy: bool,
    /// Whether none may be changed.
    pub disallow_all: bool,
    /// Those that may be changed, whatever the fields above say.
    pub allow: Option<Regex>,
    /// Those that may not, whatever else is said.
    pub disallow: Option<Regex>,
    /// Whether an answer that asks for a change that is not allowed fails the request (500); otherwise the change is left out.
    pub disallow_is_error: bool,
}

impl EditRules {
    fn allows(&self, name: &str) -> bool {
        if self.disallow.as_ref().is_some_and(|disallow| disallow.is_match(name)) {
            return false;
        }
        self.allow.as_ref().is_some_and(|allow| allow.is_match(name))
            || !self.disallow_all && (self.allow_envoy || !name.starts_with("x-envoy"))
    }
}

/// A companion asks for a change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Its name is no name of a header.
    #[error("`{name}` is no name of a header")]
    Name {
        /// The name.
        name: String,
    },
    /// Its value cannot stand in a header.
    #[error("the value of `{name}` cannot stand in a header")]
    Value {
        /// The name.
        name: String,
    },
    /// The header is not for others to change.
    #[error("`{name}` may not be changed")]
    Protected {
        /// The name.
        name: String,
    },
    /// There are more changes than are made.
    #[error("more than {MAX_EDITS} changes of headers")]
    TooMany,
    /// The changes are larger than headers may be.
    #[error("changes of headers of more than {MAX_EDIT_BYTES} bytes")]
    TooLarge,
}

/// Changes of headers that have been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits(Vec<(HeaderName, HeaderValue, AppendAction)>);

impl HeaderEdits {
    /// Looks at changes. What is protected is left out, unless `strict` says that it is an error.
    ///
    /// A value that cannot stand in a header is an error in any case: if it were left out, what the client sent under this
    /// name would pass for the companion's.
    ///
    /// # Errors
    /// [`EditError`], at the first change that cannot be made.
    pub fn new(asked: &[HeaderEdit], rules: Option<&EditRules>, strict: bool) -> Result<Self, EditError> {
        if asked.len() > MAX_EDITS {
            return Err(EditError::TooMany);
        }
        if asked.iter().map(|edit| edit.name.len() + edit.value.len()).sum::<usize>() > MAX_EDIT_BYTES {
            return Err(EditError::TooLarge);
        }
        let mut edits = Vec::with_capacity(asked.len());
        for HeaderEdit { name, value, action } in asked {
            let Some(allowed) = Self::name(name, rules, strict)? else { continue };
            let value = HeaderValue::from_maybe_shared(value.clone());
            let value = value.map_err(|_| EditError::Value { name: name.clone() })?;
            edits.push((allowed, value, *action));
        }
        Ok(Self(edits))
    }

    /// Looks at names of headers to be removed. What is protected or is no name is left out.
    ///
    /// # Errors
    /// [`EditError`], if rules say that what they do not allow is an error, and if there are too many.
    pub fn removals(names: &[String], rules: Option<&EditRules>) -> Result<Vec<HeaderName>, EditError> {
        if names.len() > MAX_EDITS {
            return Err(EditError::TooMany);
        }
        let names = names.iter().map(|name| match Self::name(name, rules, false) {
            Err(EditError::Name { .. }) => Ok(None),
            named => named,
        });
        names.filter_map(Result::transpose).collect()
    }

    /// The header of a name; `None` if it is to be left out.
    fn name(name: &str, rules: Option<&EditRules>, strict: bool) -> Result<Option<HeaderName>, EditError> {
        let protected = || EditError::Protected { name: name.to_owned() };
        if name.starts_with(':') {
            return if strict { Err(protected()) } else { Ok(None) };
        }
        let Ok(parsed) = HeaderName::try_from(name) else { return Err(EditError::Name { name: name.to_owned() }) };
        if is_protected(&parsed) {
            return if strict { Err(protected()) } else { Ok(None) };
        }
        match rules {
            Some(rules) if !rules.allows(parsed.as_str()) => match rules.disallow_is_error {
                true => Err(protected()),
                false => Ok(None),
            },
            _ => Ok(Some(parsed)),
        }
    }

    /// The same, and these headers of our own are set.
    pub(super) fn with(mut self, own: HeaderMap) -> Self {
        let own =
            own.into_iter().filter_map(|(name, value)| Some((name?, value, AppendAction::OverwriteIfExistsOrAdd)));
        self.0.extend(own);
        self
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the changes, one after the other.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value, action) in &self.0 {
            let value = value.clone();
            match (action, headers.entry(name)) {
                (AppendAction::AppendIfExistsOrAdd, Entry::Occupied(mut entry)) => entry.append(value),
                (AppendAction::AddIfAbsent, Entry::Occupied(_))
                | (AppendAction::OverwriteIfExists, Entry::Vacant(_)) => {}
                (
                    AppendAction::AppendIfExistsOrAdd
                    | AppendAction::AddIfAbsent
                    | AppendAction::OverwriteIfExistsOrAdd,
                    Entry::Vacant(entry),
                ) => drop(entry.insert(value)),
                (
                    AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd,
                    Entry::Occupied(mut entry),
                ) => {
                    drop(entry.insert(value));
                }
            }
        }
    }
}

/// Whether a header belongs to a connection, says where a message ends, or whom it is for.
pub(super) fn is_protected(name: &HeaderName) -> bool {
    const PROTECTED: [HeaderName; 7] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, TRAILER, UPGRADE];
    const OLD: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
    PROTECTED.contains(name) || OLD.contains(&name.as_str())
}
