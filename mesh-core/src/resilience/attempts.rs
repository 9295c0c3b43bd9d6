//! The loop of attempts: one after another, or several at once when they hedge.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Response};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::limits::after;
use super::progress::Progress;
use super::timer::Timer;
use crate::balance::CircuitGuard;
use crate::route::{Outcome, RetryPolicy};

/// What attempts are made of.
pub(super) trait Tries {
    /// The body of a response.
    type Body;
    /// Why there is no response.
    type Error;
    /// An attempt under way.
    type Send: Future<Output = Result<Response<Self::Body>, Self::Error>>;
    /// What is held as long as an attempt is under way; it is told how that went.
    type Ticket: Ticket<Self::Body, Self::Error>;
    /// Why an attempt cannot begin.
    type Refusal;

    /// Begins an attempt, counted from 1.
    fn begin(&mut self, number: u32) -> Result<(Self::Send, Self::Ticket), Self::Refusal>;

    /// When it is tried again; `None` for never.
    fn policy(&self) -> Option<&RetryPolicy>;

    /// How long one attempt may take.
    fn per_try(&self) -> PerTry;

    /// Whether the body of the request can be sent again.
    fn can_replay(&self) -> bool;

    /// Admits another attempt after this one.
    fn admit_retry(&self, ticket: &Self::Ticket) -> Option<CircuitGuard>;

    /// How an attempt without response ended.
    fn outcome(&self, error: &Self::Error) -> Outcome<'static>;

    /// The time since 1970, if it is known.
    fn wall_time(&self) -> Option<Duration>;

    /// How far the request is.
    fn progress(&self) -> &Progress;
}

/// Who wants to know how an attempt went.
pub(super) trait Ticket<R, E> {
    /// A response has begun.
    fn handle_response(&mut self, response: &Response<R>);

    /// There is none.
    fn handle_error(&mut self, error: &E);

    /// It takes longer than it may. It may go on nevertheless.
    fn handle_timeout(&mut self);
}

/// How long one attempt may take until its response begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PerTry {
    /// From the end of the request, or the beginning of the attempt if that is later.
    pub(super) timeout: Option<Duration>,
    /// The longest silence.
    pub(super) idle: Option<Duration>,
    /// Whether an attempt that passes `timeout` goes on beside the next one.
    pub(super) hedged: bool,
}

/// How all attempts together ended.
pub(super) struct End<T: Tries> {
    /// How the one that counts ended.
    pub(super) last: Last<T>,
    /// Which one that was.
    pub(super) number: u32,
    /// Why there was no other after it, if its end called for one.
    pub(super) exhausted: Option<Exhausted>,
}

pub(super) enum Last<T: Tries> {
    /// With a response, and what is to be held until that has ended.
    Response(Response<T::Body>, T::Ticket),
    /// Without one.
    Failed(T::Error),
    /// It took longer than an attempt may.
    TimedOut,
    /// It could not even begin.
    Refused(T::Refusal),
}

/// Why there is no other attempt after one that calls for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// As many were made as may be.
    Limit,
    /// Too many requests are tried again at once.
    Budget,
    /// The body of the request was too long to be kept.
    Body,
}

pin_project! {
    /// Attempts under way. Everything about them ends when this is dropped.
    pub(super) struct Attempts<T: Tries> {
        tries: T,
        begun: u32,
        #[pin]
        first: Option<Running<T>>,
        // Only attempts beside another that is still under way are boxed: those of hedging.
        others: Vec<Pin<Box<Running<T>>>>,
        pause: Option<Pause>,
        timer: Timer,
    }
}

/// The time until another attempt, which is admitted already.
struct Pause {
    until: Instant,
    guard: CircuitGuard,
}

/// What an attempt calls for.
enum Next {
    /// Nothing: its end is the end.
    Nothing,
    /// Another, which there cannot be.
    Denied(Exhausted),
    /// Another, which is on its way.
    Again,
}

impl<T: Tries> Attempts<T> {
    /// None was begun yet.
    pub(super) fn new(tries: T) -> Self {
        Self { tries, begun: 0, first: None, others: Vec::new(), pause: None, timer: Timer::default() }
    }

    pub(super) fn tries_mut(self: Pin<&mut Self>) -> &mut T {
        self.project().tries
    }

    /// How many were begun.
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    /// Tells all that are under way that they take too long.
    pub(super) fn time_out(self: Pin<&mut Self>) {
        let this = self.project();
        let others = this.others.iter_mut().map(|other| other.as_mut());
        for running in this.first.as_pin_mut().into_iter().chain(others) {
            if let Some(ticket) = running.project().ticket {
                ticket.handle_timeout();
            }
        }
    }

