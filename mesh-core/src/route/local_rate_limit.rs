use std::sync::Arc;

use http::StatusCode;

use super::{Fraction, HostLimits, Mutation, RateLimit};
use crate::limit::TokenBucket;
use crate::name::Text;

/// How often requests may come, counted here alone. Envoy's
/// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
///
/// It must be enabled and enforced for a part of the requests to have any effect.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRateLimit {
    /// What all requests take from; without it, nothing is counted.
    pub bucket: Option<TokenBucket>,
    /// Which part of the requests is counted. Default: none.
    pub enabled: Fraction,
    /// Which part of those that are too many is refused. Default: none.
    pub enforced: Fraction,
    /// The status of the refusal. Default 429.
    pub status: StatusCode,
    /// What is done to the headers of the refusal.
    pub response: Mutation,
    /// What is done to the headers of a request that is too many and is not refused.
    pub unenforced: Mutation,
    /// What requests with some descriptors take from.
    pub descriptors: Vec<LocalDescriptor>,
    /// It is for the descriptors of this stage, 0 to 10.
    pub stage: u32,
    /// Whether each connection has buckets of its own; otherwise all have the same.
    pub per_connection: bool,
    /// Whether the client is told of its limit in `x-ratelimit-` headers.
    pub headers: bool,
    /// Whether a refusal with status 429 says in `retry-after` when to come again.
    pub retry_after: bool,
    /// What becomes of the rate limits of the virtual host.
    pub host: HostLimits,
    /// Whether a request that has taken from a descriptor's bucket takes from the one of all too. Default: it does.
    pub always_takes: bool,
    /// Whether a call of gRPC is refused with `RESOURCE_EXHAUSTED`, rather than `UNAVAILABLE`.
    pub resource_exhausted: bool,
    /// By what requests are counted; if there is any, the rate limits of routes and virtual hosts do not count.
    pub limits: Vec<RateLimit>,
}

/// Requests that take from a bucket of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDescriptor {
    /// Keys and values: all those of the request's descriptor, and no others.
    pub entries: Vec<(Text, Text)>,
    /// The bucket.
    pub bucket: TokenBucket,
    /// Whether it is only counted what it would refuse.
    pub shadow: bool,
}

impl LocalRateLimit {
    /// All requests take from this bucket, and what is too many is refused.
    #[must_use]
    pub fn new(bucket: TokenBucket) -> Self {
        Self {
            bucket: Some(bucket),
            enabled: Fraction::percent(100),
            enforced: Fraction::percent(100),
            ..Self::default()
        }
    }
}

impl Default for LocalRateLimit {
    /// Nothing is counted.
    fn default() -> Self {
        Self {
            bucket: None,
            enabled: Fraction::percent(0),
            enforced: Fraction::percent(0),
            status: StatusCode::TOO_MANY_REQUESTS,
            response: Mutation::default(),
            unenforced: Mutation::default(),
            descriptors: Vec::new(),
            stage: 0,
            per_connection: false,
            headers: false,
            retry_after: false,
            host: HostLimits::default(),
            always_takes: true,
            resource_exhausted: false,
            limits: Vec::new(),
        }
    }
}

/// Settings of a local rate limit that a level of a route table has for itself; those who come by it share its buckets.
/// Compared by the settings.
#[derive(Debug, Clone)]
pub struct OwnRateLimit(Arc<LocalRateLimit>);

impl OwnRateLimit {
    /// Settings with buckets of their own.
    #[must_use]
    pub fn new(settings: LocalRateLimit) -> Self {
        Self(Arc::new(settings))
    }

    /// The settings. Whose they are is told by where they stand, not by what they say.
    #[must_use]
    pub fn settings(&self) -> &Arc<LocalRateLimit> {
        &self.0
    }
}

impl PartialEq for OwnRateLimit {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
