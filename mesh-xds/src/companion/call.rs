//! What calls of all companions have in common.

use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use http::Uri;
use mesh_core::companion::{CompanionError, GrpcService, HeaderEdit};
use mesh_core::route::AppendAction;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};

/// Longest text of an error that is kept, in bytes.
const MAX_REASON: usize = 256;

/// What all calls of a service are sent with.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) origin: Uri,
    pub(super) timeout: Option<Duration>,
    metadata: MetadataMap,
}

impl Caller {
    pub(super) fn new(service: &GrpcService) -> Self {
        let authority = if service.authority.is_empty() { &service.cluster } else { &service.authority };
        // The name of a cluster may be no authority. Then calls have the one that the transport gives them.
        let origin = Uri::builder().scheme("http").authority(authority.as_str()).path_and_query("/").build();
        let metadata = MetadataMap::from_headers(service.metadata.iter().cloned().collect());
        Self { origin: origin.unwrap_or_default(), timeout: service.timeout, metadata }
    }

    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::from_parts(self.metadata.clone(), Extensions::default(), message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        request
    }
}

/// Waits for an answer no longer than it may take.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    answer: impl Future<Output = Result<T, CompanionError>>,
) -> Result<T, CompanionError> {
    match limit {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| CompanionError::Timeout(limit))?,
    }
}

pub(super) fn failed(status: &Status, timeout: Option<Duration>) -> CompanionError {
    match (status.code(), timeout) {
        (Code::DeadlineExceeded, Some(limit)) => CompanionError::Timeout(limit),
        // The transport keeps the same time, and may be the first to see that it is over.
        (Code::Cancelled, Some(limit)) if has_expired(status) => CompanionError::Timeout(limit),
        (code, _) => unavailable(format_args!("{code:?}: {}", status.message())),
    }
}

/// Whether it is tonic's own word for it: it leaves no other trace of its timer.
fn has_expired(status: &Status) -> bool {
    status.message() == tonic::TimeoutExpired(()).to_string()
}

pub(super) fn unavailable(reason: impl std::fmt::Display) -> CompanionError {
    let mut reason = reason.to_string();
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    CompanionError::Unavailable(reason)
}

/// A change of a header. What Envoy calls `append` counts where it is said; otherwise the action does, and the first of its
/// values, which is also the one of a message that says nothing, is `silent`.
pub(super) fn edit(
    field: &'static str,
    option: HeaderValueOption,
    silent: AppendAction,
) -> Result<HeaderEdit, CompanionError> {
    #[expect(deprecated, reason = "servers say it in the old way too")]
    let HeaderValueOption { header, append, append_action, keep_empty_value: _ } = option;
    let invalid = |reason: String| CompanionError::Invalid { field, reason };
    let header = header.ok_or_else(|| invalid("has no header".to_owned()))?;
    let action = match (append, HeaderAppendAction::try_from(append_action)) {
        (Some(append), _) if append.value => AppendAction::AppendIfExistsOrAdd,
        (Some(_), _) | (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => AppendAction::OverwriteIfExistsOrAdd,
        (None, Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => silent,
        (None, Ok(HeaderAppendAction::AddIfAbsent)) => AppendAction::AddIfAbsent,
        (None, Ok(HeaderAppendAction::OverwriteIfExists)) => AppendAction::OverwriteIfExists,
        (None, Err(_)) => return Err(invalid(format!("append_action {append_action} is not known"))),
    };
    Ok(plain(header, action))
}

pub(super) fn plain(header: HeaderValue, action: AppendAction) -> HeaderEdit {
    let HeaderValue { key, value, raw_value } = header;
    let value = if value.is_empty() { Bytes::from(raw_value) } else { Bytes::from(value) };
    HeaderEdit { name: key, value, action }
}
