use http::header::LOCATION;
use http::{HeaderValue, StatusCode, request};

use super::{Answer, Exchange, Filter, Flag, Step};
use crate::path::PathNormalization;

/// Brings paths into their normal form before anybody looks at them, as [`PathNormalization`] says: 400 for a path that is
/// refused, 307 where clients are to use the normal form themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormalizePath(pub PathNormalization);

/// Why a path was refused or sent elsewhere, in Envoy's word.
const DETAILS: &str = "path_normalization_failed";

impl Filter for NormalizePath {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        match self.0.apply_to(head) {
            Ok(Some(false)) => Step::Next,
            Ok(Some(true)) => {
                exchange.reroute();
                Step::Next
            }
            // Clients of gRPC follow no redirects.
            Ok(None) if !exchange.request(head).is_grpc() => {
                let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                match HeaderValue::try_from(target) {
                    Ok(target) => Step::Answer(
                        Answer::new(StatusCode::TEMPORARY_REDIRECT, "", DETAILS).with_header(LOCATION, target),
                    ),
                    Err(_) => refused(),
                }
            }
            Ok(None) | Err(_) => refused(),
        }
    }
}

fn refused() -> Step {
    Step::Answer(Answer::new(StatusCode::BAD_REQUEST, "", DETAILS).flagged(Flag::DownstreamProtocolError))
}
