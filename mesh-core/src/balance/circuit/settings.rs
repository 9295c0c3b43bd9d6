use std::time::Duration;

/// The limits of a cluster (`envoy.config.cluster.v3.CircuitBreakers`).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CircuitSettings {
    /// Limits of requests of default priority.
    pub default: Thresholds,
    /// Limits of requests of high priority.
    pub high: Thresholds,
    /// How many connections there may be to one endpoint. Default: no limit.
    pub max_connections_per_endpoint: Option<u32>,
}

/// The limits of a priority.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Connections. Default 1,024.
    pub max_connections: u32,
    /// Requests that wait for a connection. Default 1,024.
    pub max_pending_requests: u32,
    /// Requests in flight. Default 1,024.
    pub max_requests: u32,
    /// Requests that are tried again.
    pub retries: RetryLimit,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max_connections: 1024, max_pending_requests: 1024, max_requests: 1024, retries: RetryLimit::default() }
    }
}

/// How many requests may be tried again at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RetryLimit {
    /// So many. Default 3.
    Count(u32),
    /// A share of the requests that are in flight or wait.
    Budget {
        /// The share in percent, from 0 to 100. Envoy's default is 20.
        percent: f64,
        /// So many in any case. Envoy's default is 3.
        min_concurrency: u32,
        /// If it is not zero, those count instead that began within it, whether or not they have ended. Envoy's default is 0.
        interval: Duration,
    },
}

impl Default for RetryLimit {
    fn default() -> Self {
        Self::Count(3)
    }
}
