//! Reads typed objects out of values: an error names its field, and fields that are not known are collected.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::{Error, Map, Value};

use crate::finding::field::write_key;

/// Why a value is not what is wanted.
pub(super) struct Mistake {
    /// The field; empty for the whole.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) message: String,
}

/// A field that is not known.
pub(super) struct Unknown {
    /// The field.
    pub(super) field: String,
    /// Its name.
    pub(super) name: String,
    /// The name that stands there in its place: one that is known, and similar.
    pub(super) meant: Option<&'static str>,
}

/// Reads a value as a type. Gives also the fields that are not known.
pub(super) fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> (Result<T, Mistake>, Vec<Unknown>) {
    let seen = RefCell::new(Seen::default());
    let read = T::deserialize(At { value, path: &Path::Root, seen: &seen });
    let Seen { wrong, unknown } = seen.into_inner();
    let read =
        read.map_err(|error| Mistake { field: wrong.unwrap_or_default(), message: plain(&error, unknown.last()) });
    (read, unknown)
}

/// What serde says, in words of those who write manifests.
fn plain(error: &Error, last: Option<&Unknown>) -> String {
    let text = error.to_string();
    let said = |what: &str| text.strip_prefix(what)?.split_once(", expected ");
    if let Some((given, wanted)) = said("invalid type: ") {
        let unquoted = ["integer", "floating point", "boolean"].iter().any(|kind| given.starts_with(kind));
        let help = if wanted == "a string" && unquoted { "; put it in quotes" } else { "" };
        return format!("{given} is not {wanted}{help}");
    }
    if let Some((given, wanted)) = said("invalid value: ") {
        let range = match wanted {
            "u8" => "a number from 0 to 255",
            "u16" => "a number from 0 to 65535",
            "u32" => "a number from 0 to 4294967295",
            "u64" => "a number that is not negative",
            other => other,
        };
        return format!("{given} is not {range}");
    }
    if let (Some((field, _)), Some(last)) = (said("unknown field "), last) {
        let meant = last.meant.map(|name| format!("; is `{name}` meant?")).unwrap_or_default();
        return format!("unknown field {field}{meant}");
    }
    match text.strip_prefix("missing field ") {
        Some(field) => format!("{field} is missing"),
        None => text,
    }
}

/// The known name that is nearest to one that is not known.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |known: &&'static str| (strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase()), *known);
    let (distance, known) = known.iter().map(near).min()?;
    (distance <= 1 + name.len() / 4).then_some(known)
}

#[derive(Default)]
struct Seen {
    /// The innermost field whose value is wrong.
    wrong: Option<String>,
    unknown: Vec<Unknown>,
}

/// Where in an object. Written as `spec.rules[0].from`; a key that holds other characters stands in brackets.
enum Path<'a> {
    Root,
    Key(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => {
                parent.fmt(f)?;
                write_key(f, matches!(parent, Self::Root), key)
            }
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value, and where it stands.
#[derive(Clone, Copy)]
struct At<'a, 'de> {
    value: &'de Value,
    path: &'a Path<'a>,
    seen: &'a RefCell<Seen>,
}

impl At<'_, '_> {
    /// Keeps where the error came up first: errors pass by from the inside to the outside.
    fn wrong(&self, error: Error) -> Error {
        self.seen.borrow_mut().wrong.get_or_insert_with(|| self.path.to_string());
        error
    }
}

impl<'a, 'de> At<'a, 'de> {
    fn map<V: Visitor<'de>>(
        self,
        map: &'de Map<String, Value>,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { entries: map.iter(), next: None, known, at: self })
    }
}

impl<'de> Deserializer<'de> for At<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match self.value {
            Value::Object(map) => self.map(map, None, visitor),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter(), index: 0, at: self }),
            other => other.deserialize_any(visitor),
        };
        read.map_err(|error| self.wrong(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let read = match self.value {
            Value::Object(map) => self.map(map, Some(fields), visitor),
            // A sequence would be taken for the fields in their order.
            Value::Array(_) => Err(serde::de::Error::custom("a list is not an object")),
            other => other.deserialize_any(visitor),
        };
        read.map_err(|error| self.wrong(error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor).map_err(|error| self.wrong(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Fields<'a, 'de> {
    entries: serde_json::map::Iter<'de>,
    next: Option<(&'de String, &'de Value)>,
    known: Option<&'static [&'static str]>,
    at: At<'a, 'de>,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next = self.entries.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        let path = Path::Key(self.at.path, key);
        if let Some(known) = self.known.filter(|known| !known.contains(&key.as_str())) {
            let meant = nearest(key, known);
            let unknown = Unknown { field: path.to_string(), name: key.clone(), meant };
            self.at.seen.borrow_mut().unknown.push(unknown);
        }
        let key: BorrowedStrDeserializer<'de, Error> = BorrowedStrDeserializer::new(key);
        let read = seed.deserialize(key.into_deserializer());
        read.map(Some).map_err(|error| At { path: &path, ..self.at }.wrong(error))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((key, value)) = self.next.take() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        let at = At { value, path: &Path::Key(self.at.path, key), seen: self.at.seen };
        seed.deserialize(at).map_err(|error| at.wrong(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct Items<'a, 'de> {
    items: std::slice::Iter<'de, Value>,
    index: usize,
    at: At<'a, 'de>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.at.path, self.index);
        self.index += 1;
        let at = At { value, path: &path, seen: self.at.seen };
        seed.deserialize(at).map(Some).map_err(|error| at.wrong(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}
