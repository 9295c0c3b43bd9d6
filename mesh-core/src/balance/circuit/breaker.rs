use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use super::settings::{CircuitSettings, RetryLimit, Thresholds};
use super::window::Window;
use crate::route::Priority;

/// The counters of a cluster and its limits, shared by all who use it.
#[derive(Debug, Clone)]
pub struct Circuit {
    shared: Arc<[Counters; 2]>,
    settings: CircuitSettings,
    /// Whether requests are admitted and counted elsewhere.
    picked: bool,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
    /// Requests that began lately, if a budget of retries counts them.
    begun: Window,
}

impl Circuit {
    /// Counters at zero.
    #[must_use]
    pub fn new(settings: CircuitSettings) -> Self {
        Self { shared: Arc::default(), settings, picked: false }
    }

    /// The same counters with other limits.
    #[must_use]
    pub fn with_settings(&self, settings: CircuitSettings) -> Self {
        Self { settings, ..self.clone() }
    }

    /// The same for those who are handed requests that [`Balancer::pick`](super::super::Balancer::pick) has admitted, such as
    /// pools of connections: it admits them all and does not count them again.
    #[must_use]
    pub fn of_picked(&self) -> Self {
        Self { picked: true, ..self.clone() }
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
    pub fn try_request(&self, priority: Priority, now: Instant) -> Option<CircuitGuard> {
        if self.picked {
            return Some(CircuitGuard { shared: Arc::clone(&self.shared), counted: None, priority });
        }
        let Thresholds { max_requests, retries, .. } = *self.thresholds(priority);
        let admitted = self.admit(Counted::Request, priority, max_requests)?;
        if let RetryLimit::Budget { interval, .. } = retries
            && !interval.is_zero()
        {
            self.counters(priority).begun.count(interval, now);
        }
        Some(admitted)
    }

    /// Admits a request that is tried again. When there are too many, the last answer stands.
    #[must_use]
    pub fn try_retry(&self, priority: Priority, now: Instant) -> Option<CircuitGuard> {
        self.admit(Counted::Retry, priority, self.max_retries(priority, now))
    }

    /// Requests in flight, of both priorities.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.shared.iter().map(|counters| counters.requests.load(Relaxed)).sum()
    }

    fn max_retries(&self, priority: Priority, now: Instant) -> u32 {
        match self.thresholds(priority).retries {
            RetryLimit::Count(limit) => limit,
            RetryLimit::Budget { percent, min_concurrency, interval } => {
                let counters = self.counters(priority);
                let requests = match interval.is_zero() {
                    true => counters.requests.load(Relaxed).saturating_add(counters.pending.load(Relaxed)),
                    false => counters.begun.sum(interval, now),
                };
                min_concurrency.max((f64::from(requests) * percent / 100.0) as u32)
            }
        }
    }

    fn admit(&self, counted: Counted, priority: Priority, limit: u32) -> Option<CircuitGuard> {
        let counter = counted.of(self.counters(priority));
        // Counted first and taken back when it was too much: between two who ask at once, one may be refused that would
        // have had room an instant later, but the limit is never passed.
        if counter.fetch_add(1, Relaxed) < limit {
            return Some(CircuitGuard { shared: Arc::clone(&self.shared), counted: Some(counted), priority });
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
    /// None if it is counted elsewhere.
    counted: Option<Counted>,
    priority: Priority,
}

impl Drop for CircuitGuard {
    fn drop(&mut self) {
        if let Some(counted) = self.counted {
            counted.of(counters(&self.shared, self.priority)).fetch_sub(1, Relaxed);
        }
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
