//! What is known of the load of one endpoint: requests in flight and a peak-sensitive average of latency, on atomics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::outlier::Monitor;

/// What is kept of an endpoint as long as its address is among those of the cluster.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) monitor: Arc<Monitor>,
    active: AtomicU32,
    connections: AtomicU32,
    latency: Latency,
    epoch: Instant,
    /// Nanoseconds from `epoch`.
    joined: AtomicU64,
}

impl Track {
    pub(super) fn new(epoch: Instant, now: Instant) -> Self {
        let joined = since(epoch, now);
        let latency = Latency { nanos: AtomicU64::new(NEWCOMER_LATENCY.to_bits()), measured: AtomicU64::new(joined) };
        Self {
            monitor: Arc::default(),
            active: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            latency,
            epoch,
            joined: AtomicU64::new(joined),
        }
    }

    pub(super) fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    pub(super) fn begin(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Counts a connection, unless there are so many.
    pub(super) fn try_connect(&self, limit: u32) -> bool {
        let more = |count: u32| count.checked_add(1).filter(|count| *count <= limit);
        self.connections.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn disconnect(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// From when its slow start is counted.
    pub(super) fn joined(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.joined.load(Relaxed))
    }

    pub(super) fn join(&self, now: Instant) {
        self.joined.store(since(self.epoch, now), Relaxed);
    }

    /// What one more request would cost: expected latency times requests in flight.
    pub(super) fn cost(&self, decay: Duration, now: Instant) -> f64 {
        let latency = self.latency.now(decay, since(self.epoch, now));
        // Never zero: without any latency the requests in flight decide.
        (latency + 1.0) * (f64::from(self.active()) + 1.0)
    }

    pub(super) fn record(&self, measured: Duration, failed: bool, decay: Duration, now: Instant) {
        self.latency.record(measured.as_nanos() as f64, failed, decay, since(self.epoch, now));
    }
}

/// An endpoint that was never used costs what a slow one does: it is tried, and not by everybody at once.
const NEWCOMER_LATENCY: f64 = 30e6;

fn since(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

/// An average that follows a rise at once and a fall slowly. When two results come in at the same time, one may be lost:
/// it is an estimate.
#[derive(Debug)]
struct Latency {
    /// The bits of an `f64`.
    nanos: AtomicU64,
    /// Nanoseconds from the epoch.
    measured: AtomicU64,
}

impl Latency {
    /// An endpoint that is not used is forgiven little by little, or it would never be tried again.
    fn now(&self, decay: Duration, now: u64) -> f64 {
        f64::from_bits(self.nanos.load(Relaxed)) * self.remembered(decay, now)
    }

    fn record(&self, measured: f64, failed: bool, decay: Duration, now: u64) {
        let before = f64::from_bits(self.nanos.load(Relaxed));
        // A failure is no good answer for being quick.
        let measured = if failed { measured.max(before) } else { measured };
        let remembered = self.remembered(decay, now);
        let after = match measured > before {
            true => measured,
            false => before * remembered + measured * (1.0 - remembered),
        };
        self.nanos.store(after.to_bits(), Relaxed);
        self.measured.store(now, Relaxed);
    }

    fn remembered(&self, decay: Duration, now: u64) -> f64 {
        let elapsed = now.saturating_sub(self.measured.load(Relaxed));
        (-(elapsed as f64) / (decay.as_nanos() as f64).max(1.0)).exp()
    }
}
