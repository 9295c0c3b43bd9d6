use std::fmt;

use mesh_core::name::Text;

use crate::resource::Warning;

/// A resource as it is understood, and what of it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<T> {
    /// The resource.
    pub value: T,
    /// What was left out of it; the resource is safe without.
    pub warnings: Vec<Warning>,
}

/// A resource cannot be used. It is rejected alone, and the one before it stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no message of the type.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A field that must not be left out is not supported.
    #[error("`{field}` is not supported")]
    Unsupported {
        /// Where it stands.
        field: String,
    },
    /// Something of a type that is not supported stands where leaving it out would not be safe.
    #[error("`{field}`: type `{type_url}` is not supported")]
    UnsupportedType {
        /// Where it stands.
        field: String,
        /// The type.
        type_url: String,
    },
    /// A field that must be there is not.
    #[error("`{field}` is missing")]
    Missing {
        /// Where it should stand.
        field: String,
    },
    /// A field has a value that it must not have.
    #[error("`{field}`: {reason}")]
    Invalid {
        /// Where it stands.
        field: String,
        /// Why it cannot be used.
        reason: String,
    },
}

/// Where in a resource the decoder is, and what it has warned of so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    path: String,
    warnings: Vec<Warning>,
}

impl Report {
    /// Decodes a part of the resource; what is said meanwhile is said of this part.
    pub(super) fn within<T>(&mut self, part: impl fmt::Display, decode: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path = self.at(part);
        let decoded = decode(self);
        self.path.truncate(before);
        decoded
    }

    /// Decodes each element of a list.
    pub(super) fn each<T, U>(
        &mut self,
        field: &str,
        list: impl IntoIterator<Item = T>,
        mut decode: impl FnMut(&mut Self, T) -> Result<U, Error>,
    ) -> Result<Vec<U>, Error> {
        let one = |(index, element)| self.within(format_args!("{field}[{index}]"), |report| decode(report, element));
        list.into_iter().enumerate().map(one).collect()
    }

    /// Decodes a part that may be absent.
    pub(super) fn optional<T, U>(
        &mut self,
        field: &str,
        part: Option<T>,
        decode: impl FnOnce(&mut Self, T) -> Result<U, Error>,
    ) -> Result<Option<U>, Error> {
        part.map(|part| self.within(field, |report| decode(report, part))).transpose()
    }

    /// The whole path of a field of the part that is being decoded.
    pub(super) fn at(&self, field: impl fmt::Display) -> String {
        match self.path.is_empty() {
            true => field.to_string(),
            false => format!("{}.{field}", self.path),
        }
    }

    /// A field without effect; said when it is set to something else than its default.
    pub(super) fn ignored<T: Default + PartialEq>(&mut self, field: &str, value: &T) {
        if *value != T::default() {
            let field = self.at(field);
            self.warnings.push(Warning { field });
        }
    }

    /// A field that must not be left out, when it is set to something else than its default.
    pub(super) fn refused<T: Default + PartialEq>(&self, field: &str, value: &T) -> Result<(), Error> {
        match *value == T::default() {
            true => Ok(()),
            false => Err(Error::Unsupported { field: self.at(field) }),
        }
    }

    /// A field that must be there.
    pub(super) fn required<T>(&self, field: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| Error::Missing { field: self.at(field) })
    }

    /// A text that must not be empty.
    pub(super) fn named(&self, field: &str, text: &str) -> Result<Text, Error> {
        self.required(field, Some(text).filter(|text| !text.is_empty())).map(Text::from)
    }

    /// A value that a field must not have.
    pub(super) fn invalid(&self, field: &str, reason: impl fmt::Display) -> Error {
        Error::Invalid { field: self.at(field), reason: reason.to_string() }
    }

    /// What was decoded, with all warnings.
    pub(super) fn finish<T>(self, value: T) -> Decoded<T> {
        Decoded { value, warnings: self.warnings }
    }
}
