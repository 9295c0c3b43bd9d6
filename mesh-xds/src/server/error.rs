use super::limits::{MAX_HELD, MAX_NAME_BYTES, MAX_TYPE_BYTES, MAX_TYPES};
use crate::limits::MAX_SUBSCRIBED_NAMES;

/// A request breaks the protocol or a limit; the stream is ended with this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No type.
    #[error("`type_url` is missing")]
    NoType,
    /// A longer type than [`MAX_TYPE_BYTES`].
    #[error("`type_url` is longer than {MAX_TYPE_BYTES} bytes")]
    LongType,
    /// More types than [`MAX_TYPES`].
    #[error("more than {MAX_TYPES} types on one stream")]
    TooManyTypes,
    /// More names than [`MAX_SUBSCRIBED_NAMES`].
    #[error("more than {MAX_SUBSCRIBED_NAMES} names of `{0}`")]
    TooManyNames(String),
    /// A longer name than [`MAX_NAME_BYTES`].
    #[error("a name of `{0}` is longer than {MAX_NAME_BYTES} bytes")]
    LongName(String),
    /// More resources held than [`MAX_HELD`].
    #[error("`initial_resource_versions` holds more than {MAX_HELD} resources of `{0}`")]
    TooManyHeld(String),
}

impl Error {
    /// Whether a limit was broken, and not the protocol.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        !matches!(self, Self::NoType)
    }
}

/// Checks the type of a request; `known`: how many types the stream has, and whether this is one of them.
pub(super) fn check_type(type_url: &str, (count, known): (usize, bool)) -> Result<(), Error> {
    match type_url.len() {
        0 => Err(Error::NoType),
        len if len > MAX_TYPE_BYTES => Err(Error::LongType),
        _ if !known && count >= MAX_TYPES => Err(Error::TooManyTypes),
        _ => Ok(()),
    }
}

/// Checks the names in a request.
pub(super) fn check_names<'a>(type_url: &str, names: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
    match names.into_iter().any(|name| name.len() > MAX_NAME_BYTES) {
        true => Err(Error::LongName(type_url.to_owned())),
        false => Ok(()),
    }
}
