use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::monitor::{Counts, Detection, Monitor, Outcome};
use super::settings::OutlierSettings;

/// An endpoint was ejected or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is not to be used until it comes back.
    Ejected {
        /// Which endpoint.
        endpoint: SocketAddr,
        /// What spoke against it.
        detection: Detection,
    },
    /// It may be used again.
    Returned {
        /// Which endpoint.
        endpoint: SocketAddr,
    },
}

/// Decides who is ejected and when they return. Does not read a clock: the time is handed in.
#[derive(Debug)]
pub struct Detector {
    settings: OutlierSettings,
    endpoints: BTreeMap<SocketAddr, State>,
    ejected: usize,
    next_tick: Instant,
    rng: fastrand::Rng,
}

#[derive(Debug, Default)]
struct State {
    monitor: Arc<Monitor>,
    ejected: Option<Ejection>,
    returned_at: Option<Instant>,
    /// How many times the base time the next ejection lasts, minus one.
    backoff: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ejection {
    at: Instant,
    jitter: Duration,
}

impl Detector {
    /// A detector without endpoints. The seed is that of the draws: enforcement and jitter.
    #[must_use]
    pub fn new(settings: OutlierSettings, seed: u64, now: Instant) -> Self {
        let next_tick = now + settings.interval;
        let rng = fastrand::Rng::with_seed(seed);
        Self { settings, endpoints: BTreeMap::new(), ejected: 0, next_tick, rng }
    }

    /// Goes on with other settings; who is ejected stays ejected.
    pub fn handle_settings(&mut self, settings: OutlierSettings, now: Instant) {
        self.next_tick = self.next_tick.min(now + settings.interval);
        self.settings = settings;
    }

    /// These are the endpoints now. Those that stay keep their state, others begin anew.
    pub fn handle_endpoints(&mut self, endpoints: impl IntoIterator<Item = (SocketAddr, Arc<Monitor>)>) {
        let mut before = std::mem::take(&mut self.endpoints);
        for (address, monitor) in endpoints {
            let state = before.remove(&address).unwrap_or_default();
            self.endpoints.insert(address, State { monitor, ..state });
        }
        self.ejected = self.endpoints.values().filter(|state| state.ejected.is_some()).count();
    }

    /// A request to an endpoint ended.
    pub fn handle_result(&mut self, endpoint: SocketAddr, outcome: Outcome, now: Instant) -> Option<Change> {
        let monitor = &self.endpoints.get(&endpoint)?.monitor;
        let detection = monitor.handle_result(outcome, &self.settings)?;
        self.handle_detection(endpoint, detection, now)
    }

    /// A monitor has detected something.
    pub fn handle_detection(&mut self, endpoint: SocketAddr, detection: Detection, now: Instant) -> Option<Change> {
        if self.is_ejected(endpoint) {
            return None;
        }
        let change = self.eject(endpoint, detection, now);
        // Whether or not it was ejected: the next run is told of as well.
        if let Some(state) = self.endpoints.get(&endpoint) {
            state.monitor.reset_run(detection);
        }
        change
    }

    /// An active check of an endpoint passed.
    pub fn handle_passing_check(&mut self, endpoint: SocketAddr, now: Instant) -> Option<Change> {
        self.settings.passing_check_unejects.then(|| self.uneject(endpoint, now)).flatten()
    }

    /// To be called at [`next_tick`](Self::next_tick) or later.
    pub fn handle_tick(&mut self, now: Instant) -> Vec<Change> {
        if now < self.next_tick {
            return Vec::new();
        }
        let mut changes: Vec<_> = self.expired(now).into_iter().filter_map(|one| self.uneject(one, now)).collect();
        let counts: Vec<_> = self.endpoints.iter().map(|(address, state)| (*address, state.monitor.take())).collect();
        for (source, detections) in BY_SOURCE.into_iter().enumerate() {
            let of_source = counts.iter().map(|(address, counts)| (*address, counts[source])).collect::<Vec<_>>();
            for detection in detections {
                for endpoint in self.outliers(&of_source, detection) {
                    changes.extend(self.eject(endpoint, detection, now));
                }
            }
        }
        for state in self.endpoints.values_mut().filter(|state| state.ejected.is_none()) {
            if state.returned_at.is_some_and(|at| now.duration_since(at) >= self.settings.interval) {
                state.backoff = state.backoff.saturating_sub(1);
            }
        }
        self.next_tick = now + self.settings.interval;
        changes
    }

