use http::Response;

use super::tries::Tries;

/// How all attempts together ended.
pub(in crate::resilience) struct End<T: Tries> {
    /// How the one that counts ended.
    pub(in crate::resilience) last: Last<T>,
    /// Which one that was.
    pub(in crate::resilience) number: u32,
    /// Why there was no other after it, if its end called for one.
    pub(in crate::resilience) exhausted: Option<Exhausted>,
}

pub(in crate::resilience) enum Last<T: Tries> {
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
pub(in crate::resilience) enum Exhausted {
    /// As many were made as may be.
    Limit,
    /// Too many requests are tried again at once.
    Budget,
    /// The body of the request was too long to be kept.
    Body,
}
