use std::time::Duration;

use http::HeaderMap;

use super::{Forward, GrpcTimeout, StreamDuration};
use crate::request::Request;

/// Default of [`Forward::timeout`].
const DEFAULT: Duration = Duration::from_secs(15);

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the end of the request to the end of the response; `None` for ever.
    pub response: Option<Duration>,
    /// The life of the stream; `None` is what the listener says, zero for ever.
    pub stream: Option<Duration>,
}

impl Forward {
    /// How long a request may take here, its own `grpc-timeout` taken into account where the route says so.
    #[must_use]
    pub fn timeouts(&self, request: &Request<'_>) -> Timeouts {
        let given = request.is_grpc().then(|| grpc_timeout(request.headers)).flatten();
        let response = match self.grpc_timeout {
            Some(GrpcTimeout { max, offset }) if request.is_grpc() => {
                capped(earlier(given.unwrap_or_default(), offset), max)
            }
            _ => self.timeout.unwrap_or(DEFAULT),
        };
        let StreamDuration { max, grpc_max, grpc_offset } = self.stream_duration.unwrap_or_default();
        let stream = match (grpc_timeout(request.headers), grpc_max) {
            (Some(given), Some(grpc_max)) => Some(capped(earlier(given, grpc_offset), grpc_max)),
            _ => max,
        };
        Timeouts { response: (!response.is_zero()).then_some(response), stream }
    }
}

/// Sooner by the offset, unless nothing were left: zero would mean for ever.
fn earlier(timeout: Duration, offset: Option<Duration>) -> Duration {
    match offset {
        Some(offset) if offset < timeout => timeout.saturating_sub(offset),
        _ => timeout,
    }
}

/// At most the largest; zero is for ever in both.
fn capped(timeout: Duration, max: Duration) -> Duration {
    if !max.is_zero() && (timeout.is_zero() || timeout > max) { max } else { timeout }
}

/// The header of gRPC over HTTP/2: one to eight digits and a unit.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}
