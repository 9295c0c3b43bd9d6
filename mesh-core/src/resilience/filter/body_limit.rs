use http::request;

use crate::filter::{BodyDemand, Exchange, Filter, Step};
use crate::route::FilterOverride;

/// The filter that waits for the whole body of a request, up to a size; longer ones are refused, 413. Envoy's
/// `envoy.extensions.filters.http.buffer.v3.Buffer`.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit {
    max_bytes: u32,
}

impl BodyLimit {
    /// Bodies of so many bytes at most, unless a route says otherwise.
    #[must_use]
    pub fn new(max_bytes: u32) -> Self {
        Self { max_bytes }
    }

    fn max_bytes(self, exchange: &Exchange) -> u32 {
        match exchange.overriding() {
            Some(FilterOverride::BodyLimit(max_bytes)) => *max_bytes,
            _ => self.max_bytes,
        }
    }
}

impl Filter for BodyLimit {
    fn on_request(&self, _: &mut request::Parts, _: &mut Exchange) -> Step {
        Step::Next
    }

    fn body(&self, _: &request::Parts, exchange: &Exchange) -> Option<BodyDemand> {
        let max_bytes = usize::try_from(self.max_bytes(exchange)).unwrap_or(usize::MAX);
        Some(BodyDemand { max_bytes, allow_partial: false })
    }
}
