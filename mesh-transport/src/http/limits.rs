//! Bounds that no configuration names.

use std::time::Duration;

/// Time for a client to begin HTTP/2 in earnest.
pub const HTTP2_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest frame of HTTP/2 that is accepted, in bytes: what everybody takes (RFC 9113 section 4.2). Streams of requests
/// take turns by frames, so larger ones would make them wait for each other.
pub const FRAME_BYTES: u32 = 16 * 1024;

/// Bytes that a stream of HTTP/2 may have written and not sent.
pub const SEND_BUFFER_BYTES: usize = 400 * 1024;

/// Bytes that are read ahead of an HTTP/1.1 connection at most, beside what a head may have.
pub const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Streams that a client may reset before they are answered, at once. Envoy's guard against rapid reset
/// (CVE-2023-44487).
pub const RESET_BURST: u32 = 1000;

/// Such streams per second, in the long run.
pub const RESETS_PER_SECOND: f64 = 33.0;

/// Headers that `connection` may name, as in Envoy.
pub const NOMINATED_HEADERS: usize = 10;

/// Streams that are opened on one connection to an endpoint, if it allows as many.
pub const UPSTREAM_STREAMS: usize = 1024;

/// Streams that are opened before an endpoint has said how many it allows.
pub const UPSTREAM_INITIAL_STREAMS: usize = 100;

/// Largest head of a response that is accepted, in bytes.
pub const RESPONSE_HEAD_BYTES: u32 = 60 * 1024;

/// Headers of a response.
pub const RESPONSE_HEADERS: usize = 100;

/// Largest head of a chunk, with its extensions, in bytes.
pub const CHUNK_HEAD_BYTES: usize = 1024;

/// Interim responses to one request that wait to be passed on, at once.
pub const INTERIM_RESPONSES: usize = 8;
