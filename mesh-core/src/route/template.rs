use std::borrow::Cow;

use http::HeaderMap;

use crate::name::Text;
use crate::request::{Field, Head};

/// A text with parts of the request in it, as Envoy's substitution format writes them. Compared by its source.
///
/// | written | stands for |
/// | --- | --- |
/// | `%%` | a percent sign |
/// | `%REQ(name)%`, `%REQ(name?other):12%` | a header of the request, else the other, at most so many bytes |
/// | `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%` | the address of the client |
///
/// What the request does not have stands for nothing.
#[derive(Debug, Clone)]
pub struct Template {
    source: Text,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Text),
    Header { name: Field, other: Option<Field>, longest: usize },
    ClientAddress,
}

/// A template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A percent sign opens something that is not closed.
    #[error("an operator is not closed in `{template}`")]
    Open {
        /// The template.
        template: String,
    },
    /// An operator that is not known, or has unusable arguments.
    #[error("operator `{operator}` is not supported")]
    Operator {
        /// The operator, without its percent signs.
        operator: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`], when it is malformed or has an operator that is not in the table above.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            let open = || TemplateError::Open { template: source.to_owned() };
            let (operator, after) = after.split_once('%').ok_or_else(open)?;
            if operator.is_empty() {
                literal.push('%');
            } else {
                push(&mut pieces, &mut literal);
                let unknown = || TemplateError::Operator { operator: operator.to_owned() };
                pieces.push(Piece::parse(operator).ok_or_else(unknown)?);
            }
            rest = after;
        }
        literal.push_str(rest);
        push(&mut pieces, &mut literal);
        Ok(Self { source: source.into(), pieces })
    }

    /// The template that stands for this text in every request.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut pieces = Vec::new();
        push(&mut pieces, &mut text.to_owned());
        Self { source: text.replace('%', "%%").into(), pieces }
    }

    /// The template as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.source.as_str()
    }

    /// The text for a request. Allocates only when parts are put together.
    #[must_use]
    pub fn render<'a>(&'a self, head: &Head<'a>, headers: &'a HeaderMap) -> Cow<'a, str> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(""),
            [piece] => piece.render(head, headers),
            pieces => Cow::Owned(pieces.iter().map(|piece| piece.render(head, headers)).collect()),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Template {}

impl Piece {
    fn parse(operator: &str) -> Option<Self> {
        if operator == "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" {
            return Some(Self::ClientAddress);
        }
        let (names, longest) = operator.strip_prefix("REQ(")?.split_once(')')?;
        let longest = match longest {
            "" => usize::MAX,
            longest => longest.strip_prefix(':')?.parse().ok()?,
        };
        let (name, other) = match names.split_once('?') {
            Some((name, other)) => (name, Some(other.parse().ok()?)),
            None => (names, None),
        };
        Some(Self::Header { name: name.parse().ok()?, other, longest })
    }

    fn render<'a>(&'a self, head: &Head<'a>, headers: &'a HeaderMap) -> Cow<'a, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text.as_str()),
            Self::ClientAddress => head.source.map(|source| Cow::Owned(source.to_string())).unwrap_or_default(),
            Self::Header { name, other, longest } => {
                let other = || head.text(other.as_ref()?, headers);
                let value = head.text(name, headers).or_else(other).unwrap_or_default();
                match value {
                    Cow::Borrowed(value) => Cow::Borrowed(clip(value, *longest)),
                    Cow::Owned(value) => Cow::Owned(clip(&value, *longest).to_owned()),
                }
            }
        }
    }
}

fn push(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into()));
    }
}

fn clip(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text)
}
