use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use http::Response;
use mesh_core::listener::HttpTimeouts;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::limits::INTERIM_RESPONSES;

/// How long a request takes, whether something moves, and what is said before the response: touched by both bodies, asked by
/// whoever serves the connection.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    /// Milliseconds from `started` to the last movement.
    moved: AtomicU64,
    request_ended: AtomicBool,
    expired: OnceLock<Expiry>,
    interim: Mutex<Said>,
}

/// What is said before the response.
#[derive(Debug, Default)]
struct Said {
    waiting: VecDeque<Response<()>>,
    server: Option<Waker>,
}

/// Which limit of time a request passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expiry {
    /// Nothing moved for too long ([`HttpTimeouts::stream_idle`]).
    Idle,
    /// It took too long altogether ([`HttpTimeouts::stream`]).
    Duration,
    /// It was not sent in time ([`HttpTimeouts::request`]).
    Request,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "nothing moved for too long",
            Self::Duration => "the request took too long",
            Self::Request => "the request was not sent in time",
        })
    }
}

impl Watch {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            moved: AtomicU64::new(0),
            request_ended: AtomicBool::new(false),
            expired: OnceLock::new(),
            interim: Mutex::default(),
        }
    }

    /// Something to be said before the response.
    pub(super) fn say(&self, interim: Response<()>) {
        let mut said = self.interim.lock();
        if said.waiting.len() < INTERIM_RESPONSES {
            said.waiting.push_back(interim);
        }
        if let Some(server) = said.server.take() {
            server.wake();
        }
    }

    /// What is to be said before the response; wakes when there is more.
    pub(super) fn next_said(&self, cx: &Context<'_>) -> Option<Response<()>> {
        let mut said = self.interim.lock();
        let next = said.waiting.pop_front();
        if next.is_none() && !said.server.as_ref().is_some_and(|server| server.will_wake(cx.waker())) {
            said.server = Some(cx.waker().clone());
        }
        next
    }

    pub(super) fn touch(&self) {
        self.moved.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.touch();
        self.request_ended.store(true, Relaxed);
    }

    pub(super) fn has_request_ended(&self) -> bool {
        self.request_ended.load(Relaxed)
    }

    /// The limit that was passed, once [`Watch::check`] has found one.
    pub(super) fn expired(&self) -> Option<Expiry> {
        self.expired.get().copied()
    }

    /// When to check again.
    ///
    /// # Errors
    /// A limit has passed.
    pub(super) fn check(&self, now: Instant, limits: &HttpTimeouts) -> Result<Option<Instant>, Expiry> {
        match self.next(limits) {
            Some((deadline, expiry)) if deadline <= now => Err(*self.expired.get_or_init(|| expiry)),
            next => Ok(next.map(|(deadline, _)| deadline)),
        }
    }

    /// When to check; passed already when a limit was found to have passed.
    pub(super) fn deadline(&self, limits: &HttpTimeouts) -> Option<Instant> {
        self.next(limits).map(|(deadline, _)| deadline)
    }

    fn next(&self, limits: &HttpTimeouts) -> Option<(Instant, Expiry)> {
        let moved = self.started + Duration::from_millis(self.moved.load(Relaxed));
        let request = limits.request.filter(|_| !self.has_request_ended());
        let deadlines = [
            request.map(|limit| (self.started + limit, Expiry::Request)),
            limits.stream.map(|limit| (self.started + limit, Expiry::Duration)),
            limits.stream_idle.map(|limit| (moved + limit, Expiry::Idle)),
        ];
        deadlines.into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }
}
