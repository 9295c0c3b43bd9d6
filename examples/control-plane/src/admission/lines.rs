//! On which line of a document a field stands. It costs a second look at the document, which is taken only where something
//! is wrong.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_saphyr::granit_parser::{Event, Parser};

use crate::finding::field::{prefixes, write_key};

/// The lines of fields, counted from that of the text, 1. Each is that of the innermost part that is there: of the field
/// itself, or of what should hold it.
pub(super) fn of_fields<'f>(text: &str, fields: impl Iterator<Item = &'f str>) -> HashMap<&'f str, u64> {
    let fields: Vec<_> = fields.collect();
    let mut wanted: HashMap<&str, Option<u64>> =
        fields.iter().flat_map(|field| prefixes(field)).map(|part| (part, None)).collect();
    walk(text, |path, line| {
        if let Some(place) = wanted.get_mut(path) {
            place.get_or_insert(line);
        }
    });
    let innermost = |field: &str| prefixes(field).filter_map(|part| *wanted.get(part)?).last();
    fields.iter().filter_map(|field| Some((*field, innermost(field)?))).collect()
}

/// The lines on which the items of a list begin.
pub(super) fn of_items(text: &str) -> Vec<u64> {
    let mut lines = Vec::new();
    walk(text, |path, line| {
        let index = path.strip_prefix("items[").and_then(|rest| rest.strip_suffix(']'));
        if index.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit())) {
            lines.push(line);
        }
    });
    lines
}

/// A collection that is open.
struct Open {
    /// Length of its path.
    path: usize,
    holds: Holds,
}

enum Holds {
    /// The index of the next item.
    Items(usize),
    /// A key comes next.
    Keys,
    /// The value of a key comes next, which stood on this line. The path ends in it.
    Value(u64),
}

/// Calls for each node with its path and line: that of its key, where it has one. A document that ends in an error is walked
/// as far as it goes.
fn walk(text: &str, mut seen: impl FnMut(&str, u64)) {
    let mut path = String::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { return };
        let line = span.start.line() as u64;
        let (starts, scalar) = match &event {
            Event::MappingStart(..) => (Some(Holds::Keys), None),
            Event::SequenceStart(..) => (Some(Holds::Items(0)), None),
            Event::Scalar(text, ..) => (None, Some(text.as_ref())),
            Event::Alias(_) => (None, Some("")),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            _ => continue,
        };
        let first = open.len() == 1;
        let line = match open.last_mut() {
            None => line,
            Some(parent) => {
                if !matches!(parent.holds, Holds::Value(_)) {
                    path.truncate(parent.path);
                }
                match parent.holds {
                    Holds::Items(index) => {
                        let _ = write!(path, "[{index}]");
                        parent.holds = Holds::Items(index + 1);
                        line
                    }
                    Holds::Keys => {
                        // What is no scalar is no key of an object.
                        let _ = write_key(&mut path, first, scalar.unwrap_or_default());
                        parent.holds = Holds::Value(line);
                        if let Some(holds) = starts {
                            open.push(Open { path: path.len(), holds });
                        }
                        continue;
                    }
                    Holds::Value(key) => {
                        parent.holds = Holds::Keys;
                        key
                    }
                }
            }
        };
        seen(&path, line);
        if let Some(holds) = starts {
            open.push(Open { path: path.len(), holds });
        }
    }
}
