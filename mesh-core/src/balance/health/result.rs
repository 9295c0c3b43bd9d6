use http::{HeaderMap, StatusCode};

use super::payload::holds;
use super::settings::{GrpcProbe, HttpProbe, TcpProbe};

/// How one probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// A good answer.
    Passed,
    /// A good answer of an endpoint that says it is degraded (`x-envoy-degraded`).
    Degraded,
    /// A bad answer. It makes the endpoint unhealthy at once: whoever answers is reached, and says that it is not well.
    Failed,
    /// A bad answer that counts to the threshold ([`HttpProbe::retriable_statuses`]).
    Retriable,
    /// The endpoint was not reached, or broke the connection off. Counts to the threshold.
    Unreachable,
    /// There was no whole answer within [`HealthCheck::timeout`](super::HealthCheck::timeout). Counts to the threshold.
    TimedOut,
}

impl ProbeResult {
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Degraded)
    }

    pub(super) const fn decides_at_once(self) -> bool {
        matches!(self, Self::Failed)
    }
}

impl HttpProbe {
    /// What an answer means. `body` is as much of it as was read: at most [`body_limit`](Self::body_limit) bytes, if there
    /// is a limit.
    #[must_use]
    pub fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProbeResult {
        let status = status.as_u16();
        if !holds(body, &self.receive) {
            return ProbeResult::Failed;
        }
        let expected = match &*self.expected_statuses {
            [] => status == 200,
            ranges => ranges.iter().any(|range| range.contains(&status)),
        };
        if !expected {
            let retriable = self.retriable_statuses.iter().any(|range| range.contains(&status));
            return if retriable { ProbeResult::Retriable } else { ProbeResult::Failed };
        }
        if let Some(matcher) = &self.service_name {
            let name = headers.get(SERVICE_NAME).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !matcher.is_match(name) {
                return ProbeResult::Failed;
            }
        }
        if headers.contains_key(DEGRADED) { ProbeResult::Degraded } else { ProbeResult::Passed }
    }
}

/// Header by which an endpoint says which cluster it belongs to.
const SERVICE_NAME: &str = "x-envoy-upstream-healthchecked-cluster";

/// Header by which an endpoint says that it is degraded.
const DEGRADED: &str = "x-envoy-degraded";

impl TcpProbe {
    /// What was received so far means; `None` if more is to come.
    #[must_use]
    pub fn judge(&self, received: &[u8]) -> Option<ProbeResult> {
        holds(received, &self.receive).then_some(ProbeResult::Passed)
    }
}

impl GrpcProbe {
    /// What the `status` field of a `grpc.health.v1.HealthCheckResponse` means: `SERVING`, which is 1, is good.
    #[must_use]
    pub const fn judge(&self, status: i32) -> ProbeResult {
        match status {
            1 => ProbeResult::Passed,
            _ => ProbeResult::Failed,
        }
    }
}
