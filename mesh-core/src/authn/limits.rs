//! What a request may make us look at.

/// Largest token in bytes. A larger one is refused before it is taken apart.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Most tokens at the places of one requirement.
pub const MAX_TOKENS: usize = 8;

/// How deep requirements may stand in each other.
pub const MAX_DEPTH: usize = 32;
