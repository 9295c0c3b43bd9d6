use std::time::Duration;

use http::Response;

use crate::balance::CircuitGuard;
use crate::resilience::progress::Progress;
use crate::route::{Outcome, RetryPolicy};

/// What attempts are made of.
pub(in crate::resilience) trait Tries {
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
pub(in crate::resilience) trait Ticket<R, E> {
    /// A response has begun.
    fn handle_response(&mut self, response: &Response<R>);

    /// There is none.
    fn handle_error(&mut self, error: &E);

    /// It takes longer than it may. It may go on nevertheless.
    fn handle_timeout(&mut self);
}

/// How long one attempt may take until its response begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::resilience) struct PerTry {
    /// From the end of the request, or the beginning of the attempt if that is later.
    pub(in crate::resilience) timeout: Option<Duration>,
    /// The longest silence.
    pub(in crate::resilience) idle: Option<Duration>,
    /// Whether an attempt that passes `timeout` goes on beside the next one.
    pub(in crate::resilience) hedged: bool,
}
