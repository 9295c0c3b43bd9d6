//! What is known of a resource that is watched, and what speaks against it.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// Why a resource is not as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The name itself is none.
    #[error("{0}")]
    Name(#[from] crate::resource::NameError),
    /// No servers are known for the authority of the name.
    #[error("no servers are known for the authority `{0}`")]
    Authority(String),
    /// What the server sent cannot be used.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The server says that it does not exist, or nothing was heard of it in time.
    #[error("does not exist")]
    NotFound,
    /// The server has trouble with this resource.
    #[error("the server has an error with it: {message} (code {code})")]
    Server {
        /// The gRPC code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// Nothing was heard of it in time, by a server that has trouble with itself.
    #[error("nothing was heard of it in time")]
    Silence,
    /// No server can be reached.
    #[error("no server can be reached: {0}")]
    Unreachable(String),
    /// It is the last good one from disk; no server has confirmed it yet.
    #[error("not confirmed by a server since {0:?}")]
    Stale(SystemTime),
}

impl WatchError {
    /// Whether it says something of the resource itself, and not of the way to it. gRFC A88's data errors.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::NotFound | Self::Rejected(_) | Self::Name(_) | Self::Authority(_) => true,
            // NOT_FOUND and PERMISSION_DENIED.
            Self::Server { code, .. } => matches!(code, 5 | 7),
            Self::Silence | Self::Unreachable(_) | Self::Stale(_) => false,
        }
    }
}

/// What becomes of a value when a server says something against it. gRFC A88.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnDataError {
    /// A value that is deleted or denied is gone; one whose successor is rejected stays. As proxies expect it.
    #[default]
    DropDeleted,
    /// Every value stays until another comes. As gRPC's clients do.
    Keep,
    /// The value is gone in all cases: gRPC's `fail_on_data_errors`.
    Drop,
}

impl OnDataError {
    pub(super) fn drops(self, error: &WatchError) -> bool {
        match self {
            Self::Keep => false,
            Self::Drop => error.is_about_data(),
            Self::DropDeleted => error.is_about_data() && !matches!(error, WatchError::Rejected(_)),
        }
    }
}

pub(super) type AnyValue = Arc<dyn Any + Send + Sync>;

/// What is known of one resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) value: Option<AnyValue>,
    pub(super) error: Option<Arc<WatchError>>,
    pub(super) version: Arc<str>,
    pub(super) body: Bytes,
    /// When the value came.
    pub(super) received: Option<SystemTime>,
    /// The last rejection: what was rejected, when, and in which version.
    pub(super) refused: Option<Arc<Refused>>,
    pub(super) warnings: Arc<[String]>,
}

/// A version that was rejected.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) version: String,
    pub(super) at: SystemTime,
    pub(super) body: Bytes,
}
