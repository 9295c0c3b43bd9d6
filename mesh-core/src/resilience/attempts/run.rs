use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::end::{End, Exhausted, Last};
use super::running::{Event, Running, What};
use super::tries::Tries;
use crate::balance::CircuitGuard;
use crate::resilience::limits::after;
use crate::resilience::timer::Timer;
use crate::route::{Outcome, RetryPolicy};

pin_project! {
    /// Attempts under way. Everything about them ends when this is dropped.
    pub(in crate::resilience) struct Attempts<T: Tries> {
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
    pub(in crate::resilience) fn new(tries: T) -> Self {
        Self { tries, begun: 0, first: None, others: Vec::new(), pause: None, timer: Timer::default() }
    }

    pub(in crate::resilience) fn tries_mut(self: Pin<&mut Self>) -> &mut T {
        self.project().tries
    }

    /// How many were begun.
    pub(in crate::resilience) fn begun(&self) -> u32 {
        self.begun
    }

    /// Tells all that are under way that they take too long.
    pub(in crate::resilience) fn time_out(self: Pin<&mut Self>) {
        let this = self.project();
        let others = this.others.iter_mut().map(|other| other.as_mut());
        for running in this.first.as_pin_mut().into_iter().chain(others) {
            running.time_out();
        }
    }

    pub(in crate::resilience) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<T>> {
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
