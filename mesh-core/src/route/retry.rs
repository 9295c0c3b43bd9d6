use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::request::{HeaderMatch, Request};

/// When a request is tried again. Envoy's `RetryPolicy`.
///
/// A decision only: whether the response has begun to reach the client, the body is still at hand and the budget of the
/// cluster allows another attempt is for whoever sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After which outcomes.
    pub on: RetryOn,
    /// How often at most, beside the first attempt.
    pub retries: u32,
    /// Longest wait for the headers of one response. `None` is the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// Longest silence in one attempt.
    pub per_try_idle_timeout: Option<Duration>,
    /// Status codes for [`RetryOn::STATUS_CODES`].
    pub status_codes: Vec<u16>,
    /// Headers of a response for [`RetryOn::HEADERS`]; one must match.
    pub response_headers: Vec<HeaderMatch>,
    /// If there are any, one must match the request, or it is not tried again at all.
    pub request_headers: Vec<HeaderMatch>,
    /// How long is waited between attempts.
    pub back_off: BackOff,
    /// How long is waited when the server says so.
    pub rate_limited: Option<RateLimitedBackOff>,
    /// Endpoints that are passed over when another is chosen.
    pub avoid: Vec<AvoidHost>,
    /// How often another endpoint is chosen before one that should be passed over is taken nevertheless.
    pub host_attempts: u32,
    /// If given, priorities that were tried are left out, recomputed every so many attempts.
    pub avoid_priorities: Option<u32>,
}

impl Default for RetryPolicy {
    /// One retry, after nothing.
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            status_codes: Vec::new(),
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            back_off: BackOff::default(),
            rate_limited: None,
            avoid: Vec::new(),
            host_attempts: 1,
            avoid_priorities: None,
        }
    }
}

/// An endpoint that another attempt passes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AvoidHost {
    /// One that was tried.
    Previous,
    /// One that is marked as a canary.
    Canary,
}

/// Outcomes after which a request is tried again: a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RetryOn(u32);

impl RetryOn {
    /// `5xx`: a status of 500 and above, or no response.
    pub const SERVER_ERROR: Self = Self(1);
    /// `gateway-error`: 502, 503 or 504, or no response.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// `reset`: no response.
    pub const RESET: Self = Self(1 << 2);
    /// `reset-before-request`: no response, and nothing was sent.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// `connect-failure`: no connection.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// `refused-stream`: the server refused the stream before it did anything.
    pub const REFUSED_STREAM: Self = Self(1 << 5);
    /// `envoy-ratelimited`: a response with `x-envoy-ratelimited`, which is never tried again otherwise.
    pub const RATE_LIMITED: Self = Self(1 << 6);
    /// `retriable-4xx`: 409.
    pub const CONFLICT: Self = Self(1 << 7);
    /// `retriable-status-codes`: one of the codes of the policy.
    pub const STATUS_CODES: Self = Self(1 << 8);
    /// `retriable-headers`: one of the headers of the policy.
    pub const HEADERS: Self = Self(1 << 9);
    /// `http3-post-connect-failure`: HTTP/3 failed once connected. It never occurs here.
    pub const HTTP3: Self = Self(1 << 10);
    /// `cancelled`: gRPC's status 1 in the headers, not in the trailers.
    pub const GRPC_CANCELLED: Self = Self(1 << 11);
    /// `deadline-exceeded`: gRPC's status 4.
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 12);
    /// `internal`: gRPC's status 13.
    pub const GRPC_INTERNAL: Self = Self(1 << 13);
    /// `resource-exhausted`: gRPC's status 8.
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 14);
    /// `unavailable`: gRPC's status 14.
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 15);

    const TOKENS: [(&'static str, Self); 16] = [
        ("5xx", Self::SERVER_ERROR),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("refused-stream", Self::REFUSED_STREAM),
        ("envoy-ratelimited", Self::RATE_LIMITED),
        ("retriable-4xx", Self::CONFLICT),
        ("retriable-status-codes", Self::STATUS_CODES),
        ("retriable-headers", Self::HEADERS),
        ("http3-post-connect-failure", Self::HTTP3),
        ("cancelled", Self::GRPC_CANCELLED),
        ("deadline-exceeded", Self::GRPC_DEADLINE_EXCEEDED),
        ("internal", Self::GRPC_INTERNAL),
        ("resource-exhausted", Self::GRPC_RESOURCE_EXHAUSTED),
        ("unavailable", Self::GRPC_UNAVAILABLE),
    ];

    /// The token of Envoy's `retry_on`.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        Self::TOKENS.iter().find_map(|(name, flag)| (*name == token).then_some(*flag))
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of these is in the set.
    #[must_use]
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

impl fmt::Display for RetryOn {
    /// Tokens, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Self::TOKENS.iter().filter(|(_, flag)| self.has(*flag));
        set.enumerate().try_for_each(|(at, (name, _))| write!(f, "{}{name}", if at == 0 { "" } else { "," }))
    }
}

impl fmt::Debug for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RetryOn({self})")
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// With a response.
    Response {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: &'a HeaderMap,
    },
    /// No connection came about.
    ConnectFailure,
    /// The server refused the stream before it did anything.
    Refused,
    /// The stream or its connection broke off.
    Reset {
        /// Whether anything of the request had been sent.
        sent: bool,
    },
    /// Its own timeout passed.
    PerTryTimeout,
    /// A limit of the cluster was reached: never tried again, it would only add to the load.
    Overflow,
    /// The timeout of the whole request passed: never tried again.
    Timeout,
}

