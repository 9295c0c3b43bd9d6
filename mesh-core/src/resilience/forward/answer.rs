//! What is answered where no server is asked.

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{SendError, SendFailure};
use crate::balance::PickError;
use crate::filter::{Answer, Flag};
use crate::route::{DirectResponse, MissingCluster};

const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
const DROPPED: HeaderName = HeaderName::from_static("x-envoy-drop-overload");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// The reason in logs where a route answers by itself.
const DIRECT: &str = "direct_response";
const NO_RESPONSE: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

pub(super) fn not_found() -> Answer {
    Answer::new(StatusCode::NOT_FOUND, Bytes::new(), "route_not_found").flagged(Flag::NoRoute)
}

/// The client is sent elsewhere. Clients of gRPC follow nobody: they get a failure, with the place, as with Envoy.
pub(super) fn redirect(status: u16, location: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    match HeaderValue::from_str(location) {
        Ok(location) => Answer::new(status, Bytes::new(), DIRECT).with_header(LOCATION, location),
        Err(_) => Answer::new(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new(), DIRECT),
    }
}

pub(super) fn direct(direct: &DirectResponse) -> Answer {
    let status = StatusCode::from_u16(direct.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::new(status, direct.body.clone(), DIRECT)
}

pub(super) fn missing_cluster(missing: MissingCluster) -> Answer {
    let status = StatusCode::from_u16(missing.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Answer::new(status, Bytes::new(), "cluster_not_found").flagged(Flag::NoCluster)
}

pub(super) fn invalid_target() -> Answer {
    Answer::new(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new(), "invalid_path_rewrite")
}

pub(in crate::resilience) fn refused(error: &PickError) -> Answer {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        PickError::Dropped { .. } => Answer::new(unavailable, "drop overload", "drop_overload")
            .flagged(Flag::DropOverload)
            .with_header(DROPPED, TRUE),
        PickError::CircuitOpen => no_response(SendFailure::Overflow),
        _ => Answer::new(unavailable, "no healthy upstream", "no_healthy_upstream").flagged(Flag::NoHealthyUpstream),
    }
}

pub(super) fn failed(error: &SendError) -> Answer {
    no_response(error.failure())
}

fn no_response(failure: SendFailure) -> Answer {
    let reason = failure.as_str();
    let status = match failure {
        SendFailure::Protocol => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let details = format!("upstream_reset_before_response_started{{{}}}", reason.replace(' ', "_"));
    let answer = Answer::new(status, format!("{NO_RESPONSE}{reason}"), details).flagged(failure.flag());
    match failure {
        // Who gets this must not try again: it would only add to the load.
        SendFailure::Overflow => answer.with_header(OVERLOADED, TRUE),
        _ => answer,
    }
}

pub(in crate::resilience) fn attempt_timed_out() -> Answer {
    let answer = Answer::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "upstream_per_try_timeout");
    answer.flagged(Flag::UpstreamRequestTimeout)
}
