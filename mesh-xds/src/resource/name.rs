use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode as encode};

/// What is encoded: everything but RFC 3986's unreserved characters and those sub-delimiters that have no meaning in names.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';');

/// As [`PART`], where a path may stand.
const PATH: &AsciiSet = &PART.remove(b'/').remove(b':').remove(b'@');

/// Beginning of a name that says which authority it belongs to.
const SCHEME: &str = "xdstp://";

/// Beginning of type URLs, which names leave out.
const TYPES: &str = "type.googleapis.com/";

/// The name of a resource: a plain one, or one that says its authority (`xdstp://authority/type/id?context`).
///
/// Names of the second form are normal: percent-encoding is canonical, context parameters are sorted, the fragment (how to
/// fetch it, not what it is) is gone. Two names are the same resource when they are equal. xRFC TP1, gRFC A47.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// A plain name.
    Plain(String),
    /// A name with its authority.
    Federated {
        /// Who answers for it; empty is an authority of its own.
        authority: String,
        /// The type, without its `type.googleapis.com/`.
        resource_type: String,
        /// The name within authority and type.
        id: String,
        /// Parameters that belong to the name.
        context: BTreeMap<String, String>,
    },
}

/// A name that begins with `xdstp:` and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no type or no id.
    #[error("`{0}` is not xdstp://authority/type/id")]
    Shape(String),
    /// A percent sign without two hexadecimal digits, or bytes that are no text.
    #[error("`{0}` is not percent-encoded text")]
    Encoding(String),
    /// The fragment asks for something that is not supported.
    #[error("`{name}`: the directive `{directive}` is not supported")]
    Directive {
        /// The name.
        name: String,
        /// The directive.
        directive: String,
    },
    /// The name is of another type than what it names.
    #[error("`{name}` is of type `{found}`")]
    Type {
        /// The name.
        name: String,
        /// The type it is of.
        found: String,
    },
}

impl ResourceName {
    /// Reads the name of a resource of a type.
    ///
    /// # Errors
    /// [`NameError`] when it begins with `xdstp:` and is malformed, or is of another type.
    pub fn of_type(text: &str, type_url: &str) -> Result<Self, NameError> {
        let name: Self = text.parse()?;
        match &name {
            Self::Federated { resource_type, .. } if type_url.strip_prefix(TYPES) != Some(resource_type) => {
                Err(NameError::Type { name: text.to_owned(), found: resource_type.clone() })
            }
            _ => Ok(name),
        }
    }

    /// A text as it stands in the id of a name.
    #[must_use]
    pub fn encoded(text: &str) -> String {
        encode(text, PATH).to_string()
    }

    /// The authority; `None` of a plain name.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Federated { authority, .. } => Some(authority),
        }
    }
}

impl FromStr for ResourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return match text.starts_with("xdstp:") {
                true => Err(NameError::Shape(text.to_owned())),
                false => Ok(Self::Plain(text.to_owned())),
            };
        };
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        if let Some(directive) = fragment.split(',').find(|directive| !directive.is_empty()) {
            return Err(NameError::Directive { name: text.to_owned(), directive: directive.to_owned() });
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let shape = || NameError::Shape(text.to_owned());
        let (authority, path) = path.split_once('/').ok_or_else(shape)?;
        let (resource_type, id) = path.split_once('/').ok_or_else(shape)?;
        if resource_type.is_empty() || id.is_empty() {
            return Err(shape());
        }
        let decode = |part: &str| decoded(part).ok_or_else(|| NameError::Encoding(text.to_owned()));
        let mut context = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Of several with one name the last counts.
            context.insert(decode(key)?, decode(value)?);
        }
        Ok(Self::Federated {
            authority: decode(authority)?,
            resource_type: decode(resource_type)?,
            id: decode(id)?,
            context,
        })
    }
}

impl fmt::Display for ResourceName {
    /// The normal form, as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authority, resource_type, id, context) = match self {
            Self::Plain(name) => return f.write_str(name),
            Self::Federated { authority, resource_type, id, context } => (authority, resource_type, id, context),
        };
        f.write_str(SCHEME)?;
        write!(f, "{}/{}/{}", encode(authority, PART), encode(resource_type, PART), encode(id, PATH))?;
        for (index, (key, value)) in context.iter().enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            write!(f, "{}={}", encode(key, PATH), encode(value, PATH))?;
        }
        Ok(())
    }
}

/// The text that is meant; unlike the crate's own leniency, a percent sign must begin an encoded byte.
fn decoded(text: &str) -> Option<String> {
    let is_digit = |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
    let bytes = text.as_bytes();
    let mut signs = (0..bytes.len()).filter(|at| bytes[*at] == b'%');
    let sound = signs.all(|at| is_digit(bytes.get(at + 1).copied()) && is_digit(bytes.get(at + 2).copied()));
    let decoded = sound.then(|| percent_encoding::percent_decode_str(text))?;
    Some(decoded.decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_resource_has_one_name() {
        for (text, normal) in [
            ("plain", "plain"),
            ("a/b?c#d", "a/b?c#d"),
            ("xdstp://auth/type.Name/id", "xdstp://auth/type.Name/id"),
            ("xdstp://a/t/x/y/z", "xdstp://a/t/x/y/z"),
            ("xdstp:///t/x", "xdstp:///t/x"),
            ("xdstp://a/t/x?b=2&a=1&b=3", "xdstp://a/t/x?a=1&b=3"),
            ("xdstp://a/t/%41%2f%3fb?%61=%20", "xdstp://a/t/A/%3Fb?a=%20"),
            ("xdstp://a/t/x#", "xdstp://a/t/x"),
        ] {
            let name: ResourceName = text.parse().unwrap();
            assert_eq!(name.to_string(), normal, "{text}");
            assert_eq!(normal.parse::<ResourceName>().unwrap(), name, "{text}");
        }
        let url = "type.googleapis.com/t";
        assert_eq!(ResourceName::of_type("xdstp://a/t/x", url).unwrap().authority(), Some("a"));
        assert_eq!(ResourceName::of_type("x", url).unwrap().authority(), None);
    }

    #[test]
    fn what_is_malformed_is_named() {
        for text in ["xdstp:a", "xdstp://a", "xdstp://a/t", "xdstp://a//x", "xdstp://a/t/"] {
            assert_eq!(text.parse::<ResourceName>(), Err(NameError::Shape(text.into())));
        }
        for text in ["xdstp://a/t/%4", "xdstp://a/t/%zz", "xdstp://%ff/t/x"] {
            assert_eq!(text.parse::<ResourceName>(), Err(NameError::Encoding(text.into())));
        }
        let error = "xdstp://a/t/x#alt=y".parse::<ResourceName>().unwrap_err();
        assert_eq!(error.to_string(), "`xdstp://a/t/x#alt=y`: the directive `alt=y` is not supported");
        let error = ResourceName::of_type("xdstp://a/other/x", "type.googleapis.com/t").unwrap_err();
        assert_eq!(error.to_string(), "`xdstp://a/other/x` is of type `other`");
    }

    proptest! {
        #[test]
        fn the_normal_form_is_read_back(
            authority in ".{0,8}", id in ".{1,12}", context in proptest::collection::btree_map(".{0,4}", ".{0,4}", 0..3),
        ) {
            let name = ResourceName::Federated { authority, resource_type: "t.T".into(), id, context };
            prop_assert_eq!(name.to_string().parse::<ResourceName>(), Ok(name));
        }

        #[test]
        fn nothing_panics(text in "xdstp:.{0,20}") {
            let _ = text.parse::<ResourceName>();
        }
    }
}
