//! What the tests of several resources share.

use std::fmt::Debug;

use mesh_core::name::Text;
use mesh_core::request::{Condition, HeaderMatch};
use mesh_core::string_match::{Pattern, Regex};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::error::{Decoded, Error, Report};

/// A value without warnings.
pub(super) fn whole<T>(value: T) -> Decoded<T> {
    Decoded { value, warnings: Vec::new() }
}

/// Decodes a part of a resource.
pub(super) fn read<T>(read: impl FnOnce(&mut Report) -> Result<T, Error>) -> Result<Decoded<T>, Error> {
    let mut report = Report::default();
    let value = read(&mut report)?;
    Ok(report.finish(value))
}

/// The field that an error names.
pub(super) fn field<T: Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::Unsupported { field }
        | Error::UnsupportedType { field, .. }
        | Error::Missing { field }
        | Error::Invalid { field, .. } => field,
        Error::Malformed(text) => text,
    }
}

/// The fields that warnings name.
pub(super) fn warned<T>(decoded: &Decoded<T>) -> Vec<&str> {
    decoded.warnings.iter().map(|warning| warning.field.as_str()).collect()
}

pub(super) fn changed<T>(mut value: T, change: fn(&mut T)) -> T {
    change(&mut value);
    value
}

/// Changes to some bytes of a message.
pub(super) fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4)
}

pub(super) fn damaged(mut bytes: Vec<u8>, changes: &[(Index, u8)]) -> Vec<u8> {
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

pub(super) fn text() -> impl Strategy<Value = Text> + Clone {
    "[a-z]{1,4}".prop_map(Text::from)
}

pub(super) fn pattern() -> impl Strategy<Value = Pattern> {
    let plain = (text(), any::<bool>(), 0..4u8).prop_map(|(text, ignore_case, kind)| match kind {
        0 => Pattern::Exact { text, ignore_case },
        1 => Pattern::Prefix { text, ignore_case },
        2 => Pattern::Suffix { text, ignore_case },
        _ => Pattern::Contains { text, ignore_case },
    });
    prop_oneof![plain, "[a-z]{1,2}[*+?]".prop_map(|source| Pattern::Regex(Regex::new(&source).unwrap()))]
}

pub(super) fn header() -> impl Strategy<Value = HeaderMatch> {
    let name = select(vec!["x-a", ":method", ":path", ":authority"]).prop_map(|name| name.parse().unwrap());
    let condition = prop_oneof![
        any::<bool>().prop_map(Condition::Present),
        pattern().prop_map(Condition::Text),
        any::<(i64, i64)>().prop_map(|(start, end)| Condition::Range { start, end }),
    ];
    (name, condition, any::<bool>(), any::<bool>()).prop_map(|(name, condition, invert, missing_as_empty)| {
        HeaderMatch { name, condition, invert, missing_as_empty }
    })
}
