//! HTTP/2 settings, deadlines and bounds of HBONE: those of Istio's ztunnel, where it has them.

use std::time::Duration;

/// Flow-control window of one stream in bytes.
pub const STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// Flow-control window of a connection in bytes. Several stream windows, so that one stalled stream does not starve the
/// others.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Largest frame that is accepted, in bytes.
pub const FRAME_BYTES: u32 = 1024 * 1024;

/// Largest header list that a client accepts, in bytes.
pub const CLIENT_HEADER_BYTES: u32 = 16 * 1024;

/// Largest header list that a server accepts, in bytes.
pub const SERVER_HEADER_BYTES: u32 = 64 * 1024;

/// Streams that a server allows on one connection.
pub const SERVER_STREAMS: u32 = 200;

/// Streams that a client opens on one connection, if the peer allows as many.
pub const CLIENT_STREAMS: usize = 100;

/// Bytes that a client's stream may have written and not sent.
pub const CLIENT_SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Bytes that a server's stream may have written and not sent.
pub const SERVER_SEND_BUFFER: usize = 400 * 1024;

/// A ping after this silence, and then as often.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A peer that does not answer a ping within this is gone.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Deadline of a TLS handshake, and of an HTTP/2 handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Deadline of the answer to a CONNECT request. Longer than the far end's own connect deadline, so that its answer is
/// heard.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// A pooled connection without streams is released after this.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// TLS handshakes that one listener has under way at a time; further connections wait to be accepted.
pub const CONCURRENT_HANDSHAKES: usize = 1024;

/// Longest `baggage` that is read, in bytes.
pub const BAGGAGE_BYTES: usize = 4096;