    /// When [`handle_tick`](Self::handle_tick) is to be called next.
    #[must_use]
    pub fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Whether an endpoint is ejected.
    #[must_use]
    pub fn is_ejected(&self, endpoint: SocketAddr) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|state| state.ejected.is_some())
    }

    /// Lets all return, as when outlier detection is turned off.
    pub fn into_ejected(self) -> impl Iterator<Item = SocketAddr> {
        self.endpoints.into_iter().filter(|(_, state)| state.ejected.is_some()).map(|(address, _)| address)
    }

    fn expired(&self, now: Instant) -> Vec<SocketAddr> {
        let OutlierSettings { base_ejection_time: base, max_ejection_time: max, .. } = self.settings;
        let is_over = |state: &State| {
            let over = |ejection: Ejection| {
                base.saturating_mul(state.backoff).min(max) + ejection.jitter <= now.duration_since(ejection.at)
            };
            state.ejected.is_some_and(over)
        };
        self.endpoints.iter().filter(|(_, state)| is_over(state)).map(|(address, _)| *address).collect()
    }

    fn uneject(&mut self, endpoint: SocketAddr, now: Instant) -> Option<Change> {
        let state = self.endpoints.get_mut(&endpoint)?;
        state.ejected.take()?;
        state.returned_at = Some(now);
        state.monitor.reset_runs();
        self.ejected -= 1;
        Some(Change::Returned { endpoint })
    }

    fn eject(&mut self, endpoint: SocketAddr, detection: Detection, now: Instant) -> Option<Change> {
        let share = 100.0 * (self.ejected + 1) as f64 / self.endpoints.len().max(1) as f64;
        let allowed = share <= f64::from(self.settings.max_ejection_percent)
            || (self.ejected == 0 && self.settings.always_eject_one);
        if !allowed || self.rng.u32(0..100) >= self.enforcing(detection) {
            return None;
        }
        let jitter = self.rng.f64();
        let state = self.endpoints.get_mut(&endpoint).filter(|state| state.ejected.is_none())?;
        let OutlierSettings { base_ejection_time: base, max_ejection_time: max, max_ejection_jitter, .. } =
            self.settings;
        state.ejected = Some(Ejection { at: now, jitter: max_ejection_jitter.mul_f64(jitter) });
        if base.saturating_mul(state.backoff) < max.saturating_add(base) {
            state.backoff += 1;
        }
        self.ejected += 1;
        Some(Change::Ejected { endpoint, detection })
    }

    /// Who is detected by comparison of all.
    fn outliers(&self, counts: &[(SocketAddr, Counts)], detection: Detection) -> Vec<SocketAddr> {
        let by_success = matches!(detection, Detection::SuccessRate | Detection::SuccessRateLocalOrigin);
        let (volume, minimum) = match by_success {
            true => (self.settings.success_rate_request_volume, self.settings.success_rate_minimum_hosts),
            false => (self.settings.failure_percentage_request_volume, self.settings.failure_percentage_minimum_hosts),
        };
        let enough = |(address, counts): &&(SocketAddr, Counts)| {
            counts.total > 0 && counts.total >= volume.into() && !self.is_ejected(*address)
        };
        let rates: Vec<_> = counts.iter().filter(enough).map(|(address, counts)| (*address, counts.rate())).collect();
        if rates.is_empty() || (rates.len() as u64) < minimum.into() {
            return Vec::new();
        }
        let lowest = threshold(&rates, self.settings.success_rate_stdev_factor);
        let is_outlier = |rate: f64| match by_success {
            true => rate < lowest,
            false => 100.0 - rate >= f64::from(self.settings.failure_percentage_threshold),
        };
        rates.into_iter().filter(|(_, rate)| is_outlier(*rate)).map(|(address, _)| address).collect()
    }

    fn enforcing(&self, detection: Detection) -> u32 {
        let settings = &self.settings;
        match detection {
            Detection::Consecutive5xx => settings.enforcing_consecutive_5xx,
            Detection::ConsecutiveGatewayFailure => settings.enforcing_consecutive_gateway_failure,
            Detection::ConsecutiveLocalOriginFailure => settings.enforcing_consecutive_local_origin_failure,
            Detection::SuccessRate => settings.enforcing_success_rate,
            Detection::SuccessRateLocalOrigin => settings.enforcing_local_origin_success_rate,
            Detection::FailurePercentage => settings.enforcing_failure_percentage,
            Detection::FailurePercentageLocalOrigin => settings.enforcing_failure_percentage_local_origin,
        }
    }
}

/// What a tick looks for: in what was answered, then in whether it was reached.
const BY_SOURCE: [[Detection; 2]; 2] = [
    [Detection::SuccessRate, Detection::FailurePercentage],
    [Detection::SuccessRateLocalOrigin, Detection::FailurePercentageLocalOrigin],
];

/// The rate of success below which an endpoint stands out: mean − population deviation × factor / 1000.
fn threshold(rates: &[(SocketAddr, f64)], factor: u32) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - variance.sqrt() * f64::from(factor) / 1000.0
}
