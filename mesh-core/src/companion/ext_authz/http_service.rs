use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri};
use serde_json::Value;

use super::check::Check;
use super::decision::{Allowance, Decision, Refusal};
use super::settings::any;
use crate::companion::edit::is_protected;
use crate::companion::{CompanionError, HeaderEdit};
use crate::name::Text;
use crate::route::Template;
use crate::string_match::Pattern;

/// Names headers of the request that are to be removed, with commas between them.
const REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// An authorizer that is asked by plain HTTP. Envoy's `HttpService`.
///
/// It is asked with the method, host and path of the request. 200 lets the request pass; an error of the server (500 to 599)
/// is no answer; anything else is what the client is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpService {
    /// The cluster it is in.
    pub cluster: Text,
    /// Its address as it was given. Only the cluster counts; Envoy wants one.
    pub uri: Text,
    /// How long it may take; `None` has no limit.
    pub timeout: Option<Duration>,
    /// What becomes of the path.
    pub path: CheckPath,
    /// Headers that are added to the question, in place of the client's.
    pub add: Vec<(HeaderName, Template)>,
    /// Headers of its answer that take the place of the request's, where it allows it.
    pub upstream: Vec<Pattern>,
    /// Headers of its answer that stand beside the request's, where it allows it.
    pub upstream_append: Vec<Pattern>,
    /// Headers of its answer that the client gets where it refuses; if there are none here, all.
    pub client: Vec<Pattern>,
    /// Headers of its answer that the client gets where it allows.
    pub client_on_success: Vec<Pattern>,
    /// Headers of its answer that are said of the request to later filters, where it allows it.
    pub metadata: Vec<Pattern>,
}

/// What becomes of the path of a request when an authorizer is asked about it by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckPath {
    /// This stands before it; may be empty.
    Prefix(Text),
    /// This stands instead.
    Whole(Text),
}

impl HttpService {
    /// A service in this cluster, with every default.
    #[must_use]
    pub fn new(cluster: impl Into<Text>, timeout: Option<Duration>) -> Self {
        Self {
            cluster: cluster.into(),
            uri: Text::default(),
            timeout,
            path: CheckPath::Prefix(Text::default()),
            add: Vec::new(),
            upstream: Vec::new(),
            upstream_append: Vec::new(),
            client: Vec::new(),
            client_on_success: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// The question. Its URI names the host that the client asked for, as Envoy's does; the cluster is asked, not that host.
    ///
    /// # Errors
    /// [`CompanionError::Invalid`], if the request cannot be asked about by HTTP: it is a CONNECT, or its path makes none with
    /// what stands before it.
    pub fn request(&self, check: Check) -> Result<Request<Bytes>, CompanionError> {
        let invalid = |field, reason: &dyn ToString| CompanionError::Invalid { field, reason: reason.to_string() };
        if check.method == Method::CONNECT {
            return Err(invalid("method", &"a CONNECT cannot be asked about by HTTP"));
        }
        let path = match &self.path {
            CheckPath::Prefix(prefix) => format!("{prefix}{}", check.path),
            CheckPath::Whole(path) => path.to_string(),
        };
        let authority = match check.authority.as_str() {
            "" => self.cluster.as_str(),
            authority => authority,
        };
        let uri = Uri::builder().scheme(check.scheme).authority(authority).path_and_query(path);
        let body = check.body.map(|body| body.bytes).unwrap_or_default();
        let mut request = Request::new(body);
        *request.uri_mut() = uri.build().map_err(|error| invalid("path", &error))?;
        *request.method_mut() = check.method;
        for (name, value) in check.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| invalid("headers", &error))?;
            let value = http::HeaderValue::from_maybe_shared(value).map_err(|error| invalid("headers", &error))?;
            request.headers_mut().append(name, value);
        }
        let length = request.body().len();
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(request)
    }

    /// What an answer means.
    ///
    /// # Errors
    /// [`CompanionError::Status`], if it is an error of the server.
    pub fn decision(&self, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Result<Decision, CompanionError> {
        if status.is_server_error() {
            return Err(CompanionError::Status(status.as_u16()));
        }
        // What belongs to the authorizer's own message is not part of what it says.
        let said = || headers.iter().filter(|(name, _)| !is_protected(name) && **name != REMOVE);
        let bytes = |value: &http::HeaderValue| Bytes::copy_from_slice(value.as_bytes());
        if status != StatusCode::OK {
            let given = said().filter(|(name, _)| self.given(name));
            let headers = given.map(|(name, value)| HeaderEdit::append(name.as_str(), bytes(value))).collect();
            let status = Some(status.as_u16());
            return Ok(Decision::Deny(Refusal { status, headers, body, ..Refusal::default() }));
        }
        let mut allowance = Allowance::default();
        for name in headers.keys().filter(|name| !is_protected(name) && **name != REMOVE) {
            let mut values = headers.get_all(name).iter();
            if any(&self.upstream, name.as_str()) {
                let first = values.next().map(|value| HeaderEdit::set(name.as_str(), bytes(value)));
                let others = values.map(|value| HeaderEdit::append(name.as_str(), bytes(value)));
                allowance.request.extend(first.into_iter().chain(others));
            }
        }
        for (name, value) in said() {
            if any(&self.upstream_append, name.as_str()) {
                allowance.request.push(HeaderEdit::append(name.as_str(), bytes(value)));
            }
            if any(&self.client_on_success, name.as_str()) {
                allowance.response.push(HeaderEdit::append(name.as_str(), bytes(value)));
            }
            if any(&self.metadata, name.as_str()) {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                allowance.metadata.insert(name.to_string(), Value::String(value));
            }
        }
        let removed = headers.get_all(REMOVE).iter().filter_map(|value| value.to_str().ok());
        let removed = removed.flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty());
        allowance.remove = removed.map(str::to_owned).collect();
        Ok(Decision::Allow(allowance))
    }

    /// Whether the client gets a header of a refusal.
    fn given(&self, name: &HeaderName) -> bool {
        self.client.is_empty() || [WWW_AUTHENTICATE, LOCATION].contains(name) || any(&self.client, name.as_str())
    }
}
