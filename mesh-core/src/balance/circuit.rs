//! Circuit breakers: how much may be under way to a cluster at once. Counters are atomics; what was admitted is counted
//! until its guard is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::route::Priority;

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
    },
}

impl Default for RetryLimit {
    fn default() -> Self {
        Self::Count(3)
    }
}

/// The counters of a cluster and its limits, shared by all who use it.
#[derive(Debug, Clone)]
pub struct Circuit {
    shared: Arc<[Counters; 2]>,
    settings: CircuitSettings,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Circuit {
    /// Counters at zero.
    #[must_use]
    pub fn new(settings: CircuitSettings) -> Self {
        Self { shared: Arc::default(), settings }
    }

    /// The same counters with other limits.
    #[must_use]
    pub fn with_settings(&self, settings: CircuitSettings) -> Self {
        Self { shared: Arc::clone(&self.shared), settings }
    }

    /// The limits.
    #[must_use]
    pub fn settings(&self) -> &CircuitSettings {
        &self.settings
    }

    /// Admits a connection. When there are too many, HTTP lets the request wait and TCP is refused.
    #[must_use]
    pub fn try_connection(&self, priority: Priority) -> Option<CircuitGuard> {
        self.admit(Counted::Connection, priority, self.thresholds(priority).max_connections)
    }

    /// Admits a request that waits for a connection.
    #[must_use]
    pub fn try_pending(&self, priority: Priority) -> Option<CircuitGuard> {
        self.admit(Counted::Pending, priority, self.thresholds(priority).max_pending_requests)
    }

    /// Admits a request.
    #[must_use]
    pub fn try_request(&self, priority: Priority) -> Option<CircuitGuard> {
        self.admit(Counted::Request, priority, self.thresholds(priority).max_requests)
    }

    /// Admits a request that is tried again. When there are too many, the last answer stands.
    #[must_use]
    pub fn try_retry(&self, priority: Priority) -> Option<CircuitGuard> {
        self.admit(Counted::Retry, priority, self.max_retries(priority))
    }

    /// Requests in flight, of both priorities.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.shared.iter().map(|counters| counters.requests.load(Relaxed)).sum()
    }

    fn max_retries(&self, priority: Priority) -> u32 {
        match self.thresholds(priority).retries {
            RetryLimit::Count(limit) => limit,
            RetryLimit::Budget { percent, min_concurrency } => {
                let counters = self.counters(priority);
                let under_way = counters.requests.load(Relaxed).saturating_add(counters.pending.load(Relaxed));
                min_concurrency.max((f64::from(under_way) * percent / 100.0) as u32)
            }
        }
    }

    fn admit(&self, counted: Counted, priority: Priority, limit: u32) -> Option<CircuitGuard> {
        let counter = counted.of(self.counters(priority));
        // Counted first and taken back when it was too much: between two who ask at once, one may be refused that would
        // have had room an instant later, but the limit is never passed.
        if counter.fetch_add(1, Relaxed) < limit {
            return Some(CircuitGuard { shared: Arc::clone(&self.shared), counted, priority });
        }
        counter.fetch_sub(1, Relaxed);
        None
    }

    fn thresholds(&self, priority: Priority) -> &Thresholds {
        match priority {
            Priority::Default => &self.settings.default,
            Priority::High => &self.settings.high,
        }
    }

    fn counters(&self, priority: Priority) -> &Counters {
        counters(&self.shared, priority)
    }
}

/// Something that was admitted; it is counted until this is dropped.
#[derive(Debug)]
#[must_use = "what was admitted is counted as long as its guard lives"]
pub struct CircuitGuard {
    shared: Arc<[Counters; 2]>,
    counted: Counted,
    priority: Priority,
}

impl Drop for CircuitGuard {
    fn drop(&mut self) {
        self.counted.of(counters(&self.shared, self.priority)).fetch_sub(1, Relaxed);
    }
}

fn counters(all: &[Counters; 2], priority: Priority) -> &Counters {
    let [default, high] = all;
    match priority {
        Priority::Default => default,
        Priority::High => high,
    }
}

#[derive(Debug, Clone, Copy)]
enum Counted {
    Connection,
    Pending,
    Request,
    Retry,
}

impl Counted {
    const fn of(self, counters: &Counters) -> &AtomicU32 {
        match self {
            Self::Connection => &counters.connections,
            Self::Pending => &counters.pending,
            Self::Request => &counters.requests,
            Self::Retry => &counters.retries,
        }
    }
}
