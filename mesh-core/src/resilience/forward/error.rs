use std::fmt;

use crate::balance;
use crate::filter::Flag;
use crate::resilience::BoxError;
use crate::route::Outcome;

/// There is no response, or it broke off.
#[derive(Debug)]
pub struct SendError {
    failure: SendFailure,
    source: Option<BoxError>,
}

/// How sending a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendFailure {
    /// No connection came about.
    Connect,
    /// No connection came about in time.
    ConnectTimeout,
    /// Too many requests wait for a connection, or there are too many connections.
    Overflow,
    /// The server refused the request before it did anything: `REFUSED_STREAM`, or a `GOAWAY` that leaves it out.
    Refused,
    /// The server reset the stream.
    Reset {
        /// Whether anything of the request had been sent.
        sent: bool,
    },
    /// The connection ended.
    Closed {
        /// Whether anything of the request had been sent.
        sent: bool,
    },
    /// The server spoke no proper HTTP.
    Protocol,
    /// We could not send it: what the server did plays no part.
    Local,
}

impl SendError {
    /// A failure, with what caused it.
    pub fn new(failure: SendFailure, source: impl Into<BoxError>) -> Self {
        Self { failure, source: Some(source.into()) }
    }

    /// How it failed.
    #[must_use]
    pub fn failure(&self) -> SendFailure {
        self.failure
    }
}

impl From<SendFailure> for SendError {
    fn from(failure: SendFailure) -> Self {
        Self { failure, source: None }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request was not answered: {}", self.failure.as_str())
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl SendFailure {
    /// The reason in answers and logs, as Envoy names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::Overflow => "overflow",
            Self::Refused => "remote refused stream reset",
            Self::Reset { .. } => "remote reset",
            Self::Closed { .. } => "connection termination",
            Self::Protocol => "protocol error",
            Self::Local => "local reset",
        }
    }

    /// The flag of the access log.
    #[must_use]
    pub const fn flag(self) -> Flag {
        match self {
            Self::Connect | Self::ConnectTimeout => Flag::UpstreamConnectionFailure,
            Self::Overflow => Flag::UpstreamOverflow,
            Self::Refused | Self::Reset { .. } => Flag::UpstreamRemoteReset,
            Self::Closed { .. } => Flag::UpstreamConnectionTermination,
            Self::Protocol => Flag::UpstreamProtocolError,
            Self::Local => Flag::LocalReset,
        }
    }

    /// What the endpoint is told to have done; `None` if it played no part.
    pub(crate) const fn blame(self) -> Option<balance::Outcome> {
        match self {
            Self::Overflow | Self::Local => None,
            Self::ConnectTimeout => Some(balance::Outcome::TimedOut),
            Self::Connect | Self::Refused | Self::Reset { .. } | Self::Closed { .. } | Self::Protocol => {
                Some(balance::Outcome::Unreachable)
            }
        }
    }

    /// What retries are decided by.
    #[must_use]
    pub const fn outcome(self) -> Outcome<'static> {
        match self {
            Self::Connect | Self::ConnectTimeout => Outcome::ConnectFailure,
            Self::Overflow => Outcome::Overflow,
            Self::Refused => Outcome::Refused,
            Self::Reset { sent } | Self::Closed { sent } => Outcome::Reset { sent },
            Self::Protocol | Self::Local => Outcome::Reset { sent: true },
        }
    }
}
