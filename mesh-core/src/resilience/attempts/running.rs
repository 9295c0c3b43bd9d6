use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::tries::{PerTry, Ticket, Tries};
use crate::balance::CircuitGuard;
use crate::resilience::limits::after;
use crate::resilience::progress::Progress;
use crate::resilience::timer::Timer;

/// Something that happened to an attempt.
pub(super) struct Event<T: Tries> {
    pub(super) number: u32,
    pub(super) what: What<T>,
}

pub(super) enum What<T: Tries> {
    Answered(Response<T::Body>, T::Ticket),
    Failed(T::Error, T::Ticket),
    /// It has taken longer than it may, and is over.
    Late(T::Ticket),
    /// It has taken longer than it may, and goes on.
    Slow,
}

pin_project! {
    /// One attempt under way.
    pub(super) struct Running<T: Tries> {
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
    pub(super) fn new(send: T::Send, ticket: T::Ticket, guard: Option<CircuitGuard>, number: u32) -> Self {
        let (began, timer) = (Instant::now(), Timer::default());
        Self { send, ticket: Some(ticket), _guard: guard, number, began, slow: false, timer }
    }

    pub(super) fn ticket(&self, number: u32) -> Option<&T::Ticket> {
        self.ticket.as_ref().filter(|_| self.number == number)
    }

    /// Tells it that it takes too long.
    pub(super) fn time_out(self: Pin<&mut Self>) {
        if let Some(ticket) = self.project().ticket {
            ticket.handle_timeout();
        }
    }

    pub(super) fn poll(
        self: Pin<&mut Self>,
        per_try: PerTry,
        progress: &Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Event<T>> {
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
