use std::fmt;

use http::HeaderMap;

use super::{Field, Request, joined};
use crate::string_match::Pattern;

/// What must hold of a header. Envoy's `envoy.config.route.v3.HeaderMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Which header.
    pub name: Field,
    /// What must hold of it. Several values are seen as one text, joined by commas.
    pub condition: Condition,
    /// Whether the condition must not hold. A header that is missing fails nevertheless, unless presence is asked for.
    pub invert: bool,
    /// Whether a missing header is seen as one with an empty value.
    pub missing_as_empty: bool,
}

/// What is asked of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is there (`true`) or it is not (`false`).
    Present(bool),
    /// It looks like this.
    Text(Pattern),
    /// It is an integer of base 10 from `start` on and below `end`.
    Range {
        /// The smallest.
        start: i64,
        /// The first that is too large.
        end: i64,
    },
}

impl HeaderMatch {
    /// A matcher that is not inverted, and that a missing header fails.
    #[must_use]
    pub fn new(name: Field, condition: Condition) -> Self {
        Self { name, condition, invert: false, missing_as_empty: false }
    }

    /// Whether a request is as it must be.
    #[must_use]
    pub fn is_match(&self, request: &Request<'_>) -> bool {
        self.holds(request.text(&self.name).as_deref())
    }

    /// Whether the headers of a response are as they must be. A response has no pseudo-header but its status, which is not
    /// matched here.
    #[must_use]
    pub fn is_match_response(&self, headers: &HeaderMap) -> bool {
        match &self.name {
            Field::Header(name) => self.holds(joined(headers, name).as_deref()),
            Field::Method | Field::Scheme | Field::Authority | Field::Path => self.holds(None),
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let value = value.or_else(|| self.missing_as_empty.then_some(""));
        let holds = match (&self.condition, value) {
            (Condition::Present(wanted), value) => *wanted == value.is_some(),
            // Missing is not "unlike": inverted or not, there is nothing to compare.
            (_, None) => return false,
            (Condition::Text(pattern), Some(value)) => pattern.is_match(value),
            (Condition::Range { start, end }, Some(value)) => {
                value.trim_ascii().parse().is_ok_and(|number| (*start..*end).contains(&number))
            }
        };
        holds != self.invert
    }
}

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.invert { "not " } else { "" };
        write!(f, "{} {not}", self.name)?;
        match &self.condition {
            Condition::Present(true) => f.write_str("present"),
            Condition::Present(false) => f.write_str("absent"),
            Condition::Text(pattern) => pattern.fmt(f),
            Condition::Range { start, end } => write!(f, "from {start} below {end}"),
        }
    }
}
