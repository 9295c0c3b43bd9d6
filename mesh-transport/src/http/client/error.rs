use std::sync::Arc;

use http::Request;
use mesh_core::resilience::SendFailure;

use crate::http::body::{Body, BodyError};

/// Why there is no response.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A limit of the cluster was reached.
    #[error("too many {0}")]
    Overflow(Overflow),
    /// No connection came about.
    #[error("no connection")]
    Connect(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// No connection came about in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The endpoint refused the stream before it did anything (REFUSED_STREAM, GOAWAY).
    #[error("the endpoint refused the stream")]
    Refused(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The stream or its connection broke off.
    #[error("the stream broke off")]
    Reset {
        /// Whether anything of the request may have been sent.
        sent: bool,
        /// Whether the endpoint reset this stream, and not the connection.
        by_stream: bool,
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What came is no response.
    #[error("malformed response")]
    Protocol(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The request itself broke off.
    #[error("the request broke off")]
    Request(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// Which limit of a cluster was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Requests that wait for a connection.
    Pending,
    /// Requests in flight.
    Requests,
}

impl std::fmt::Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "requests wait for a connection",
            Self::Requests => "requests are in flight",
        })
    }
}

impl SendError {
    /// How it is called where it is decided what follows from it.
    #[must_use]
    pub const fn failure(&self) -> SendFailure {
        match self {
            Self::Overflow(_) => SendFailure::Overflow,
            Self::Connect(_) => SendFailure::Connect,
            Self::ConnectTimeout => SendFailure::ConnectTimeout,
            Self::Refused(_) => SendFailure::Refused,
            Self::Reset { sent, by_stream: true, .. } => SendFailure::Reset { sent: *sent },
            Self::Reset { sent, .. } => SendFailure::Closed { sent: *sent },
            Self::Protocol(_) => SendFailure::Protocol,
            Self::Request(_) => SendFailure::Local,
        }
    }

    pub(super) fn of_http1(error: hyper::Error) -> Self {
        // hyper calls its user's body the user's mistake.
        if error.is_user() || error.is_body_write_aborted() {
            return Self::Request(Arc::new(error));
        }
        if error.is_parse() {
            return Self::Protocol(Arc::new(error));
        }
        Self::Reset { sent: true, by_stream: false, source: Arc::new(error) }
    }

    pub(super) fn of_http2(error: h2::Error) -> Self {
        let is_refused =
            error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote());
        if is_refused {
            return Self::Refused(Arc::new(error));
        }
        // Found by us: what came breaks the protocol.
        if error.is_library() {
            return Self::Protocol(Arc::new(error));
        }
        Self::Reset { sent: true, by_stream: error.is_reset(), source: Arc::new(error) }
    }

    pub(super) fn mistake(mistake: Mistake) -> Self {
        Self::Request(Arc::new(mistake))
    }

    pub(super) fn of_body(error: BodyError) -> Self {
        Self::Request(Arc::new(error))
    }
}

/// A request that cannot be sent, or an answer that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error("no host, or a malformed one")]
    Host,
    #[error("a malformed target")]
    Target,
    #[error("a malformed upgrade")]
    Upgrade,
    #[error("the endpoint does not know extended CONNECT")]
    Extended,
    #[error("101 without being asked")]
    Switched,
}

/// A request without a response.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Why.
    #[source]
    pub error: SendError,
    /// The request as it was, if nothing of it was sent.
    pub request: Option<Request<Body>>,
}
