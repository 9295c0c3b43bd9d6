use std::time::Duration;

use super::Fraction;
use crate::name::Text;
use crate::request::HeaderMatch;

/// Faults that are made on purpose, to see how callers cope. Envoy's `envoy.extensions.filters.http.fault.v3.HTTPFault`.
///
/// Delay and abort are drawn independently; a request may suffer both, the delay first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Requests that are held back.
    pub delay: Option<FaultDelay>,
    /// Requests that are answered with an error.
    pub abort: Option<FaultAbort>,
    /// Only requests to this cluster; empty for all.
    pub cluster: Text,
    /// Only requests whose headers look like this, in all these ways.
    pub headers: Vec<HeaderMatch>,
    /// How many faults there are at once at most; `None` for any number.
    pub max_active: Option<u32>,
}

/// Requests that are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultDelay {
    /// For how long.
    pub length: FaultLength,
    /// Which part of the requests. With [`FaultLength::Header`] the largest part that a request may ask for.
    pub fraction: Fraction,
}

/// How long a request is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultLength {
    /// So long.
    Fixed(Duration),
    /// As long as `x-envoy-fault-delay-request` says, in milliseconds; without it, not at all.
    Header,
}

/// Requests that are answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultAbort {
    /// Which error.
    pub status: FaultStatus,
    /// Which part of the requests. With [`FaultStatus::Header`] the largest part that a request may ask for.
    pub fraction: Fraction,
    /// Body of the answer; empty for `fault filter abort`.
    pub body: Text,
}

/// The error that a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultStatus {
    /// A status of HTTP, 200 to 599.
    Http(u16),
    /// A status of gRPC.
    Grpc(u32),
    /// What `x-envoy-fault-abort-request` or `x-envoy-fault-abort-grpc-request` says; without them, none.
    Header,
}
