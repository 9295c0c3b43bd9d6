use std::sync::Arc;

use http::header::{COOKIE, HOST};
use http::{HeaderName, HeaderValue, Method, request};
use mesh_core::name::Text;
use mesh_core::request::{Metadata, Request};
use serde_json::{Map, Value};

/// A request as decisions look at it: what is asked about in an explanation, or what stands for many in a comparison.
#[derive(Debug, Clone)]
pub struct Probe {
    head: Arc<request::Parts>,
    authority: Text,
    target: Text,
    /// What its token says, when it brings one that is good.
    pub(super) token: Option<Arc<Map<String, Value>>>,
}

/// A request cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The method is none.
    #[error("`{0}` is no method")]
    Method(String),
    /// The path is none.
    #[error("`{0}` is no path")]
    Path(String),
    /// The host is none.
    #[error("`{0}` is no host")]
    Host(String),
    /// A header is none.
    #[error("`{0}` is no header; one is `name: value`")]
    Header(String),
}

impl Probe {
    /// A request with a method, a host (with its port, if it says one), a path with its query, and headers.
    ///
    /// # Errors
    /// [`ProbeError`] names what cannot be sent.
    pub fn new(method: &str, host: &str, path: &str, headers: &[(String, String)]) -> Result<Self, ProbeError> {
        let parsed = Method::from_bytes(method.as_bytes()).map_err(|_| ProbeError::Method(method.to_owned()))?;
        let bad_path = || ProbeError::Path(path.to_owned());
        let uri = path.parse::<http::Uri>().ok().filter(|_| path.starts_with('/')).ok_or_else(bad_path)?;
        let mut builder = http::Request::builder().method(parsed).uri(uri);
        let bad_host = || ProbeError::Host(host.to_owned());
        builder = builder.header(HOST, HeaderValue::from_str(host).map_err(|_| bad_host())?);
        for (name, value) in headers {
            let refused = || ProbeError::Header(format!("{name}: {value}"));
            let name = HeaderName::try_from(name.as_str()).map_err(|_| refused())?;
            builder = builder.header(name, HeaderValue::from_str(value).map_err(|_| refused())?);
        }
        let (mut head, ()) = builder.body(()).map_err(|_| bad_path())?.into_parts();
        // The authority is looked at apart from the headers.
        head.headers.remove(HOST);
        Ok(Self { head: Arc::new(head), authority: host.into(), target: path.into(), token: None })
    }

    /// The same, with a token that is good and says this.
    #[must_use]
    pub fn with_token(mut self, claims: Map<String, Value>) -> Self {
        self.token = Some(Arc::new(claims));
        self
    }

    /// The same, with cookies.
    pub(super) fn with_cookies(mut self, cookies: &[(String, String)]) -> Result<Self, ProbeError> {
        let text: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !text.is_empty() {
            let text = text.join("; ");
            let value = HeaderValue::from_str(&text).map_err(|_| ProbeError::Header(format!("cookie: {text}")))?;
            let mut head = (*self.head).clone();
            head.headers.insert(COOKIE, value);
            self.head = Arc::new(head);
        }
        Ok(self)
    }

    /// The same, with a path as a waypoint makes it before it looks at it.
    pub(super) fn with_target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// As decisions see it, from a client that is known by this.
    pub(super) fn request<'a>(&'a self, source: std::net::IpAddr, peer: Option<&'a str>) -> Request<'a> {
        let mut request =
            Request::new(&self.head.method, self.authority.as_str(), self.target.as_str(), &self.head.headers);
        request.head.source = Some(source);
        request.head.peer = peer;
        request
    }

    /// As filters get it.
    pub(super) fn parts(&self) -> request::Parts {
        let mut parts = (*self.head).clone();
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            parts.headers.insert(HOST, host);
        }
        parts
    }

    /// What verified tokens say stands under this.
    pub(super) fn metadata(&self, key: &str) -> Metadata {
        let mut metadata = Metadata::default();
        if let Some(claims) = &self.token {
            metadata.set(mesh_core::authn::METADATA, key, Value::Object((**claims).clone()));
        }
        metadata
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} at {}", self.head.method, self.target, self.authority)
    }
}
