use http::HeaderName;

use super::CookieKey;

/// Keeps a client with the endpoint that answered it first. Envoy's
/// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatefulSession {
    /// Where the client carries which endpoint that was.
    pub state: SessionState,
    /// Whether a request whose endpoint is gone is refused with 503; otherwise another is chosen, and the client told.
    pub strict: bool,
}

/// Where a client carries its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// In a cookie. Without a lifetime, or with zero, until the browser is closed.
    Cookie(CookieKey),
    /// In a header, which the answer has too.
    Header(HeaderName),
}
