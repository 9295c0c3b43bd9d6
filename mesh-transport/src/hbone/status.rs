use http::StatusCode;

/// A header that says in one stable word why a request was refused. Peers that do not know it ignore it.
pub const REASON_HEADER: &str = "x-mesh-reason";

/// The other end answered a CONNECT request with something else than 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other end answered {status}{}", reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
pub struct Refused {
    /// The status: 400 for a malformed request or a destination that is not its own, 401 for a refusal by policy or of a peer that is
    /// not trusted any more, 503
    /// when the destination cannot be reached.
    pub status: StatusCode,
    /// Its reason, if it gave one.
    pub reason: Option<String>,
}

impl Refused {
    /// Whether a policy refused.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }
}
