use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::progress::Progress;
use super::timer::Timer;
use crate::filter::{Answer, Flag};

/// How long a request and its response may take. `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// From the end of the request to the end of the response, all attempts together.
    pub response: Option<Duration>,
    /// From the beginning of the request to the end of the response.
    pub stream: Option<Duration>,
    /// The longest silence, in both directions together.
    pub idle: Option<Duration>,
}

impl TimeLimits {
    /// How much time is left by now; `None` if nothing but silence is limited.
    pub(super) fn left(&self, progress: &Progress, now: Instant) -> Option<Duration> {
        let ended = progress.peek().ended;
        let response = after(ended.unwrap_or(now), self.response);
        let stream = after(progress.began(), self.stream);
        let end = [response, stream].into_iter().flatten().min()?;
        Some(end.saturating_duration_since(now))
    }
}

/// Which limit has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Expired {
    /// [`TimeLimits::response`].
    #[error("the response took too long")]
    Response,
    /// [`TimeLimits::stream`].
    #[error("the request lasted as long as it may")]
    Stream,
    /// [`TimeLimits::idle`].
    #[error("nothing moved for too long")]
    Idle,
    /// The longest silence of one attempt.
    #[error("nothing moved for too long in one attempt")]
    AttemptIdle,
}

impl Expired {
    /// The flag of the access log.
    #[must_use]
    pub const fn flag(self) -> Flag {
        match self {
            Self::Response | Self::AttemptIdle => Flag::UpstreamRequestTimeout,
            Self::Stream => Flag::DurationTimeout,
            Self::Idle => Flag::StreamIdleTimeout,
        }
    }

    /// The reason in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response_timeout",
            Self::Stream => "max_duration_timeout",
            Self::Idle => "stream_idle_timeout",
            Self::AttemptIdle => "upstream_per_try_idle_timeout",
        }
    }

    /// What the client is answered, as Envoy answers it. `complete` is whether the request itself had come to its end.
    pub(super) fn answer(self, complete: bool) -> Answer {
        let late = if complete { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
        let (status, body, grpc_status) = match self {
            Self::Response | Self::AttemptIdle => (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", None),
            Self::Stream => (late, "downstream duration timeout", Some(DEADLINE_EXCEEDED)),
            Self::Idle => (late, "stream timeout", None),
        };
        Answer { grpc_status, ..Answer::new(status, body, self.as_str()).flagged(self.flag()) }
    }
}

/// The end of a limit; a limit beyond all time is none.
pub(super) fn after(from: Instant, limit: Option<Duration>) -> Option<Instant> {
    from.checked_add(limit?)
}

const DEADLINE_EXCEEDED: u32 = 4;

/// The clock of one request.
#[derive(Debug)]
pub(super) struct Clock {
    limits: TimeLimits,
    /// The longest silence of an attempt, once one counts.
    attempt_idle: Option<Duration>,
    progress: Progress,
    /// When something of the response moved last.
    moved: Instant,
    timer: Timer,
}

impl Clock {
    pub(super) fn new(limits: TimeLimits, progress: Progress) -> Self {
        let moved = progress.began();
        Self { limits, attempt_idle: None, progress, moved, timer: Timer::default() }
    }

    /// Something of the response has moved.
    pub(super) fn touch(&mut self) {
        if self.limits.idle.is_some() || self.attempt_idle.is_some() {
            self.moved = Instant::now();
        }
    }

    /// An attempt counts, which may be silent so long.
    pub(super) fn follow(&mut self, attempt_idle: Option<Duration>) {
        self.attempt_idle = attempt_idle;
        self.touch();
    }

    /// Which limit has passed, and whether the request had come to its end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Expired, bool)> {
        let watched = self.progress.watch(cx.waker());
        let active = self.moved.max(watched.active);
        let ends = [
            (watched.ended.and_then(|ended| after(ended, self.limits.response)), Expired::Response),
            (after(self.progress.began(), self.limits.stream), Expired::Stream),
            (after(active, self.limits.idle), Expired::Idle),
            (after(active, self.attempt_idle), Expired::AttemptIdle),
        ];
        let first = ends.into_iter().filter_map(|(at, why)| Some((at?, why))).min_by_key(|(at, _)| *at);
        match self.timer.poll(first.map(|(at, _)| at), cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => match first {
                Some((_, why)) => Poll::Ready((why, watched.ended.is_some())),
                None => Poll::Pending,
            },
        }
    }
}
