use serde_json::Value;

use crate::filter::Metadata;
use crate::route::MetadataPath;
use crate::string_match::Pattern;

/// What must hold of something that a filter said of a request. Envoy's `MetadataMatcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataMatch {
    /// Where it stands.
    pub at: MetadataPath,
    /// What must hold of it.
    pub value: ValueMatch,
    /// Whether that must not hold.
    pub invert: bool,
}

/// What must hold of a value. Envoy's `ValueMatcher`.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueMatch {
    /// It is null.
    Null,
    /// It is this.
    Bool(bool),
    /// It is a number like this.
    Number(NumberMatch),
    /// It is a text like this.
    Text(Pattern),
    /// It is there (`true`) or it is not (`false`).
    Present(bool),
    /// It is a list, and this holds of one of its elements.
    List(Box<Self>),
    /// One of these holds.
    Or(Vec<Self>),
}

/// What must hold of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberMatch {
    /// It is this.
    Exact(f64),
    /// It is not below the start, and below the end.
    Range {
        /// The start.
        start: f64,
        /// The end.
        end: f64,
    },
}

impl MetadataMatch {
    /// Whether it holds.
    #[must_use]
    pub fn is_match(&self, metadata: &Metadata) -> bool {
        self.value.holds(metadata.at(self.at.filter.as_str(), &self.at.keys)) != self.invert
    }
}

impl ValueMatch {
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Present(wanted), value) => *wanted == value.is_some(),
            (Self::Or(some), value) => some.iter().any(|matcher| matcher.holds(value)),
            (Self::Null, Some(Value::Null)) => true,
            (Self::Bool(wanted), Some(Value::Bool(value))) => wanted == value,
            (Self::Text(pattern), Some(Value::String(text))) => pattern.is_match(text),
            (Self::Number(matcher), Some(Value::Number(number))) => {
                number.as_f64().is_some_and(|number| matcher.holds(number))
            }
            (Self::List(matcher), Some(Value::Array(list))) => list.iter().any(|value| matcher.holds(Some(value))),
            (Self::Null | Self::Bool(_) | Self::Text(_) | Self::Number(_) | Self::List(_), _) => false,
        }
    }
}

impl NumberMatch {
    fn holds(self, number: f64) -> bool {
        match self {
            Self::Exact(wanted) => number == wanted,
            Self::Range { start, end } => (start..end).contains(&number),
        }
    }
}
