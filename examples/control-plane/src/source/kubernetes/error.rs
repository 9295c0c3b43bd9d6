use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

/// The API server cannot be asked, or refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kubeconfig, or what a pod finds beside it, cannot be used.
    #[error("no access to an API server is configured: {0}")]
    Config(String),
    /// No answer came.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came in time.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    /// The API server refused (Kubernetes' `Status`).
    #[error("the API server answers {}: {message}", code.as_u16())]
    Refused {
        /// Its status.
        code: StatusCode,
        /// What it says about it.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// More was sent than is taken.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// A kind has more objects than are taken.
    #[error("there are more than {0} objects")]
    TooMany(usize),
    /// What was sent is not what was asked for.
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    /// A name that cannot stand in a path.
    #[error("`{0}` is no name of an object")]
    Name(String),
}

impl Error {
    /// What the API server said in the place of what was asked for: a `Status`, or any text.
    pub(super) fn refused(code: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Status {
            message: String,
        }
        let message = match serde_json::from_slice::<Status>(body) {
            Ok(status) => status.message,
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        // Into logs and findings: one line of it.
        let message = message.lines().next().unwrap_or_default().chars().take(256).collect();
        Self::Refused { code, message, retry_after }
    }

    fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the API server does not remember as far back as was asked (410).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code() == Some(StatusCode::GONE)
    }

    /// Whether somebody else wrote in between (409).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(StatusCode::CONFLICT)
    }

    /// Whether the same request can succeed later: nobody answered, or the API server is busy.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_server_error() || *code == StatusCode::TOO_MANY_REQUESTS,
            Self::Unreachable(_) | Self::Timeout(_) => true,
            _ => false,
        }
    }

    /// How long the API server wants to be left alone; a minute at most.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => retry_after.map(|pause| pause.min(Duration::from_secs(60))),
            _ => None,
        }
    }
}
