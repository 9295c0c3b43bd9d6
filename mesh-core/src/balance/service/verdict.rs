//! What a response says of the endpoint.

use http::{HeaderMap, StatusCode, header};

use super::super::outlier::Outcome;

/// What the head of a response says. `None` if that is not known before the trailers of a gRPC call.
pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap, has_ended: bool) -> Option<Outcome> {
    if !status.is_success() || !is_grpc(headers) {
        return Some(Outcome::Status(status.as_u16()));
    }
    match of_trailers(headers) {
        // A call ends with its status, and this one has ended.
        None if has_ended => Some(Outcome::Failed),
        outcome => outcome,
    }
}

/// What the status of a gRPC call says, if it is there.
pub(crate) fn of_trailers(trailers: &HeaderMap) -> Option<Outcome> {
    let status = trailers.get("grpc-status")?;
    let code = status.to_str().ok().and_then(|code| code.parse().ok());
    Some(code.map_or(Outcome::Failed, Outcome::of_grpc))
}

/// gRPC-Web is not: its status stands in the body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let rest = content_type.and_then(|content_type| content_type.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