impl RetryPolicy {
    /// Whether a request is tried again at all.
    #[must_use]
    pub fn is_for(&self, request: &Request<'_>) -> bool {
        self.request_headers.is_empty() || self.request_headers.iter().any(|header| header.is_match(request))
    }

    /// Whether another attempt follows the `attempt`th, counted from 1, which ended like this.
    #[must_use]
    pub fn should_retry(&self, outcome: Outcome<'_>, attempt: u32) -> bool {
        attempt <= self.retries && self.is_retriable(outcome)
    }

    /// How long is waited before the `retry`th retry, counted from 1; `random` is uniform over all 64 bits.
    ///
    /// `response` is what the attempt before ended with, if it ended with one, and `now` the time since 1970.
    #[must_use]
    pub fn delay(&self, retry: u32, response: Option<&HeaderMap>, now: Duration, random: u64) -> Duration {
        let asked = self.rate_limited.as_ref().zip(response).and_then(|(limit, headers)| limit.interval(headers, now));
        match asked {
            // Never sooner than the server asked, and not all clients at once.
            Some(interval) => interval.saturating_add(share(interval / 2, random)),
            None => share(self.back_off.bound(retry), random),
        }
    }

    /// Whether a request that ended so is one to be tried again, however often it was already.
    #[must_use]
    pub fn is_retriable(&self, outcome: Outcome<'_>) -> bool {
        // A stream without response ends in a 5xx towards the client.
        const NO_RESPONSE: RetryOn = RetryOn::SERVER_ERROR.and(RetryOn::GATEWAY_ERROR).and(RetryOn::RESET);
        match outcome {
            Outcome::Response { status, headers } => self.is_retriable_response(status, headers),
            Outcome::ConnectFailure => {
                self.on.has(NO_RESPONSE.and(RetryOn::CONNECT_FAILURE).and(RetryOn::RESET_BEFORE_REQUEST))
            }
            Outcome::Refused => self.on.has(NO_RESPONSE.and(RetryOn::REFUSED_STREAM)),
            Outcome::Reset { sent: false } => self.on.has(NO_RESPONSE.and(RetryOn::RESET_BEFORE_REQUEST)),
            Outcome::Reset { sent: true } | Outcome::PerTryTimeout => self.on.has(NO_RESPONSE),
            Outcome::Overflow | Outcome::Timeout => false,
        }
    }

    fn is_retriable_response(&self, status: u16, headers: &HeaderMap) -> bool {
        if headers.contains_key("x-envoy-overloaded") {
            return false;
        }
        if headers.contains_key("x-envoy-ratelimited") {
            return self.on.has(RetryOn::RATE_LIMITED);
        }
        let status_matches = match status {
            409 => self.on.has(RetryOn::CONFLICT),
            502..=504 => self.on.has(RetryOn::SERVER_ERROR.and(RetryOn::GATEWAY_ERROR)),
            500..=599 => self.on.has(RetryOn::SERVER_ERROR),
            _ => false,
        };
        status_matches
            || (self.on.has(RetryOn::STATUS_CODES) && self.status_codes.contains(&status))
            || (self.on.has(RetryOn::HEADERS)
                && self.response_headers.iter().any(|header| header.is_match_response(headers)))
            || headers.get("grpc-status").is_some_and(|code| self.on.has(grpc_flag(code.as_bytes())))
    }
}

fn grpc_flag(code: &[u8]) -> RetryOn {
    match code {
        b"1" => RetryOn::GRPC_CANCELLED,
        b"4" => RetryOn::GRPC_DEADLINE_EXCEEDED,
        b"8" => RetryOn::GRPC_RESOURCE_EXHAUSTED,
        b"13" => RetryOn::GRPC_INTERNAL,
        b"14" => RetryOn::GRPC_UNAVAILABLE,
        _ => RetryOn::default(),
    }
}

/// Waiting times between attempts, exponential with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackOff {
    /// The bound before the first retry. Default 25 ms.
    pub base: Duration,
    /// The largest bound. `None` is ten times the base.
    pub max: Option<Duration>,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: None }
    }
}

impl BackOff {
    /// Before the `retry`th retry, counted from 1, less than this is waited: (2^retry - 1) times the base, up to the largest.
    #[must_use]
    pub fn bound(&self, retry: u32) -> Duration {
        let max = self.max.unwrap_or_else(|| self.base.saturating_mul(10));
        let factor = 1_u32.checked_shl(retry).map_or(u32::MAX, |power| power - 1);
        self.base.saturating_mul(factor).min(max)
    }
}

/// How long is waited when the server says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitedBackOff {
    /// Where it says so; the first that holds a usable time counts.
    pub headers: Vec<ResetHeader>,
    /// A longer time is not usable. Envoy's default is 300 s.
    pub max: Duration,
}

/// A header in which a server says when to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetHeader {
    /// Its name.
    pub name: HeaderName,
    /// What it holds.
    pub format: ResetFormat,
}

/// What such a header holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ResetFormat {
    /// Seconds to wait.
    #[default]
    Seconds,
    /// Seconds since 1970 of the time to come again.
    UnixTimestamp,
}

impl RateLimitedBackOff {
    fn interval(&self, headers: &HeaderMap, now: Duration) -> Option<Duration> {
        self.headers.iter().find_map(|header| {
            let seconds = headers.get(&header.name)?.to_str().ok()?.trim().parse().ok()?;
            let given = Duration::from_secs(seconds);
            let interval = match header.format {
                ResetFormat::Seconds => given,
                ResetFormat::UnixTimestamp => given.checked_sub(now)?,
            };
            (interval <= self.max).then_some(interval)
        })
    }
}

/// A uniform part of a span, less than all of it.
fn share(span: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(nanos))
}
