//! How fields are written: `spec.rules[0].from`, and keys of other characters in brackets.

use std::fmt;

/// Writes a key behind the path of what holds it.
pub(crate) fn write_key(to: &mut dyn fmt::Write, first: bool, key: &str) -> fmt::Result {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, first) {
        (true, true) => to.write_str(key),
        (true, false) => write!(to, ".{key}"),
        (false, _) => write!(to, "[{key}]"),
    }
}

/// `a`, `a.b`, `a.b[0]` and so on, up to the whole.
pub(crate) fn prefixes(field: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    let mut ends: Vec<usize> = Vec::new();
    for (at, one) in field.char_indices() {
        match one {
            '[' if !within => {
                ends.push(at);
                within = true;
            }
            ']' => within = false,
            '.' if !within => ends.push(at),
            _ => {}
        }
    }
    ends.push(field.len());
    ends.into_iter().filter(|end| *end > 0).filter_map(|end| field.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_and_taken_apart() {
        let mut path = String::new();
        for (first, key) in [(true, "metadata"), (false, "labels"), (false, "example.com/a[0]")] {
            write_key(&mut path, first, key).unwrap();
        }
        assert_eq!(path, "metadata.labels[example.com/a[0]]");
        assert_eq!(prefixes("spec.a[0].b").collect::<Vec<_>>(), ["spec", "spec.a", "spec.a[0]", "spec.a[0].b"]);
        assert_eq!(prefixes("a[b.c/d]").collect::<Vec<_>>(), ["a", "a[b.c/d]"]);
        assert_eq!(prefixes("").count(), 0);
    }
}
