use http::Uri;
use http::uri::PathAndQuery;

/// Changes of a query: first parameters are set, then others are removed. Names are compared as they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryEdits {
    /// Names and values; a parameter of the same name is replaced, several by one.
    pub set: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

/// A query cannot be changed as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A name or value has characters that must be percent-encoded.
    #[error("`{0}` cannot stand in a query")]
    Character(String),
    /// The target would be none.
    #[error("the changed query makes no target")]
    Target,
}

impl QueryEdits {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The target with these changes.
    ///
    /// # Errors
    /// [`QueryError`], if a name or value is not encoded as it must be.
    pub fn apply(&self, uri: &Uri) -> Result<Uri, QueryError> {
        for (name, value) in &self.set {
            if name.is_empty() || !is_encoded(name) || name.contains('=') {
                return Err(QueryError::Character(name.clone()));
            }
            if !is_encoded(value) {
                return Err(QueryError::Character(value.clone()));
            }
        }
        let mut parameters: Vec<(&str, Option<&str>)> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value))))
            .collect();
        for (name, value) in &self.set {
            let first = parameters.iter().position(|(known, _)| known == name);
            let mut at = 0;
            parameters.retain(|(known, _)| {
                let keep = known != name || Some(at) == first;
                at += 1;
                keep
            });
            match first.and_then(|first| parameters.get_mut(first)) {
                Some((_, known)) => *known = Some(value),
                None => parameters.push((name, Some(value))),
            }
        }
        parameters.retain(|(name, _)| !self.remove.iter().any(|removed| removed == name));
        with_query(uri, &parameters)
    }
}

fn with_query(uri: &Uri, parameters: &[(&str, Option<&str>)]) -> Result<Uri, QueryError> {
    let mut target = uri.path().to_owned();
    for (at, (name, value)) in parameters.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        if let Some(value) = value {
            target.push('=');
            target.push_str(value);
        }
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| QueryError::Target)?);
    Uri::from_parts(parts).map_err(|_| QueryError::Target)
}

/// Whether a text holds only what may stand in a query beside the separators of parameters (RFC 3986, 3.4).
fn is_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => byte.is_ascii_alphanumeric() || b"-._~!$'()*+,;=:@/?".contains(byte),
    })
}
