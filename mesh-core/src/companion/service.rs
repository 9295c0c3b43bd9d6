use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::name::Text;

/// A companion that is asked by gRPC. Envoy's `GrpcService`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcService {
    /// The cluster it is in.
    pub cluster: Text,
    /// What calls are addressed to; empty for the cluster's name.
    pub authority: Text,
    /// How long it may take; `None` has no limit.
    pub timeout: Option<Duration>,
    /// What is sent beside each call.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl GrpcService {
    /// A companion in this cluster that may take so long.
    #[must_use]
    pub fn new(cluster: impl Into<Text>, timeout: Option<Duration>) -> Self {
        Self { cluster: cluster.into(), authority: Text::default(), timeout, metadata: Vec::new() }
    }
}

/// A companion gave no answer that could be used. What becomes of the request is a setting of the filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompanionError {
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It could not be reached, or broke off.
    #[error("cannot be asked: {0}")]
    Unavailable(String),
    /// It answered that it failed.
    #[error("failed with status {0}")]
    Status(u16),
    /// Its answer is larger than is read.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Its answer says something that cannot be.
    #[error("`{field}` of its answer: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Why it cannot be.
        reason: String,
    },
}
