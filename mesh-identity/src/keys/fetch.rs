use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode, Uri};
use mesh_core::authn::RemoteKeys;
use rustls::ClientConfig;

use crate::limits::MAX_KEY_SET_BYTES;
use crate::{tls, web};

/// Fetches documents: key sets, and the configurations of issuers that lead to them.
///
/// [`Web`] is the usual one. A proxy whose clusters say how hosts are reached has its own.
pub trait Fetch: fmt::Debug + Send + Sync + 'static {
    /// Fetches the document at a URL, on behalf of these keys. Who fetches bounds the size; the time is bounded by the caller.
    fn fetch<'a>(&'a self, url: &'a Uri, keys: &'a RemoteKeys) -> Fetching<'a>;
}

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Document, FetchError>> + Send + 'a>>;

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its text.
    pub text: Bytes,
    /// How long it may be kept, as its server says (`cache-control: max-age`, RFC 9111 section 5.2.2.1).
    pub max_age: Option<Duration>,
}

/// Fetches over HTTPS, or over HTTP where the URL says so. Redirects are not followed: keys are where the configuration says.
#[derive(Debug, Default)]
pub struct Web {
    /// Read when the first server is asked over TLS.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Web {
    /// By servers that chain to the roots of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By servers that chain to these roots (PEM).
    ///
    /// # Errors
    /// [`tls::Error`] when there is no root in the text.
    pub fn with_roots(roots: &[u8]) -> Result<Self, tls::Error> {
        Ok(Self { tls: OnceLock::from(tls::server_named_client(roots, &[b"http/1.1"])?) })
    }

    fn tls(&self) -> Result<&Arc<ClientConfig>, FetchError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let tls = tls::web_client(&[b"http/1.1"]).map_err(|error| FetchError::Failed(Box::new(error)))?;
        Ok(self.tls.get_or_init(|| tls))
    }
}

impl Fetch for Web {
    fn fetch<'a>(&'a self, url: &'a Uri, _: &'a RemoteKeys) -> Fetching<'a> {
        Box::pin(async move {
            let tls = match url.scheme_str() {
                Some("https") => Some(self.tls()?),
                Some("http") => None,
                _ => return Err(FetchError::Url(url.to_string())),
            };
            let got = web::get(url, tls, None, MAX_KEY_SET_BYTES).await;
            let got = got.map_err(|error| FetchError::Failed(Box::new(error)))?;
            match got.status {
                StatusCode::OK => Ok(Document { max_age: max_age(&got.headers), text: got.body }),
                status => Err(FetchError::Status(status)),
            }
        })
    }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(','));
    let seconds = directives.find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("max-age") { seconds.trim_matches('"').parse().ok() } else { None }
    });
    seconds.map(Duration::from_secs)
}

/// A key set did not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not a URL of `https` or `http` with a host.
    #[error("`{0}` is no URL of https or http")]
    Url(String),
    /// The server could not be asked.
    #[error("the server of the keys could not be asked")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200.
    #[error("the server of the keys answered {0}")]
    Status(StatusCode),
    /// It took too long.
    #[error("the keys did not come within {0:?}")]
    Timeout(Duration),
    /// What came is no key set, nor the configuration of an issuer.
    #[error("what came is no key set")]
    KeySet(#[source] super::KeySetError),
    /// The configuration of an issuer leads from HTTPS to a place without.
    #[error("the issuer's configuration leads to `{0}`, which is not secured")]
    Downgrade(String),
}
