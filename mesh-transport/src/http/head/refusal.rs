use http::StatusCode;

/// Why a request is refused before anybody sees it. Stands in the extensions of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No `host`, and no authority in the target.
    #[error("no host")]
    MissingHost,
    /// More than one `host`.
    #[error("several hosts")]
    SeveralHosts,
    /// `host` and the target name different authorities.
    #[error("host and target differ")]
    HostMismatch,
    /// The authority is none, or holds a user.
    #[error("malformed host")]
    MalformedHost,
    /// The target is neither a path nor what its method allows.
    #[error("malformed target")]
    MalformedTarget,
    /// A transfer coding that is not `chunked` alone.
    #[error("a transfer coding that is not understood")]
    TransferEncoding,
    /// Lengths that are not one number.
    #[error("malformed content-length")]
    ContentLength,
    /// A header that HTTP/2 does not have, or that has another form there.
    #[error("the header `{0}` is malformed")]
    MalformedHeader(http::HeaderName),
    /// `connection` names what is not a matter of one connection.
    #[error("connection names what must be passed on")]
    Nominated,
    /// More headers than there may be.
    #[error("too many headers")]
    TooManyHeaders,
    /// A header's name has an underscore.
    #[error("a header's name has an underscore")]
    Underscore,
    /// `expect` asks for something else than `100-continue`.
    #[error("an expectation that cannot be met")]
    Expectation,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether what else the client sends on an HTTP/1.1 connection is not to be trusted.
    #[must_use]
    pub const fn closes(&self) -> bool {
        !matches!(self, Self::Expectation | Self::Underscore)
    }
}
