use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{Uri, request};

use super::canonical::{canonical, is_canonical};
use super::{EscapedSlashes, PathNormalization};

/// A target after normalization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized<'a> {
    /// Path and query; borrowed if nothing changed.
    pub target: Cow<'a, str>,
    /// Whether the client is to be sent there rather than served.
    pub redirect: bool,
}

/// A path is not one that a policy can be sure of: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    Relative,
    /// It has a `#`, which must not be sent: whoever cuts it off sees another path than who does not.
    #[error("the path has a fragment")]
    Fragment,
    /// It has a `%2F` or `%5C`, which settings forbid.
    #[error("the path has an escaped slash")]
    EscapedSlash,
    /// It has a NUL, plain or percent-encoded, which ends it for some services.
    #[error("the path has a NUL byte")]
    Nul,
    /// The client would have to be sent to `//…`, or `/\…`, which browsers take for the same: another server.
    #[error("a redirect to the path would lead to another server")]
    Redirect,
    /// What it became is no target of HTTP.
    #[error("the path cannot be written")]
    Unwritable,
}

impl PathNormalization {
    /// The normal form of a target, that is, of the path in it. `*`, and the empty target of CONNECT, have no path and stay.
    ///
    /// Doing it again changes nothing. Allocates only if something changes.
    ///
    /// # Errors
    /// [`PathError`], when the path is to be refused.
    pub fn apply<'a>(&self, target: &'a str) -> Result<Normalized<'a>, PathError> {
        if matches!(target, "" | "*") {
            return Ok(Normalized { target: Cow::Borrowed(target), redirect: false });
        }
        let path_end = target.find(['?', '#']).unwrap_or(target.len());
        let (path, query) = target.split_at(path_end);
        if target.contains('#') {
            return Err(PathError::Fragment);
        }
        let mut path = match path {
            // `http://shop?q` has the path of `http://shop/?q`.
            "" => Cow::Owned("/".to_owned()),
            path if path.starts_with('/') => Cow::Borrowed(path),
            _ => return Err(PathError::Relative),
        };
        let mut redirect = false;
        if self.escaped_slashes != EscapedSlashes::Keep
            && let Some(unescaped) = unescape_slashes(&path)
        {
            match self.escaped_slashes {
                EscapedSlashes::Reject => return Err(PathError::EscapedSlash),
                EscapedSlashes::Redirect => redirect = true,
                EscapedSlashes::Keep | EscapedSlashes::Unescape => {}
            }
            path = Cow::Owned(unescaped);
        }
        if self.normalize && !is_canonical(&path) {
            path = Cow::Owned(canonical(&path)?);
        }
        if self.merge_slashes && path.contains("//") {
            path = Cow::Owned(merge_slashes(&path));
        }
        if redirect && leads_away(&path) {
            return Err(PathError::Redirect);
        }
        let target = match path {
            Cow::Borrowed(_) => Cow::Borrowed(target),
            Cow::Owned(path) if query.is_empty() => Cow::Owned(path),
            Cow::Owned(path) => Cow::Owned(path + query),
        };
        Ok(Normalized { target, redirect })
    }

    /// Brings the target of a request into its normal form. Says whether that changed it; `None` if the client is to be sent
    /// to what the target is now, rather than served.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_to(&self, head: &mut request::Parts) -> Result<Option<bool>, PathError> {
        let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let Normalized { target, redirect } = self.apply(target)?;
        let Cow::Owned(target) = target else { return Ok(Some(false)) };
        let target = PathAndQuery::try_from(target).map_err(|_| PathError::Unwritable)?;
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target);
        head.uri = Uri::from_parts(parts).map_err(|_| PathError::Unwritable)?;
        Ok((!redirect).then_some(true))
    }
}

/// The path with its percent-encoded slashes and backslashes as such; `None` when it has none.
fn unescape_slashes(path: &str) -> Option<String> {
    let mut unescaped: Option<String> = None;
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        let slash = match after.as_bytes() {
            [_, b'2', b'F' | b'f', ..] => Some('/'),
            [_, b'5', b'C' | b'c', ..] => Some('\\'),
            _ => None,
        };
        let taken = if slash.is_some() { 3 } else { 1 };
        if let Some(slash) = slash {
            let begun = path.len() - rest.len();
            let unescaped = unescaped.get_or_insert_with(|| path.get(..begun).unwrap_or_default().to_owned());
            unescaped.push_str(before);
            unescaped.push(slash);
        } else if let Some(unescaped) = &mut unescaped {
            unescaped.push_str(before);
            unescaped.push('%');
        }
        rest = after.get(taken..).unwrap_or_default();
    }
    if let Some(unescaped) = &mut unescaped {
        unescaped.push_str(rest);
    }
    unescaped
}

/// Whether a path alone, as the address of a redirect, names another server.
fn leads_away(path: &str) -> bool {
    matches!(path.as_bytes(), [b'/', b'/' | b'\\', ..])
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}
