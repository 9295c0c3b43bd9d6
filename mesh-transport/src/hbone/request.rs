use http::{Method, Request};
use mesh_core::resolve::{Destination, ParseDestinationError};

use super::Forwarded;

/// The header by which an inner tunnel says which network its client is in.
pub const NETWORK_HEADER: &str = "x-forwarded-network";

/// The header by which an outer tunnel says what kind of proxy opens it.
pub const SOURCE_HEADER: &str = "x-istio-source";

/// In [`SOURCE_HEADER`]: routes and policies of the service have been applied.
pub const WAYPOINT: &str = "waypoint";

/// What a CONNECT request carries beside its authority.
#[derive(Debug, Clone, Default)]
pub struct ConnectHeaders {
    /// Who is behind the client.
    pub baggage: Option<String>,
    /// Whom the client serves, and which service was addressed.
    pub forwarded: Option<Forwarded>,
    /// Trace context.
    pub traceparent: Option<String>,
    /// The network of the client: on inner tunnels, where addresses of one network mean nothing in another.
    pub network: Option<String>,
    /// What kind of proxy the client is, such as [`WAYPOINT`]: on outer tunnels. A gateway of Istio passes what comes from a
    /// waypoint on to the service's endpoints, and anything else to the service's waypoint.
    pub source: Option<&'static str>,
}

/// A plain CONNECT request (RFC 9113 section 8.5): a method and an authority, no scheme and no path.
///
/// # Errors
/// A header value that HTTP cannot carry.
pub fn connect_request(authority: &Destination, headers: &ConnectHeaders) -> Result<Request<()>, http::Error> {
    let mut request = Request::builder().method(Method::CONNECT).uri(authority.to_string());
    if let Some(baggage) = headers.baggage.as_ref().filter(|baggage| !baggage.is_empty()) {
        request = request.header("baggage", baggage);
    }
    if let Some(forwarded) = &headers.forwarded {
        request = request.header("forwarded", forwarded.to_value());
    }
    if let Some(traceparent) = &headers.traceparent {
        request = request.header("traceparent", traceparent);
    }
    if let Some(network) = &headers.network {
        request = request.header(NETWORK_HEADER, network);
    }
    if let Some(source) = headers.source {
        request = request.header(SOURCE_HEADER, source);
    }
    request.body(())
}

/// Where a request wants to go.
///
/// # Errors
/// [`RequestError`]: it is no CONNECT, or its authority is none.
pub fn destination<B>(request: &Request<B>) -> Result<Destination, RequestError> {
    if request.method() != Method::CONNECT {
        return Err(RequestError::Method(request.method().clone()));
    }
    let authority = request.uri().authority().ok_or(RequestError::NoAuthority)?;
    Ok(authority.as_str().parse()?)
}

/// A request is no CONNECT request for an address or host name with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Another method.
    #[error("method {0}, only CONNECT is served")]
    Method(Method),
    /// No authority.
    #[error("a CONNECT request without authority")]
    NoAuthority,
    /// The authority is malformed.
    #[error("malformed authority")]
    Authority(#[from] ParseDestinationError),
}
