use std::fmt;
use std::hash::{Hash, Hasher};

use crate::name::Text;

/// How a text of a request must look: a path, the value of a header, a name in a certificate. Envoy's
/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Equal to this.
    Exact {
        /// What it is compared with.
        text: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// Beginning with this.
    Prefix {
        /// The beginning.
        text: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// Ending with this.
    Suffix {
        /// The end.
        text: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// With this anywhere in it.
    Contains {
        /// The part.
        text: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// Matched as a whole by an expression.
    Regex(Regex),
}

impl Pattern {
    /// Equal to this, case-sensitive.
    #[must_use]
    pub fn exact(text: &str) -> Self {
        Self::Exact { text: text.into(), ignore_case: false }
    }

    /// Beginning with this, case-sensitive.
    #[must_use]
    pub fn prefix(text: &str) -> Self {
        Self::Prefix { text: text.into(), ignore_case: false }
    }

    /// Whether a text looks as it must. Does not allocate.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let (given, text) = (text, text.as_bytes());
        match self {
            Self::Exact { text: wanted, ignore_case } => same(text, wanted.as_str().as_bytes(), *ignore_case),
            Self::Prefix { text: wanted, ignore_case } => {
                let wanted = wanted.as_str().as_bytes();
                text.get(..wanted.len()).is_some_and(|head| same(head, wanted, *ignore_case))
            }
            Self::Suffix { text: wanted, ignore_case } => {
                let wanted = wanted.as_str().as_bytes();
                let tail = text.len().checked_sub(wanted.len()).and_then(|at| text.get(at..));
                tail.is_some_and(|tail| same(tail, wanted, *ignore_case))
            }
            Self::Contains { text: wanted, ignore_case: false } => given.contains(wanted.as_str()),
            Self::Contains { text: wanted, ignore_case: true } => {
                let wanted = wanted.as_str().as_bytes();
                wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
            }
            Self::Regex(regex) => regex.is_match(given),
        }
    }
}

impl fmt::Display for Pattern {
    /// `"a"` for exactly that, `"a*"` for its beginning, `"*a"` for its end, `"*a*"` for a part of it, `/a/` for an expression;
    /// an `i` behind it if upper and lower case are the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folded = |ignore_case: bool| if ignore_case { "i" } else { "" };
        match self {
            Self::Exact { text, ignore_case } => write!(f, "\"{text}\"{}", folded(*ignore_case)),
            Self::Prefix { text, ignore_case } => write!(f, "\"{text}*\"{}", folded(*ignore_case)),
            Self::Suffix { text, ignore_case } => write!(f, "\"*{text}\"{}", folded(*ignore_case)),
            Self::Contains { text, ignore_case } => write!(f, "\"*{text}*\"{}", folded(*ignore_case)),
            Self::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

fn same(left: &[u8], right: &[u8], ignore_case: bool) -> bool {
    if ignore_case { left.eq_ignore_ascii_case(right) } else { left == right }
}

/// A regular expression in RE2's syntax that must match the whole text. Runs in time linear in the text, whatever the
/// expression. Compared by its source.
#[derive(Clone)]
pub struct Regex {
    source: Text,
    compiled: regex::Regex,
}

/// Largest size of a compiled expression, in bytes: an expression comes from a server, and must not fill memory.
const COMPILED_BYTES: usize = 1 << 20;

pub(super) fn compile(source: &str) -> Result<regex::Regex, RegexError> {
    let refused = |error: regex::Error| RegexError { source_text: source.to_owned(), reason: error.to_string() };
    regex::RegexBuilder::new(source).size_limit(COMPILED_BYTES).build().map_err(refused)
}

/// An expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{source_text}` is no usable expression: {reason}")]
pub struct RegexError {
    source_text: String,
    reason: String,
}

impl Regex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`RegexError`], when it is malformed or too large.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        // Alone first: `a)|(b` is malformed, though it is not within the parentheses that anchor it.
        compile(source)?;
        let anchored = compile(&format!(r"\A(?:{source})\z"));
        // An error must show the expression as it was given, not as it is compiled.
        let compiled = anchored.map_err(|error| RegexError { source_text: source.to_owned(), ..error })?;
        Ok(Self { source: source.into(), compiled })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.source.as_str()
    }

    /// Whether it matches the whole text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.source).finish()
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(make: fn(Text, bool) -> Pattern, wanted: &str, text: &str) -> (bool, bool) {
        (make(wanted.into(), false).is_match(text), make(wanted.into(), true).is_match(text))
    }

    proptest! {
        #[test]
        fn means_what_the_standard_library_means(wanted in "[abAB]{0,3}", text in "[abAB]{0,5}") {
            let (lower, small) = (text.to_ascii_lowercase(), wanted.to_ascii_lowercase());
            prop_assert_eq!(
                folded(|text, ignore_case| Pattern::Exact { text, ignore_case }, &wanted, &text),
                (text == wanted, lower == small)
            );
            prop_assert_eq!(
                folded(|text, ignore_case| Pattern::Prefix { text, ignore_case }, &wanted, &text),
                (text.starts_with(&wanted), lower.starts_with(&small))
            );
            prop_assert_eq!(
                folded(|text, ignore_case| Pattern::Suffix { text, ignore_case }, &wanted, &text),
                (text.ends_with(&wanted), lower.ends_with(&small))
            );
            prop_assert_eq!(
                folded(|text, ignore_case| Pattern::Contains { text, ignore_case }, &wanted, &text),
                (text.contains(&wanted), lower.contains(&small))
            );
        }
    }

    #[test]
    fn an_expression_matches_the_whole_text() {
        let regex = Regex::new("a|b+").unwrap();
        assert!(regex.is_match("a") && regex.is_match("bbb"));
        assert!(!regex.is_match("ab") && !regex.is_match("a\n") && !regex.is_match("xa"));
        assert_eq!(regex, Regex::new("a|b+").unwrap());
        assert_eq!(regex.as_str(), "a|b+");
    }

    #[test]
    fn a_malformed_or_huge_expression_is_refused_by_name() {
        for source in ["(", "a)|(b", "[z-a]", "(a{1000}){1000}", "(?<=a)b"] {
            let error = Regex::new(source).unwrap_err();
            assert!(error.to_string().contains(source), "{error}");
        }
    }
}
