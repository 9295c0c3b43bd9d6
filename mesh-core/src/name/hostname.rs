use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Error;

/// A DNS name in lower case without a trailing dot, at most 253 bytes; `*.` may stand in front as a wildcard.
///
/// `_` is accepted beside RFC 1123's letters, digits and hyphens, because DNS (RFC 2181 section 11) allows it and
/// service names in the field use it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// Reads a host name; upper case and one trailing dot are normalised away.
    ///
    /// # Errors
    /// [`Error::Hostname`] for an empty name, a label that is empty, too long, or has other characters, and for a bare
    /// IP address: an address is not a name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Hostname(text.to_owned());
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 || name.parse::<std::net::IpAddr>().is_ok() {
            return Err(refuse());
        }
        let labels = name.strip_prefix("*.").unwrap_or(name);
        if !labels.split('.').all(is_label) {
            return Err(refuse());
        }
        Ok(Self(Arc::from(name.to_ascii_lowercase())))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name begins with `*.` and so stands for all names below it.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The wildcards that cover this name, from most to least specific: `a.b.c` gives `*.b.c`, then `*.c`.
    pub fn wildcards(&self) -> impl Iterator<Item = String> + '_ {
        let name = self.0.strip_prefix("*.").unwrap_or(&self.0);
        name.char_indices().filter(|(_, c)| *c == '.').map(move |(dot, _)| format!("*{}", &name[dot..]))
    }
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

impl FromStr for Hostname {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
