use std::time::Duration;

use envoy_types::pb::google::protobuf::Duration as Span;

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{duration, span};

/// A limit that zero switches off.
pub(super) fn limit(
    report: &Report,
    field: &str,
    given: Option<&Span>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Error> {
    match given {
        Some(given) => Ok(Some(duration(report, field, given)?).filter(|limit| !limit.is_zero())),
        None => Ok(default),
    }
}

pub(super) fn wire_limit(limit: Option<Duration>) -> Option<Span> {
    Some(span(limit.unwrap_or(Duration::ZERO)))
}
