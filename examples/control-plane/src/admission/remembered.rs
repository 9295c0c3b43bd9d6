//! What the documents of a large file said when it was read last. Of a file with a hundred thousand objects one changes: the
//! others need not be read again.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};

use super::file::ReadObject;
use crate::resource::Object;

/// A file of fewer documents is read faster than it is worth to remember.
const LARGE: usize = 32;

/// Digest of a document's text.
pub(super) type TextDigest = u128;

/// Documents of which each holds one object, and nothing that there is to say about it: by their text, the digest of the object
/// and the object. What a document says follows from its text alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered(HashMap<TextDigest, (u128, Object)>);

impl Remembered {
    /// Whether the documents of a file with so many are remembered.
    pub(super) const fn is_worth(documents: usize) -> bool {
        documents >= LARGE
    }

    /// What a document said.
    pub(super) fn get(&self, text: TextDigest) -> Option<&(u128, Object)> {
        self.0.get(&text)
    }

    /// Remembers what a document says.
    pub(super) fn put(&mut self, text: TextDigest, read: &ReadObject) {
        self.0.insert(text, (read.digest, read.object.clone()));
    }
}

/// The digest of a document's text. Nobody may find another text with the same: it would be taken for this one.
pub(super) fn digest_of(text: &str) -> TextDigest {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}
