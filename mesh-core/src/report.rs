//! Errors as people read them. An error's text tells one level; its sources tell the rest.

use std::error::Error;

/// An error with all its sources in one line, from the outside in.
///
/// ```
/// let error = std::io::Error::other("no route".parse::<u8>().unwrap_err());
/// assert_eq!(mesh_core::report::chain(&error), "invalid digit found in string");
/// ```
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let told = inner.to_string();
        // Some errors repeat what they wrap.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = inner.source();
    }
    text
}
