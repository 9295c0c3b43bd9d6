use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};

use super::head::strip_response;
use super::watch::Watch;

/// Where responses go that come before the response (RFC 9110 section 15.2), such as 103 Early Hints. Stands in the
/// extensions of a request whose client understands them; a [`Client`](super::Client) passes on what the endpoint says.
///
/// 100 and 101 go nowhere: whether a body is wanted is between two neighbours, and each of our servers says so itself; a
/// change of protocols is a response of its own.
#[derive(Debug, Clone)]
pub struct Interim {
    watch: Arc<Watch>,
}

impl Interim {
    pub(super) const fn of(watch: Arc<Watch>) -> Self {
        Self { watch }
    }

    /// Says something to the client before its response. What comes after the response, or faster than the client takes it,
    /// goes nowhere; so does what is no interim response.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let switches = matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS);
        if !status.is_informational() || switches {
            return;
        }
        let mut interim = Response::new(());
        *interim.status_mut() = status;
        *interim.headers_mut() = headers.clone();
        strip_response(interim.headers_mut(), false);
        // It has no body (RFC 9110 section 8.6).
        interim.headers_mut().remove(CONTENT_LENGTH);
        self.watch.say(interim);
    }
}
