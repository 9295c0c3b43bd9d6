//! Matchers of strings, shared by policies and routes so that what one of them sees the other sees too: [`StringMatch`] for
//! names, as Istio's L4 policies know it, and [`Pattern`] for what a request holds, as Envoy's `StringMatcher` knows it;
//! [`Substitution`] for what an expression replaces.

mod pattern;
mod substitution;

use std::fmt;

pub use pattern::{Pattern, Regex, RegexError};
pub use substitution::{Substitution, SubstitutionError};

use crate::name::Text;

/// How a string must look. Comparison is by bytes and case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StringMatch {
    /// Equal to this.
    Exact(Text),
    /// Beginning with this.
    Prefix(Text),
    /// Ending with this.
    Suffix(Text),
    /// Anything but the empty string.
    Present,
}

impl StringMatch {
    /// Reads Istio's notation: `*` for presence, `*x` for a suffix, `x*` for a prefix, anything else exactly.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(text.into())
        }
    }

    /// Whether `text` looks as it must.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Present => !text.is_empty(),
        }
    }

    /// Whether `head` followed by `tail` looks as it must, without joining them. A SPIFFE ID is kept as trust domain
    /// and path; a policy sees them as one text.
    #[must_use]
    pub fn is_match_joined(&self, head: &str, tail: &str) -> bool {
        let len = head.len() + tail.len();
        match self {
            Self::Exact(exact) => {
                exact.as_str().len() == len && exact.as_str().strip_prefix(head).is_some_and(|rest| rest == tail)
            }
            Self::Prefix(prefix) => {
                let prefix = prefix.as_str();
                head.starts_with(prefix) || prefix.strip_prefix(head).is_some_and(|rest| tail.starts_with(rest))
            }
            Self::Suffix(suffix) => {
                let suffix = suffix.as_str();
                tail.ends_with(suffix) || suffix.strip_suffix(tail).is_some_and(|rest| head.ends_with(rest))
            }
            Self::Present => len > 0,
        }
    }
}

impl fmt::Display for StringMatch {
    /// Istio's notation, as [`StringMatch::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text}"),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Present => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joined_is_the_same_as_joining(pattern in "\\*?[ab]{0,4}\\*?", head in "[ab]{0,3}", tail in "[ab]{0,3}") {
            let matcher = StringMatch::parse(&pattern);
            prop_assert_eq!(matcher.is_match_joined(&head, &tail), matcher.is_match(&format!("{head}{tail}")));
        }
    }

    #[test]
    fn notation_and_meaning() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["", "A", "aa", "b"][..]),
            ("a*", &["a", "ab"], &["", "ba"]),
            ("*a", &["a", "ba"], &["", "ab"]),
            ("*", &["a", "*"], &[""]),
            ("a*b", &["a*b"], &["ab", "axb"]),
        ] {
            let matcher = StringMatch::parse(pattern);
            assert_eq!(matcher.to_string(), pattern);
            for text in yes {
                assert!(matcher.is_match(text), "{pattern} should match {text:?}");
            }
            for text in no {
                assert!(!matcher.is_match(text), "{pattern} should not match {text:?}");
            }
        }
    }
}
