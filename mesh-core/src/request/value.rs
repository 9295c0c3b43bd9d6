use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use super::Metadata;
use crate::name::Text;
use crate::string_match::Pattern;

/// What must hold of something that a filter said. Envoy's `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl MetadataMatch {
    /// A matcher that is not inverted.
    #[must_use]
    pub fn new(filter: impl Into<Text>, path: Vec<Text>, value: ValueMatch) -> Self {
        Self { filter: filter.into(), path, value, invert: false }
    }

    /// Whether it holds. Does not allocate.
    #[must_use]
    pub fn is_match(&self, metadata: &Metadata) -> bool {
        let value = metadata.at(self.filter.as_str(), &self.path);
        value.is_some_and(|value| self.value.is_match(value)) != self.invert
    }
}

impl fmt::Display for MetadataMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.invert { "not " } else { "" };
        f.write_str(self.filter.as_str())?;
        self.path.iter().try_for_each(|key| write!(f, "[{key}]"))?;
        write!(f, " {not}{}", self.value)
    }
}

/// How a structured value must be. Envoy's `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// It is null.
    Null,
    /// It is this truth value.
    Bool(bool),
    /// It is a number like this.
    Number(NumberMatch),
    /// It is a text that looks like this.
    Text(Pattern),
    /// It is there. With `false` nothing is right.
    Present(bool),
    /// It is a list, and an element of it is like this.
    Contains(Box<Self>),
    /// It is like one of these.
    Or(Vec<Self>),
}

impl ValueMatch {
    /// Whether a value is as it must be. Does not allocate.
    #[must_use]
    pub fn is_match(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::Number(wanted), Value::Number(value)) => value.as_f64().is_some_and(|value| wanted.is_match(value)),
            (Self::Text(pattern), Value::String(text)) => pattern.is_match(text),
            (Self::Present(wanted), _) => *wanted,
            (Self::Contains(element), Value::Array(list)) => list.iter().any(|value| element.is_match(value)),
            (Self::Or(some), value) => some.iter().any(|wanted| wanted.is_match(value)),
            _ => false,
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(wanted) => wanted.fmt(f),
            Self::Number(wanted) => write!(f, "{wanted:?}"),
            Self::Text(pattern) => pattern.fmt(f),
            Self::Present(true) => f.write_str("present"),
            Self::Present(false) => f.write_str("impossible"),
            Self::Contains(element) => write!(f, "a list with {element}"),
            Self::Or(some) => some.iter().enumerate().try_for_each(|(at, wanted)| match at {
                0 => wanted.fmt(f),
                _ => write!(f, " or {wanted}"),
            }),
        }
    }
}

/// How a number must be.
#[derive(Clone, Copy)]
pub enum NumberMatch {
    /// Equal to this.
    Exact(f64),
    /// In a range.
    Range {
        /// The smallest.
        start: f64,
        /// The first that is too large.
        end: f64,
    },
}

impl NumberMatch {
    /// Whether a number is as it must be.
    #[must_use]
    pub fn is_match(self, number: f64) -> bool {
        match self {
            Self::Exact(wanted) => bits(number) == bits(wanted),
            Self::Range { start, end } => (start..end).contains(&number),
        }
    }

    fn bits(self) -> (u64, Option<u64>) {
        match self {
            Self::Exact(wanted) => (bits(wanted), None),
            Self::Range { start, end } => (bits(start), Some(bits(end))),
        }
    }
}

/// A number as something that is equal to itself; the two zeros are one.
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

impl PartialEq for NumberMatch {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for NumberMatch {}

impl Hash for NumberMatch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Debug for NumberMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(wanted) => write!(f, "{wanted}"),
            Self::Range { start, end } => write!(f, "{start}..{end}"),
        }
    }
}
