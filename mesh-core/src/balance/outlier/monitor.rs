use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::settings::OutlierSettings;

/// How a request to an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The endpoint answered with this HTTP status; what is not HTTP and went well is 200.
    Status(u16),
    /// The endpoint answered, and not well; it did not say with which status.
    Failed,
    /// The endpoint was not reached, or broke the connection off.
    Unreachable,
    /// The endpoint did not answer in time.
    TimedOut,
}

impl Outcome {
    /// A good answer.
    pub const OK: Self = Self::Status(200);

    /// How a call with this gRPC status went. What a caller may have caused says nothing of the endpoint.
    #[must_use]
    pub const fn of_grpc(code: u32) -> Self {
        match code {
            // Deadline exceeded.
            4 => Self::Status(504),
            // Unavailable.
            14 => Self::Status(503),
            // Unknown, internal, data loss.
            2 | 13 | 15 => Self::Status(500),
            _ => Self::OK,
        }
    }

    /// Whether the endpoint is to blame: a status of 500 and above, or none.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.status() >= 500
    }

    const fn status(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::Failed => 500,
            Self::Unreachable => 503,
            Self::TimedOut => 504,
        }
    }

    const fn is_local_origin(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut)
    }
}

/// What speaks against an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detection {
    /// Too many answers of 500 and above in a row.
    Consecutive5xx,
    /// Too many answers of 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Not reached too many times in a row.
    ConsecutiveLocalOriginFailure,
    /// It answers well less often than the others.
    SuccessRate,
    /// It is reached less often than the others.
    SuccessRateLocalOrigin,
    /// It fails too often.
    FailurePercentage,
    /// It is not reached too often.
    FailurePercentageLocalOrigin,
}

impl Detection {
    /// The name in logs and metrics, as Envoy's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::SuccessRateLocalOrigin => "success_rate_local_origin",
            Self::FailurePercentage => "failure_percentage",
            Self::FailurePercentageLocalOrigin => "failure_percentage_local_origin",
        }
    }
}

/// Counts the results of one endpoint. Many tasks may report at once, without waiting for each other.
#[derive(Debug, Default)]
pub struct Monitor {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    external: Bucket,
    local: Bucket,
}

impl Monitor {
    /// Takes a result in. What it returns is to be handed to [`Detector::handle_detection`](super::Detector).
    #[must_use = "a detection has no effect before the detector decides"]
    pub fn handle_result(&self, outcome: Outcome, settings: &OutlierSettings) -> Option<Detection> {
        if !settings.split_local_origin {
            return self.handle_status(outcome.status(), settings);
        }
        if outcome.is_local_origin() {
            self.local.add(false);
            let run = &self.consecutive_local_origin_failure;
            let reached = reaches(run, settings.consecutive_local_origin_failure);
            return reached.then_some(Detection::ConsecutiveLocalOriginFailure);
        }
        // Whoever answers was reached.
        self.local.add(true);
        self.consecutive_local_origin_failure.store(0, Relaxed);
        self.handle_status(outcome.status(), settings)
    }

    fn handle_status(&self, status: u16, settings: &OutlierSettings) -> Option<Detection> {
        self.external.add(status < 500);
        if status < 500 {
            // Read first: in the usual case nobody has to own the cache line.
            for run in [&self.consecutive_5xx, &self.consecutive_gateway_failure] {
                if run.load(Relaxed) != 0 {
                    run.store(0, Relaxed);
                }
            }
            return None;
        }
        let gateway_failure = match status {
            502..=504 => reaches(&self.consecutive_gateway_failure, settings.consecutive_gateway_failure),
            _ => {
                self.consecutive_gateway_failure.store(0, Relaxed);
                false
            }
        };
        // Both may be reached by the same answer. The one that is enforced decides; the other starts again with it.
        let of_5xx = reaches(&self.consecutive_5xx, settings.consecutive_5xx);
        match (gateway_failure, of_5xx) {
            (true, true) if settings.enforcing_consecutive_gateway_failure < settings.enforcing_consecutive_5xx => {
                self.consecutive_gateway_failure.store(0, Relaxed);
                Some(Detection::Consecutive5xx)
            }
            (true, true) => {
                self.consecutive_5xx.store(0, Relaxed);
                Some(Detection::ConsecutiveGatewayFailure)
            }
            (true, false) => Some(Detection::ConsecutiveGatewayFailure),
            (false, true) => Some(Detection::Consecutive5xx),
            (false, false) => None,
        }
    }

    pub(super) fn reset_run(&self, detection: Detection) {
        match detection {
            Detection::Consecutive5xx => self.consecutive_5xx.store(0, Relaxed),
            Detection::ConsecutiveGatewayFailure => self.consecutive_gateway_failure.store(0, Relaxed),
            Detection::ConsecutiveLocalOriginFailure => self.consecutive_local_origin_failure.store(0, Relaxed),
            _ => {}
        }
    }

    pub(super) fn reset_runs(&self) {
        for run in [&self.consecutive_5xx, &self.consecutive_gateway_failure, &self.consecutive_local_origin_failure] {
            run.store(0, Relaxed);
        }
    }

    /// What was counted since the last call: what was answered, and whether it was reached.
    pub(super) fn take(&self) -> [Counts; 2] {
        [self.external.take(), self.local.take()]
    }
}

/// Whether a run of failures has just become so long.
fn reaches(run: &AtomicU32, threshold: u32) -> bool {
    run.fetch_add(1, Relaxed).wrapping_add(1) == threshold
}

#[derive(Debug, Default)]
struct Bucket {
    total: AtomicU64,
    success: AtomicU64,
}

impl Bucket {
    fn add(&self, success: bool) {
        self.total.fetch_add(1, Relaxed);
        if success {
            self.success.fetch_add(1, Relaxed);
        }
    }

    fn take(&self) -> Counts {
        // Successes first: a result that is counted in between may make a rate lower, never higher than 100 %.
        let success = self.success.swap(0, Relaxed);
        Counts { total: self.total.swap(0, Relaxed), success }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) total: u64,
    success: u64,
}

impl Counts {
    /// Rate of success in percent.
    pub(super) fn rate(self) -> f64 {
        // A request that was counted while the buckets were swapped can make success exceed total by one.
        (100.0 * self.success as f64 / self.total.max(1) as f64).min(100.0)
    }
}
