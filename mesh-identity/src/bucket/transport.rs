use object_store::ObjectStoreExt as _;
use percent_encoding::percent_decode_str;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use super::{Bucket, bounded};

/// The scheme of the URLs that the TUF library makes for objects.
pub(super) const BASE: &str = "bucket:///";

#[tough::async_trait]
impl Transport for Bucket {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        // The TUF library escapes names; they hold no slash that is not one.
        let path = percent_decode_str(url.path()).decode_utf8_lossy();
        let got = self.store.get(&self.at(&path)).await.map_err(|error| {
            // S3 says 403 for what is missing to readers that may not list.
            let missing =
                matches!(error, object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. });
            let kind = if missing { TransportErrorKind::FileNotFound } else { TransportErrorKind::Other };
            TransportError::new_with_cause(kind, url.as_str(), error)
        })?;
        // Collected here, so that a connection that stalls is seen by the caller's deadline.
        let failed = |error| TransportError::new_with_cause(TransportErrorKind::Other, url.as_str(), error);
        let whole = bounded(got).await.map_err(failed)?;
        let whole = whole.ok_or_else(|| TransportError::new(TransportErrorKind::Other, "the object is too large"))?;
        Ok(Box::pin(futures_util::stream::iter([Ok(tough::Bytes::from(whole))])))
    }
}
