//! What one client may make the server keep, compare or repeat. Bounds that client and server share are in
//! [`crate::limits`]; those that depend on a deployment are [`Settings`](super::Settings).

/// Largest request that is accepted, in bytes. A client that comes back with half a million resources names all of them.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Largest node that a client may describe itself by, in bytes. Envoy's takes about 61 kB, most of it its extensions.
pub const MAX_NODE_BYTES: usize = 1024 * 1024;

/// Most types that one stream may ask for. Envoy knows about a dozen.
pub const MAX_TYPES: usize = 64;

/// Longest type URL, in bytes.
pub const MAX_TYPE_BYTES: usize = 512;

/// Longest name of a resource, in bytes.
pub const MAX_NAME_BYTES: usize = 4096;

/// Most resources of a type that a client may say it holds when it comes back.
pub const MAX_HELD: usize = 500_000;

/// How much is kept of what a client says against an answer, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;

/// How many such reasons are kept per type: the newest.
pub const MAX_REASONS: usize = 64;

/// Requests that are taken from one stream before it is answered and others have their turn.
pub const MAX_REQUESTS_AT_ONCE: usize = 64;

/// How many publications are remembered that somebody has not answered; of older ones nobody is told when they converge.
pub const MAX_PUBLICATIONS: usize = 4096;

/// Largest answer of the status service, in bytes of resources; who gets more must ask for fewer clients.
pub const MAX_STATUS_BYTES: usize = 64 * 1024 * 1024;
