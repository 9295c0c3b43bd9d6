//! What keeps requests alive when servers are slow or fail: time limits, retries, hedging, copies, and the [`Forwarder`] that
//! does all of it as routes say.

mod attempts;
mod body;
mod deadline;
mod filter;
mod forward;
mod layer;
mod limits;
mod progress;
mod replay;
mod timer;
mod tracked;

pub use body::{ResponseBody, ResponseError};
pub use filter::{
    BodyLimit, Cors, Deadline, EditHeaders, Faults, LocalRateLimiting, PassDeadline, ReadDeadline, Sessions,
};
pub use forward::{
    EnvoyHeaders, ForwardSettings, Forwarder, Forwarding, Overrides, SendError, SendFailure, Spawn, Upstream,
    Upstreams, Work,
};
pub use layer::{
    ConcurrencyLayer, HedgeLayer, Judge, Limited, Limiting, MirrorLayer, Mirrored, Retried, RetryLayer, Retrying,
    Timed, TimeoutLayer, Timing, Unseen,
};
pub use limits::{Expired, TimeLimits};
pub use replay::{BodyError, ReplayBody};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
