//! What a peer may make us read or keep.

/// Largest discovery message that is accepted, in bytes. A mesh of 100,000 workloads comes in one message.
pub const MAX_MESSAGE_BYTES: usize = 200 * 1024 * 1024;

/// Largest answer of an external authorizer or the rate limit service that is read, in bytes. The answer to a refused client is in
/// it.
pub const MAX_COMPANION_ANSWER_BYTES: usize = 1024 * 1024;

/// Most names that one client may subscribe to per type.
pub const MAX_SUBSCRIBED_NAMES: usize = 100_000;

/// Changes that a server's cache remembers per type; a client that is further behind is compared in full.
pub const CHANGE_LOG: usize = 4096;

/// How deep conditions of a policy may stand within conditions: well below what Protobuf itself lets through.
pub const MAX_CONDITION_DEPTH: usize = 32;
