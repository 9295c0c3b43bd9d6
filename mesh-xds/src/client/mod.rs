//! The ADS client, of both variants and over several servers: a pure machine that knows the protocol ([`machine`]), another
//! that knows which server to listen to ([`fallback`]), and an async shell that runs them ([`run`]); last-known-good state on
//! disk ([`persist`], and `keep`, which says when it is written).

pub mod backoff;
pub mod bootstrap;
mod csds;
mod demand;
pub mod fallback;
pub(crate) mod keep;
pub mod machine;
pub mod persist;
mod registry;
mod stream;
mod watch;

use std::time::SystemTime;

pub use csds::StatusService;
pub use demand::Demand;
pub use registry::{OnDataError, WatchError};
pub use stream::{BoxTransport, Connect, Event, Handler, Transport, Wish, first_field, run};
pub use watch::{Client, Driver, Group, Watch, WatchAll};

/// How a client's subscriptions stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether a stream is open on which a server has answered.
    pub connected: bool,
    /// The server that answered last, by its place in the list.
    pub server: Option<usize>,
    /// Whether the state in use was loaded from disk and no server has confirmed it since.
    pub loaded_from_disk: bool,
    /// When the state on disk was written, if it was loaded.
    pub stale_since: Option<SystemTime>,
    /// Whether the state may be served: an accepted answer for every type, or state from disk.
    pub ready: bool,
    /// Why the last stream ended, or the last answer was rejected.
    pub last_error: Option<String>,
    /// Answers of which something was rejected.
    pub rejections: u64,
    /// Answers received.
    pub responses: u64,
}
