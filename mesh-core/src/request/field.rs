use std::fmt;
use std::str::FromStr;

use http::HeaderName;

/// Something of a request that has a name: a header, or what HTTP/2 sends as a pseudo-header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority`, or `host`.
    Authority,
    /// `:path`, with the query.
    Path,
    /// A header.
    Header(HeaderName),
}

/// A text is no name of a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a header")]
pub struct InvalidField(String);

impl FromStr for Field {
    type Err = InvalidField;

    fn from_str(name: &str) -> Result<Self, InvalidField> {
        match name {
            ":method" => Ok(Self::Method),
            ":scheme" => Ok(Self::Scheme),
            ":authority" => Ok(Self::Authority),
            ":path" => Ok(Self::Path),
            _ => match HeaderName::try_from(name) {
                Ok(http::header::HOST) => Ok(Self::Authority),
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(InvalidField(name.to_owned())),
            },
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Header(name) => name.as_str(),
        })
    }
}
