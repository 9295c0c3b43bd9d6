use std::sync::Arc;
use std::time::Duration;

use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode, Uri};
use hyper::body::Bytes;
use mesh_core::live::Live;
use rustls::ClientConfig;

use super::relationship::{Profile, Relationship, endpoint_url};
use crate::bundle::{Bundle, BundleSet, DocumentError, Skipped};
use crate::clock::Clock;
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::tls;
use crate::verify::Expected;
use crate::web;

/// Longest time for a whole fetch.
const WHOLE: Duration = Duration::from_secs(30);

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Fetches the bundle of one trust domain.
#[derive(Debug)]
pub struct Fetcher {
    relationship: Relationship,
    tls: Arc<ClientConfig>,
    /// What the endpoint served last, and by which tag it can tell that it still does.
    last: Option<(HeaderValue, Arc<Bundle>)>,
}

/// What a fetch gave: either way, what the endpoint serves now.
#[derive(Debug)]
pub enum Fetched {
    /// A bundle, and keys in it that were left out.
    Bundle(Arc<Bundle>, Vec<(usize, Skipped)>),
    /// The bundle of the last fetch. Whether it is in force is another question: it may have been refused.
    Unchanged(Arc<Bundle>),
}

impl Fetcher {
    /// A fetcher for a relationship. `bundles` verify endpoints that prove themselves by an SVID, unless they are of another
    /// trust domain whose bundle the relationship holds: they must be those that are in force when the fetch is made.
    ///
    /// # Errors
    /// [`FetchError::Settings`] when TLS cannot be set up.
    pub fn new(
        relationship: Relationship,
        bundles: Live<BundleSet>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FetchError> {
        let alpn: &[&[u8]] = &[b"http/1.1"];
        let tls = match &relationship.profile {
            Profile::Web { roots: Some(roots) } => tls::server_named_client(roots, alpn),
            Profile::Web { roots: None } => tls::web_client(alpn),
            Profile::Spiffe { endpoint_id, .. } => {
                let pinned = relationship.pinned().map(|bundle| BundleSet::default().with(bundle.clone()));
                let bundles = pinned.map_or(bundles, Live::constant);
                tls::server_authenticated_client(bundles, Expected::Ids(vec![endpoint_id.clone()]), clock, alpn)
            }
        };
        Ok(Self { relationship, tls: tls.map_err(FetchError::Settings)?, last: None })
    }

    /// The relationship.
    #[must_use]
    pub fn relationship(&self) -> &Relationship {
        &self.relationship
    }

    /// Fetches once. It always begins at the configured URL: a redirect is never remembered.
    ///
    /// # Errors
    /// [`FetchError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        tokio::time::timeout(WHOLE, self.follow()).await.map_err(|_| FetchError::Timeout(WHOLE.as_secs()))?
    }

    async fn follow(&mut self) -> Result<Fetched, FetchError> {
        let mut url = self.relationship.url.clone();
        let mut redirects = 0;
        loop {
            match self.once(&url).await? {
                Answer::Document(text, tag) => {
                    let domain = self.relationship.trust_domain.clone();
                    let document = Bundle::from_document(domain, &text).map_err(FetchError::Document)?;
                    let bundle = Arc::new(document.bundle);
                    self.last = tag.map(|tag| (tag, Arc::clone(&bundle)));
                    return Ok(Fetched::Bundle(bundle, document.skipped));
                }
                Answer::Unchanged(bundle) => return Ok(Fetched::Unchanged(bundle)),
                Answer::Redirect(to) => {
                    redirects += 1;
                    if !self.relationship.follow_redirects || redirects > MAX_REDIRECTS {
                        return Err(FetchError::Redirect(to));
                    }
                    url = endpoint_url(&to).map_err(|_| FetchError::Redirect(to))?;
                }
            }
        }
    }

    async fn once(&self, url: &Uri) -> Result<Answer, FetchError> {
        let tag = self.last.as_ref().map(|(tag, _)| tag);
        let got = web::get(url, Some(&self.tls), tag, MAX_DOCUMENT_BYTES).await?;
        match got.status {
            StatusCode::OK => Ok(Answer::Document(got.body, got.headers.get(ETAG).cloned())),
            StatusCode::NOT_MODIFIED => {
                let (_, bundle) = self.last.as_ref().ok_or(FetchError::Status(got.status))?;
                Ok(Answer::Unchanged(Arc::clone(bundle)))
            }
            status if status.is_redirection() => {
                let to = got.headers.get(LOCATION).and_then(|to| to.to_str().map(str::to_owned).ok());
                to.map(Answer::Redirect).ok_or(FetchError::Status(status))
            }
            status => Err(FetchError::Status(status)),
        }
    }
}

enum Answer {
    Document(Bytes, Option<HeaderValue>),
    Unchanged(Arc<Bundle>),
    Redirect(String),
}

/// A bundle could not be fetched; what was known before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// TLS cannot be set up.
    #[error("TLS for the bundle endpoint cannot be set up")]
    Settings(#[source] tls::Error),
    /// No connection.
    #[error("no connection to the bundle endpoint")]
    Connect(#[source] std::io::Error),
    /// It took too long.
    #[error("the bundle endpoint did not answer within {0} s")]
    Timeout(u64),
    /// The host of the URL cannot be one.
    #[error("`{0}` is no host")]
    Host(String),
    /// The endpoint is not who it should be.
    #[error("the bundle endpoint is not who it should be")]
    Rejected(#[source] crate::verify::Error),
    /// The handshake failed.
    #[error("no TLS with the bundle endpoint")]
    Tls(#[source] std::io::Error),
    /// HTTP failed.
    #[error("the bundle endpoint breaks HTTP")]
    Http(#[source] hyper::Error),
    /// Another status than 200.
    #[error("the bundle endpoint answered {0}")]
    Status(StatusCode),
    /// A redirect that is not followed.
    #[error("the bundle endpoint redirects to `{0}`, which is not followed")]
    Redirect(String),
    /// The body did not come whole, or was too large.
    #[error("the bundle did not come whole: {0}")]
    Body(String),
    /// Not a bundle.
    #[error("the bundle endpoint serves what is no bundle")]
    Document(#[source] DocumentError),
}

impl From<web::Error> for FetchError {
    fn from(error: web::Error) -> Self {
        match error {
            web::Error::Connect(error) => Self::Connect(error),
            web::Error::Timeout(seconds) => Self::Timeout(seconds),
            web::Error::Host(host) => Self::Host(host),
            web::Error::Rejected(reason) => Self::Rejected(reason),
            web::Error::Tls(error) => Self::Tls(error),
            web::Error::Http(error) => Self::Http(error),
            web::Error::Body(reason) => Self::Body(reason),
        }
    }
}
