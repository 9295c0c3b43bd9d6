use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::SET_COOKIE;
use http::{HeaderValue, request, response};

use crate::balance::Preferred;
use crate::filter::{Exchange, Filter, Step};
use crate::route::{CookieKey, FilterOverride, SessionState, StatefulSession};

/// The filter of [`StatefulSession`]: a client comes back to the endpoint that answered it first, as long as that is healthy.
///
/// What the client carries is the endpoint's address, in base64. It is only ever looked for among the endpoints of the
/// cluster that the route leads to, so that a client can choose among those and reaches nobody else.
#[derive(Debug)]
pub struct Sessions {
    session: Option<StatefulSession>,
}

impl Sessions {
    /// Sessions of this kind, unless a route has others; without any, only routes have them.
    #[must_use]
    pub fn new(session: Option<StatefulSession>) -> Self {
        Self { session }
    }
}

/// What the response is compared with.
#[derive(Debug, Clone)]
struct Kept {
    state: SessionState,
    before: Option<SocketAddr>,
}

impl Filter for Sessions {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let session = match exchange.overriding() {
            Some(FilterOverride::Session(session)) => Some(session),
            _ => self.session.as_ref(),
        };
        let Some(StatefulSession { state, strict }) = session.filter(|session| session.is_for(head.uri.path())) else {
            return Step::Next;
        };
        let request = exchange.request(head);
        let carried = match state {
            SessionState::Cookie(cookie) => request.cookie(cookie.name.as_str()),
            SessionState::Header(name) => head.headers.get(name).and_then(|value| value.to_str().ok()),
        };
        let before = carried.and_then(address);
        let preferred = before.map(|address| Preferred { address, strict: *strict });
        let kept = Kept { state: state.clone(), before };
        exchange.preferred = preferred;
        exchange.keep(kept);
        Step::Next
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        let Some(Kept { state, before }) = exchange.take_kept() else { return };
        let Some(endpoint) = exchange.upstream.as_ref().and_then(|reached| reached.endpoint) else { return };
        if before == Some(endpoint) {
            return;
        }
        let value = BASE64_STANDARD.encode(endpoint.to_string());
        match state {
            SessionState::Cookie(cookie) => {
                head.headers.extend(HeaderValue::try_from(cookie.set(&value)).ok().map(|cookie| (SET_COOKIE, cookie)));
            }
            SessionState::Header(name) => {
                head.headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
            }
        }
    }
}

fn address(carried: &str) -> Option<SocketAddr> {
    // Envoy's may name the cluster behind the address.
    let text = String::from_utf8(BASE64_STANDARD.decode(carried).ok()?).ok()?;
    text.split(';').next()?.parse().ok()
}

impl StatefulSession {
    /// Whether it is for requests with this path: a cookie has one.
    fn is_for(&self, path: &str) -> bool {
        let SessionState::Cookie(CookieKey { path: of, .. }) = &self.state else { return true };
        let rest = path.strip_prefix(of.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of.is_empty() || of.as_str().ends_with('/'))
    }
}