    pub(super) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<T>> {
        if self.begun == 0
            && let Some(end) = self.as_mut().begin(None)
        {
            return Poll::Ready(end);
        }
        loop {
            if let Some(event) = self.as_mut().poll_event(cx) {
                if let Some(end) = self.as_mut().handle_event(event) {
                    return Poll::Ready(end);
                }
                continue;
            }
            let this = self.as_mut().project();
            let until = this.pause.as_ref().map(|pause| pause.until);
            if this.timer.poll(until, cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(pause) = this.pause.take()
                && let Some(end) = self.as_mut().begin(Some(pause.guard))
            {
                return Poll::Ready(end);
            }
        }
    }

    /// Begins an attempt. `None` unless that is the end of all.
    fn begin(self: Pin<&mut Self>, guard: Option<CircuitGuard>) -> Option<End<T>> {
        let mut this = self.project();
        let number = *this.begun + 1;
        match this.tries.begin(number) {
            Ok((send, ticket)) => {
                *this.begun = number;
                let running = Running::new(send, ticket, guard, number);
                match this.first.is_none() {
                    true => this.first.set(Some(running)),
                    false => this.others.push(Box::pin(running)),
                }
                None
            }
            // Those that are under way may still answer.
            Err(_) if this.first.is_some() || !this.others.is_empty() => None,
            Err(refusal) => Some(End { last: Last::Refused(refusal), number, exhausted: None }),
        }
    }

    /// What happens to one of the attempts, if anything does. One that has ended is not among them any more.
    fn poll_event(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Event<T>> {
        let mut this = self.project();
        let (per_try, progress) = (this.tries.per_try(), this.tries.progress());
        if let Some(first) = this.first.as_mut().as_pin_mut()
            && let Poll::Ready(event) = first.poll(per_try, progress, cx)
        {
            if !matches!(event.what, What::Slow) {
                this.first.set(None);
            }
            return Some(event);
        }
        for at in 0..this.others.len() {
            if let Poll::Ready(event) = this.others[at].as_mut().poll(per_try, progress, cx) {
                if !matches!(event.what, What::Slow) {
                    drop(this.others.swap_remove(at));
                }
                return Some(event);
            }
        }
        None
    }

    fn handle_event(mut self: Pin<&mut Self>, event: Event<T>) -> Option<End<T>> {
        let Event { number, what } = event;
        let (last, next) = match what {
            What::Slow => {
                self.hedge(number);
                return None;
            }
            What::Answered(response, ticket) => {
                let outcome = Outcome::Response { status: response.status().as_u16(), headers: response.headers() };
                let next = self.as_mut().next(outcome, &ticket, Some(response.headers()));
                (Last::Response(response, ticket), next)
            }
            What::Failed(error, ticket) => {
                let outcome = self.tries.outcome(&error);
                let next = self.as_mut().next(outcome, &ticket, None);
                (Last::Failed(error), next)
            }
            What::Late(ticket) => {
                let next = self.as_mut().next(Outcome::PerTryTimeout, &ticket, None);
                (Last::TimedOut, next)
            }
        };
        let is_answer = matches!((&last, &next), (Last::Response(..), Next::Nothing));
        let others = self.first.is_some() || !self.others.is_empty() || self.pause.is_some();
        match next {
            Next::Again => None,
            // Another may still do better.
            _ if others && !is_answer => None,
            Next::Nothing => Some(End { last, number, exhausted: None }),
            Next::Denied(why) => Some(End { last, number, exhausted: Some(why) }),
        }
    }

    /// Whether another attempt follows one that ended so; if it does, its pause begins.
    fn next(self: Pin<&mut Self>, outcome: Outcome<'_>, ticket: &T::Ticket, response: Option<&HeaderMap>) -> Next {
        let this = self.project();
        let Some(policy) = this.tries.policy().filter(|policy| policy.is_retriable(outcome)) else {
            return Next::Nothing;
        };
        if this.pause.is_some() {
            // The one that is on its way already is for this one too.
            return Next::Again;
        }
        match admit(this.tries, policy, *this.begun, ticket, response) {
            Ok(pause) => {
                *this.pause = Some(pause);
                Next::Again
            }
            Err(why) => Next::Denied(why),
        }
    }

    /// Another attempt beside one that takes long. Whatever the policy is for, as with Envoy.
    fn hedge(mut self: Pin<&mut Self>, number: u32) {
        let this = self.as_mut().project();
        if this.pause.is_some() {
            return;
        }
        let first = this.first.as_ref().as_pin_ref().and_then(|first| first.get_ref().ticket(number));
        let ticket = first.or_else(|| this.others.iter().find_map(|other| other.ticket(number)));
        let (Some(ticket), Some(policy)) = (ticket, this.tries.policy()) else { return };
        *this.pause = admit(this.tries, policy, *this.begun, ticket, None).ok();
    }
}

fn admit<T: Tries>(
    tries: &T,
    policy: &RetryPolicy,
    begun: u32,
    ticket: &T::Ticket,
    response: Option<&HeaderMap>,
) -> Result<Pause, Exhausted> {
    if begun > policy.retries {
        return Err(Exhausted::Limit);
    }
    if !tries.can_replay() {
        return Err(Exhausted::Body);
    }
    let guard = tries.admit_retry(ticket).ok_or(Exhausted::Budget)?;
    // Without a clock, a date to come again at is in no time's reach and does not count.
    let wall = tries.wall_time().unwrap_or_default();
    let delay = policy.delay(begun, response, wall, fastrand::u64(..));
    let now = Instant::now();
    Ok(Pause { until: after(now, Some(delay)).unwrap_or(now), guard })
}

/// Something that happened to an attempt.
struct Event<T: Tries> {
    number: u32,
    what: What<T>,
}

enum What<T: Tries> {
    Answered(Response<T::Body>, T::Ticket),
    Failed(T::Error, T::Ticket),
    /// It has taken longer than it may, and is over.
    Late(T::Ticket),
    /// It has taken longer than it may, and goes on.
    Slow,
}

pin_project! {
    /// One attempt under way.
    struct Running<T: Tries> {
        #[pin]
        send: T::Send,
        ticket: Option<T::Ticket>,
        // Goes with this, when the response begins: what streams for hours must not take the place of retries.
        _guard: Option<CircuitGuard>,
        number: u32,
        began: Instant,
        slow: bool,
        timer: Timer,
    }
}

impl<T: Tries> Running<T> {
    fn new(send: T::Send, ticket: T::Ticket, guard: Option<CircuitGuard>, number: u32) -> Self {
        let (began, timer) = (Instant::now(), Timer::default());
        Self { send, ticket: Some(ticket), _guard: guard, number, began, slow: false, timer }
    }

    fn ticket(&self, number: u32) -> Option<&T::Ticket> {
        self.ticket.as_ref().filter(|_| self.number == number)
    }

    fn poll(self: Pin<&mut Self>, per_try: PerTry, progress: &Progress, cx: &mut Context<'_>) -> Poll<Event<T>> {
        let this = self.project();
        let sent = this.send.poll(cx);
        let Some(mut ticket) = this.ticket.take() else { return Poll::Pending };
        let what = match sent {
            Poll::Ready(Ok(response)) => {
                ticket.handle_response(&response);
                What::Answered(response, ticket)
            }
            Poll::Ready(Err(error)) => {
                // A request that broke off says nothing about who it was sent to.
                if !progress.peek().broken {
                    ticket.handle_error(&error);
                }
                What::Failed(error, ticket)
            }
            Poll::Pending => match this.timer.poll_late(per_try, progress, *this.began, *this.slow, cx) {
                Poll::Pending => {
                    *this.ticket = Some(ticket);
                    return Poll::Pending;
                }
                Poll::Ready(Late::Silent) => {
                    ticket.handle_timeout();
                    What::Late(ticket)
                }
                Poll::Ready(Late::Slow) if per_try.hedged => {
                    ticket.handle_timeout();
                    *this.slow = true;
                    *this.ticket = Some(ticket);
                    return Poll::Ready(Event { number: *this.number, what: What::Slow });
                }
                Poll::Ready(Late::Slow) => {
                    ticket.handle_timeout();
                    What::Late(ticket)
                }
            },
        };
        Poll::Ready(Event { number: *this.number, what })
    }
}

/// Why an attempt takes too long.
enum Late {
    /// Its time is over.
    Slow,
    /// Nothing has moved.
    Silent,
}

impl Timer {
    /// Whether an attempt that began then takes too long.
    fn poll_late(
        &mut self,
        per_try: PerTry,
        progress: &Progress,
        began: Instant,
        slow: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Late> {
        let PerTry { timeout, idle, .. } = per_try;
        if timeout.is_none() && idle.is_none() {
            return Poll::Pending;
        }
        let watched = progress.watch(cx.waker());
        let ends = watched.ended.and_then(|ended| after(ended.max(began), timeout.filter(|_| !slow)));
        let silent = after(watched.active.max(began), idle);
        self.poll(ends.into_iter().chain(silent).min(), cx).map(|()| match silent {
            Some(silent) if silent <= Instant::now() => Late::Silent,
            _ => Late::Slow,
        })
    }
}
