use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::Flag;
use crate::name::Text;

/// A response that a filter gives instead of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// gRPC's status for a call of gRPC, if it is not what the HTTP status maps to.
    pub grpc_status: Option<u32>,
    /// Why, as a flag of the access log.
    pub flag: Option<Flag>,
    /// Why, in a word, such as `rbac_access_denied`.
    pub details: Text,
}

impl Answer {
    /// An answer with a text.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>, details: impl Into<Text>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
            grpc_status: None,
            flag: None,
            details: details.into(),
        }
    }

    /// The same, with a flag.
    #[must_use]
    pub fn flagged(self, flag: Flag) -> Self {
        Self { flag: Some(flag), ..self }
    }

    /// The same, with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The same, with what a route does to the headers of every response. The answer's own headers come after that, and what
    /// makes it the answer to a call of gRPC last of all: no route can undo it.
    #[must_use]
    pub(crate) fn edited(mut self, edit: impl FnOnce(&mut HeaderMap)) -> Self {
        let own = std::mem::take(&mut self.headers);
        edit(&mut self.headers);
        self.headers.extend(own);
        self
    }

    /// As a response. A call of gRPC is answered as gRPC asks: status 200, and its own status and message among the headers.
    #[must_use]
    pub fn into_response(self, grpc: bool) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.headers_mut() = self.headers;
        if grpc {
            let status = self.grpc_status.unwrap_or_else(|| grpc_status(self.status));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert("grpc-status", HeaderValue::from(status));
            if let Some(message) = grpc_message(&self.body) {
                response.headers_mut().insert("grpc-message", message);
            }
            return response;
        }
        *response.status_mut() = self.status;
        if !self.body.is_empty() {
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().entry(CONTENT_TYPE).or_insert(plain);
        }
        *response.body_mut() = self.body;
        response
    }
}

/// gRPC's status for an HTTP status, as gRPC's document "HTTP to gRPC Status Code Mapping" has it.
fn grpc_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The text of a status, percent-encoded as gRPC over HTTP/2 asks: all but printable ASCII, and the percent sign.
fn grpc_message(body: &[u8]) -> Option<HeaderValue> {
    use std::fmt::Write;
    if body.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(body.len());
    for byte in body {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    HeaderValue::try_from(text).ok()
}
