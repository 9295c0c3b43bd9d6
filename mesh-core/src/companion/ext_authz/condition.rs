use serde_json::Value;

use crate::filter::Metadata;
use crate::name::Text;
use crate::string_match::Pattern;

/// What must hold of something that a filter said of a request. Envoy's `MetadataMatcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataMatch {
    /// The filter.
    pub filter: Text,
    /// The keys that lead to the value; at least one.
    pub path: Vec<Text>,
    /// How the value must be. A value that is not there is like nothing.
    pub value: ValueMatch,
    /// Whether the value must not be so; then one that is not there will do.
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
    /// It is there. With `false` nothing is right.
    Present(bool),
    /// It is a list, and this holds of one of its elements.
    Contains(Box<Self>),
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
        let value = metadata.at(self.filter.as_str(), &self.path);
        value.is_some_and(|value| self.value.holds(value)) != self.invert
    }
}

impl ValueMatch {
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Present(wanted), _) => *wanted,
            (Self::Or(some), value) => some.iter().any(|matcher| matcher.holds(value)),
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::Text(pattern), Value::String(text)) => pattern.is_match(text),
            (Self::Number(matcher), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| matcher.holds(number))
            }
            (Self::Contains(matcher), Value::Array(list)) => list.iter().any(|value| matcher.holds(value)),
            (Self::Null | Self::Bool(_) | Self::Text(_) | Self::Number(_) | Self::Contains(_), _) => false,
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
