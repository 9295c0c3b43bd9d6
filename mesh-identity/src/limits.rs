//! What a peer may make us read or keep.

/// Largest certificate in bytes. SVIDs have 1 to 2 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Most certificates of a peer's chain.
pub const MAX_CHAIN: usize = 10;

/// Largest certificate request in bytes of PEM.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Most authorities in one trust bundle.
pub const MAX_AUTHORITIES: usize = 1_000;

/// Largest trust bundle document in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Largest key set for tokens of requests, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 512 * 1024;

/// Most keys of a key set for tokens of requests.
pub const MAX_KEY_SET_KEYS: usize = 128;

/// Largest token in compact serialisation in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
