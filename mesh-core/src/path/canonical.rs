//! The normal form of a path as Envoy has it, which is that of Chromium's URL library: the same table of characters, the same
//! treatment of dots, the same care for escapes that come to be by unescaping.

use super::PathError;

/// What is done with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It stays, plain or percent-encoded.
    Keep,
    /// It stays if plain; its percent-encoding is undone.
    Unescape,
    /// It is percent-encoded.
    Escape,
}

fn class(byte: u8) -> Class {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'~' => Class::Unescape,
        b'!' | b'$' | b'&'..=b',' | b'.' | b'/' | b':' | b';' | b'=' | b'@' | b'[' | b']' => Class::Keep,
        _ => Class::Escape,
    }
}

/// Whether a path is its own normal form.
pub(super) fn is_canonical(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut at = 0;
    let mut after_slash = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => match escape_at(bytes, at) {
                Some(0) => return false,
                Some(value) if value == b'.' || class(value) == Class::Unescape => return false,
                Some(_) => at += 2,
                None => {}
            },
            b'.' if after_slash && dots(bytes, at).is_some() => return false,
            _ if class(byte) == Class::Escape => return false,
            _ => {}
        }
        after_slash = byte == b'/';
        at += 1;
    }
    true
}

/// The normal form of a path that begins with a slash.
pub(super) fn canonical(path: &str) -> Result<String, PathError> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 16);
    // A percent sign in the output that begins no escape, yet.
    let mut bare_percent = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let dot = dot_at(bytes, at);
        match byte {
            _ if dot > 0 => match dots(bytes, at).filter(|_| out.last() == Some(&b'/')) {
                Some(Dots { up, len }) => {
                    if up {
                        back_to_parent(&mut out);
                        bare_percent = bare_percent.filter(|percent| *percent < out.len());
                    }
                    at += len;
                }
                None => {
                    out.push(b'.');
                    at += dot;
                }
            },
            b'\\' => {
                out.push(b'/');
                at += 1;
            }
            b'%' => match escape_at(bytes, at) {
                Some(0) => return Err(PathError::Nul),
                Some(value) if class(value) == Class::Unescape => {
                    out.push(value);
                    at += 3;
                    if let Some(percent) = bare_percent {
                        guard(&mut out, percent, bytes.get(at).copied());
                    }
                }
                Some(_) => {
                    out.extend_from_slice(bytes.get(at..at + 3).unwrap_or_default());
                    at += 3;
                }
                None => {
                    bare_percent = Some(out.len());
                    out.push(b'%');
                    at += 1;
                }
            },
            0 => return Err(PathError::Nul),
            byte if class(byte) == Class::Escape => {
                out.extend_from_slice(&escaped(byte));
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    // All of it is ASCII: what is not was escaped.
    String::from_utf8(out).map_err(|_| PathError::Unwritable)
}

/// The bare percent sign and what was just unescaped behind it must not become an escape, such as `%2e` of `%%32e`: whoever
/// normalizes the result again would see another path. If it would, the sign is escaped.
fn guard(out: &mut Vec<u8>, percent: usize, next: Option<u8>) {
    let behind = out.get(percent + 1..).unwrap_or_default();
    let becomes_escape = match (behind, next) {
        ([first], Some(next)) => first.is_ascii_hexdigit() && next.is_ascii_hexdigit(),
        ([first, second], _) => first.is_ascii_hexdigit() && second.is_ascii_hexdigit(),
        _ => false,
    };
    if becomes_escape {
        out.splice(percent + 1..percent + 1, *b"25");
    }
}

/// The value of the escape that begins here.
fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let value = digit(at + 1)? * 16 + digit(at + 2)?;
    u8::try_from(value).ok()
}

fn escaped(byte: u8) -> [u8; 3] {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    [b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Length of the dot that stands here, plain or escaped; 0 if none does.
fn dot_at(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..).unwrap_or_default() {
        [b'.', ..] => 1,
        [b'%', b'2', b'e' | b'E', ..] => 3,
        _ => 0,
    }
}

/// A segment of nothing but one dot or two, with the slash behind it.
struct Dots {
    up: bool,
    len: usize,
}

/// The dot segment that begins here, if one does.
fn dots(bytes: &[u8], at: usize) -> Option<Dots> {
    let first = dot_at(bytes, at);
    let second = dot_at(bytes, at + first);
    let slash = match bytes.get(at + first + second) {
        None => 0,
        Some(b'/' | b'\\') => 1,
        Some(_) => return None,
    };
    (first > 0).then_some(Dots { up: second > 0, len: first + second + slash })
}

/// Takes away the last segment of what ends with a slash.
fn back_to_parent(out: &mut Vec<u8>) {
    let without_slash = out.len().saturating_sub(1);
    let parent = out.get(..without_slash).and_then(|path| path.iter().rposition(|byte| *byte == b'/'));
    out.truncate(parent.map_or(1, |slash| slash + 1));
}
