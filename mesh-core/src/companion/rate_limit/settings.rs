use http::StatusCode;

use super::METADATA;
use crate::companion::GrpcService;
use crate::name::Text;
use crate::route::{Fraction, Mutation, RateLimit};

/// The settings of a filter that asks the rate limit service. Envoy's `envoy.extensions.filters.http.ratelimit.v3.RateLimit`.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalRateLimit {
    /// Whose limits the service is to look at; not empty.
    pub domain: Text,
    /// The limits of routes and virtual hosts that have this stage count, 0 to 10.
    pub stage: u32,
    /// Which requests are counted.
    pub requests: RequestKind,
    /// Who is asked.
    pub service: GrpcService,
    /// By what requests are counted; if there is any, limits of routes and virtual hosts do not count.
    pub limits: Vec<RateLimit>,
    /// Whether a request passes not about which there is no answer. Default: it passes.
    pub failure_deny: bool,
    /// Of such requests, those that do not pass, whatever is said above.
    pub failure_deny_fraction: Option<Fraction>,
    /// Their status. Default: 500.
    pub status_on_error: StatusCode,
    /// The status of requests that are too many, 400 to 599. Default: 429.
    pub limited_status: StatusCode,
    /// Whether calls of gRPC that are too many get RESOURCE_EXHAUSTED rather than UNAVAILABLE.
    pub resource_exhausted: bool,
    /// Whether requests that are too many are answered with `x-envoy-ratelimited`. Default: they are.
    pub mark: bool,
    /// Whether clients are told of limits in `x-ratelimit-` headers (draft-polli-ratelimit-headers-03).
    pub headers: bool,
    /// Whether requests that are too many (429) are answered with `retry-after`.
    pub retry_after: bool,
    /// What is done to the headers of the answer to requests that are too many. Envoy knows additions only.
    pub response: Mutation,
    /// The requests that are counted; `None` for all.
    pub enabled: Option<Fraction>,
    /// Of the requests that are too many, those that are refused; `None` for all.
    pub enforced: Option<Fraction>,
    /// Where what the service says of a request stands among its metadata.
    pub metadata: Text,
}

impl GlobalRateLimit {
    /// Asks this service, with every default.
    pub fn new(domain: impl Into<Text>, service: GrpcService) -> Self {
        Self {
            domain: domain.into(),
            stage: 0,
            requests: RequestKind::Both,
            service,
            limits: Vec::new(),
            failure_deny: false,
            failure_deny_fraction: None,
            status_on_error: StatusCode::INTERNAL_SERVER_ERROR,
            limited_status: StatusCode::TOO_MANY_REQUESTS,
            resource_exhausted: false,
            mark: true,
            headers: false,
            retry_after: false,
            response: Mutation::default(),
            enabled: None,
            enforced: None,
            metadata: METADATA.into(),
        }
    }
}

/// Which requests are counted, by their `x-envoy-internal`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Those of the mesh.
    Internal,
    /// The others.
    External,
    /// All.
    #[default]
    Both,
}
