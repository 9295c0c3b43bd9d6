//! Attempts of a request to a cluster.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::head::{ATTEMPT_COUNT, is_for_endpoint, keeps_host, set_authority, set_time};
use super::plan::{Plan, Retry};
use super::{ForwardSettings, SendError, Upstream};
use crate::balance::{self, CircuitGuard, Pick, PickError, pick_another};
use crate::filter::Exchange;
use crate::resilience::BoxError;
use crate::resilience::attempts::{PerTry, Ticket, Tries};
use crate::resilience::progress::Progress;
use crate::resilience::replay::{Replay, ReplayBody};
use crate::resilience::tracked::Tracked;
use crate::route::{AvoidHost, Outcome, Priority, RetryPolicy, Selected, Selection};

/// A request and the cluster that it is sent to.
pub(super) struct Sending<C, B> {
    pub(super) upstream: C,
    /// Until it goes with the response.
    pub(super) exchange: Option<Exchange>,
    pub(super) plan: Plan,
    pub(super) settings: ForwardSettings,
    pub(super) hash: Option<u64>,
    pub(super) priority: Priority,
    /// As every attempt begins with it; it goes with the attempt if there cannot be another and nobody else wants it.
    pub(super) head: Option<request::Parts>,
    pub(super) keeps_head: bool,
    pub(super) replay: Replay<B>,
    pub(super) progress: Progress,
    pub(super) tried: SmallVec<[SocketAddr; 2]>,
    /// The priorities that attempts have gone to, since all of them were last left out.
    pub(super) priorities: SmallVec<[u32; 2]>,
}

impl<C, B> Sending<C, B> {
    pub(super) fn selected(&self) -> Option<Selected<'_>> {
        self.exchange.as_ref()?.selection().map(Selection::selected)
    }

    /// How much time the next attempt has.
    fn expected(&self, now: Instant) -> Option<Duration> {
        let left = self.plan.limits.left(&self.progress, now);
        // An attempt that goes on when its time is over has all the time of the request.
        let per_try = self.plan.per_try.timeout.filter(|_| !self.plan.per_try.hedged);
        left.into_iter().chain(per_try).min()
    }

    fn edit_attempt(&self, head: &mut request::Parts, number: u32, pick: &Pick, now: Instant) {
        let elapsed = now.saturating_duration_since(self.progress.began());
        set_time(&mut head.headers, self.expected(now), elapsed, self.settings.envoy_headers);
        let Some(selected) = self.selected() else { return };
        if selected.host.attempt_count_in_request {
            head.headers.insert(ATTEMPT_COUNT, HeaderValue::from(number));
        }
        let hostname = pick.endpoint().hostname.as_str();
        if !hostname.is_empty() && is_for_endpoint(&selected) {
            set_authority(head, hostname, keeps_host(&selected));
        }
    }
}

impl<C, B> Sending<C, B>
where
    C: Upstream<ReplayBody<B>>,
{
    fn pick(&self, number: u32, now: Instant) -> Result<Pick, PickError> {
        let subset = self.selected().map(|selected| selected.subset()).filter(|subset| !subset.is_empty());
        let request = balance::Request {
            hash: self.hash,
            attempt: number - 1,
            priority: self.priority,
            subset: subset.as_deref(),
            // Who is tried again goes elsewhere.
            preferred: self.exchange.as_ref().and_then(|exchange| exchange.preferred).filter(|_| number == 1),
            avoided_priorities: self.avoided_priorities(),
            original: self.exchange.as_ref().map(|exchange| exchange.connection.destination),
        };
        let policy = self.policy().filter(|_| number > 1);
        let is_avoided = |pick: &Pick, avoid: &AvoidHost| match avoid {
            AvoidHost::Previous => self.tried.contains(&pick.address()),
            AvoidHost::Canary => pick.endpoint().is_canary(),
        };
        let is_passed_over =
            |pick: &Pick| policy.is_some_and(|policy| policy.avoid.iter().any(|avoid| is_avoided(pick, avoid)));
        let others = policy.map_or(0, |policy| policy.host_attempts);
        pick_another(&request, others, is_passed_over, |request| self.upstream.pick(request, now.into_std()))
    }

    /// The priorities that attempts have gone to, as of the last time when they are to be looked at.
    fn avoided_priorities(&self) -> &[u32] {
        let every = self.policy().and_then(|policy| policy.avoid_priorities).map(|every| every.max(1) as usize);
        let settled = every.map_or(0, |every| self.priorities.len() / every * every);
        self.priorities.get(..settled).unwrap_or_default()
    }

    fn policy(&self) -> Option<&RetryPolicy> {
        match &self.plan.retry {
            Retry::Never => None,
            Retry::Route => self.selected()?.retry(),
            Retry::Own(policy) => Some(policy),
        }
    }
}

impl<C, B> Tries for Sending<C, B>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Body = C::Body;
    type Error = SendError;
    type Send = C::Sending;
    type Ticket = Tracked;
    type Refusal = PickError;

    fn begin(&mut self, number: u32) -> Result<(C::Sending, Tracked), PickError> {
        let now = Instant::now();
        let pick = self.pick(number, now)?;
        self.tried.push(pick.address());
        if self.avoided_priorities().contains(&pick.priority()) {
            // None was left: it begins anew.
            self.priorities.clear();
        }
        self.priorities.push(pick.priority());
        if let Some(reached) = self.exchange.as_mut().and_then(|exchange| exchange.upstream.as_mut()) {
            reached.endpoint = Some(pick.address());
            reached.attempts = number;
        }
        let head = if self.keeps_head { self.head.clone() } else { self.head.take() };
        let mut head = head.unwrap_or_else(|| Request::new(()).into_parts().0);
        self.edit_attempt(&mut head, number, &pick, now);
        let request = Request::from_parts(head, self.replay.attempt(number));
        let send = self.upstream.send(&pick, request);
        Ok((send, Tracked::new(pick)))
    }

    fn policy(&self) -> Option<&RetryPolicy> {
        self.policy()
    }

    fn per_try(&self) -> PerTry {
        self.plan.per_try
    }

    fn can_replay(&self) -> bool {
        self.keeps_head && self.replay.can_begin_again()
    }

    fn admit_retry(&self, tracked: &Tracked) -> Option<CircuitGuard> {
        self.upstream.circuit(tracked.pick()).try_retry(self.priority, Instant::now().into_std())
    }

    fn outcome(&self, error: &SendError) -> Outcome<'static> {
        error.failure().outcome()
    }

    fn wall_time(&self) -> Option<Duration> {
        let now = self.settings.wall_clock?();
        now.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl<R> Ticket<R, SendError> for Tracked {
    fn handle_response(&mut self, response: &Response<R>) {
        Self::handle_response(self, response);
    }

    fn handle_error(&mut self, error: &SendError) {
        Self::handle_error(self, error);
    }

    fn handle_timeout(&mut self) {
        self.report(balance::Outcome::TimedOut);
    }
}
