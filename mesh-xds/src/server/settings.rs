use std::time::Duration;

/// How a [`Service`](super::Service) serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Types that must reach a client before others when several change at once. Default: none; those that are not listed
    /// come last, in the order of their names.
    pub order: Vec<&'static str>,
    /// Types of which a client that names nothing is given nothing. By the protocol's old form of the wildcard it would be
    /// given everything; gRPC never means that, and a client whose list has become empty would be given the world by a server
    /// that does not remember the list before. `*` still means everything. Default: none.
    pub named_only: Vec<&'static str>,
    /// How changes in quick succession are made one answer. Default: not at all; a client that reads slowly is given the
    /// newest state in any case.
    pub debounce: Option<Debounce>,
    /// Most streams that one client may have open at once; more are refused with RESOURCE_EXHAUSTED. A client is what
    /// [`Access::admit`](super::Access::admit) calls it, so this is of use only where that tells clients apart. Default: no
    /// limit.
    pub streams_per_client: Option<usize>,
    /// How many clients are given their first answers at a time; others wait for their turn, which comes when one of those has
    /// answered them, or 5 s after it began. After a restart it bounds what is compared and encoded at once. Default: no limit.
    pub first_answers: Option<usize>,
    /// How fast a client may ask.
    pub pace: Pace,
}

/// How changes in quick succession are made one answer. What a client asks for anew is answered at once, from the state
/// that it was served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debounce {
    /// A change is sent when nothing else has changed for so long.
    pub quiet: Duration,
    /// And so long after the first change at the latest.
    pub latest: Duration,
}

/// How fast a client may ask. Who is faster is not refused; its requests wait in its own connection, which then fills, and
/// costs no other client anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests per second. Default: 1,000; 0 counts as 1.
    pub per_second: u32,
    /// Requests that may come at once after a pause. Default: 10,000, so that a node that comes back with all that it needs
    /// does not wait.
    pub burst: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: 1_000, burst: 10_000 }
    }
}
