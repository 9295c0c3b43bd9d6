use futures_util::StreamExt as _;
use object_store::ObjectStoreExt as _;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use super::Bucket;

/// The scheme of the URLs that the TUF library makes for objects.
pub(super) const BASE: &str = "bucket:///";

#[tough::async_trait]
impl Transport for Bucket {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let path = percent_decoded(url.path());
        let got = self.store.get(&self.at(&path)).await.map_err(|error| {
            // S3 says 403 for what is missing to readers that may not list.
            let missing =
                matches!(error, object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. });
            let kind = if missing { TransportErrorKind::FileNotFound } else { TransportErrorKind::Other };
            TransportError::new_with_cause(kind, url.as_str(), error)
        })?;
        // Collected here, bounded, so that a connection that stalls is seen by the caller's deadline.
        let mut parts = got.into_stream();
        let mut whole = Vec::new();
        while let Some(part) = parts.next().await {
            let part =
                part.map_err(|error| TransportError::new_with_cause(TransportErrorKind::Other, url.as_str(), error))?;
            whole.extend_from_slice(&part);
            if whole.len() as u64 > super::MAX_OBJECT_BYTES {
                return Err(TransportError::new(TransportErrorKind::Other, "the object is too large"));
            }
        }
        Ok(Box::pin(futures_util::stream::iter([Ok(tough::Bytes::from(whole))])))
    }
}

/// The TUF library escapes names; they hold no slash that is not one.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = path.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
