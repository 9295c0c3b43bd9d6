use std::borrow::Cow;

use super::pattern::{RegexError, compile};
use crate::name::Text;

/// An expression and what each of its matches becomes: Envoy's `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
///
/// Unlike a [`Regex`](super::Regex), which must match the whole text, every part that matches is replaced. Compared by its
/// sources.
#[derive(Debug, Clone)]
pub struct Substitution {
    pattern: Text,
    replacement: Text,
    compiled: regex::Regex,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Text),
    Group(usize),
}

/// A substitution cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubstitutionError {
    /// The expression.
    #[error(transparent)]
    Pattern(#[from] RegexError),
    /// A backslash of the replacement is followed by something else than a digit or another one.
    #[error("in `{replacement}` a backslash is followed by neither a digit nor a backslash")]
    Escape {
        /// The replacement.
        replacement: String,
    },
    /// The replacement names a group that the expression does not have.
    #[error("`{replacement}` names group {group}, of which the expression has none")]
    Group {
        /// The replacement.
        replacement: String,
        /// Number of the group.
        group: usize,
    },
}

impl Substitution {
    /// Compiles an expression and its replacement, in RE2's syntax: `\0` is the whole match, `\1` to `\9` its groups, `\\` a
    /// backslash.
    ///
    /// # Errors
    /// [`SubstitutionError`], when either is malformed.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, SubstitutionError> {
        let compiled = compile(pattern)?;
        let pieces = pieces(replacement, compiled.captures_len())?;
        Ok(Self { pattern: pattern.into(), replacement: replacement.into(), compiled, pieces })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// The replacement as it was given.
    #[must_use]
    pub fn replacement(&self) -> &str {
        self.replacement.as_str()
    }

    /// The text with each match replaced. Allocates only when something matches.
    #[must_use]
    pub fn replace_all<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.compiled.replace_all(text, |groups: &regex::Captures<'_>| {
            let piece = |piece| match piece {
                &Piece::Group(group) => groups.get(group).map_or("", |group| group.as_str()),
                Piece::Literal(text) => text.as_str(),
            };
            self.pieces.iter().map(piece).collect::<String>()
        })
    }
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.replacement == other.replacement
    }
}

impl Eq for Substitution {}

fn pieces(replacement: &str, groups: usize) -> Result<Vec<Piece>, SubstitutionError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = replacement.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            literal.push(character);
            continue;
        }
        match rest.next() {
            Some('\\') => literal.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = usize::from(digit as u8 - b'0');
                if group >= groups {
                    return Err(SubstitutionError::Group { replacement: replacement.to_owned(), group });
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(group));
            }
            _ => return Err(SubstitutionError::Escape { replacement: replacement.to_owned() }),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_envoys_manual() {
        for (pattern, replacement, from, to) in [
            (r"^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            (r"^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("a", r"\\\0$1", "a", r"\a$1"),
            ("z", "y", "abc", "abc"),
            ("(a)|b", r"<\1>", "ab", "<a><>"),
        ] {
            assert_eq!(
                Substitution::new(pattern, replacement).unwrap().replace_all(from),
                to,
                "{pattern} {replacement}"
            );
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        use SubstitutionError as E;
        assert!(matches!(Substitution::new("(", ""), Err(E::Pattern(_))));
        assert!(matches!(Substitution::new("a", r"\1"), Err(E::Group { group: 1, .. })));
        assert!(matches!(Substitution::new("a", r"\x"), Err(E::Escape { .. })));
        assert!(matches!(Substitution::new("a", "\\"), Err(E::Escape { .. })));
    }
}
