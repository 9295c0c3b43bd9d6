//! What a proxy answers itself, and how logs call the reason.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::Body;
use super::client::SendError;

/// Why an answer is not what the endpoint said: the response flags of Envoy's access log. Stands in the extensions of
/// such a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseFlag {
    /// `UH`: the cluster has no healthy endpoint.
    NoHealthyUpstream,
    /// `UF`: no connection came about.
    UpstreamConnectionFailure,
    /// `UO`: a limit of the cluster was reached.
    UpstreamOverflow,
    /// `UC`: the endpoint's connection broke off.
    UpstreamConnectionTermination,
    /// `UT`: the request timed out.
    UpstreamRequestTimeout,
    /// `UR`: the endpoint reset the stream.
    UpstreamRemoteReset,
    /// `UPE`: the endpoint's answer was malformed.
    UpstreamProtocolError,
    /// `URX`: retries were used up.
    UpstreamRetryLimit,
    /// `LR`: we reset the stream.
    LocalReset,
    /// `LH`: the service failed our health check.
    LocalHealthCheck,
    /// `DC`: the client went away.
    DownstreamConnectionTermination,
    /// `DPE`: the request was malformed.
    DownstreamProtocolError,
    /// `DR`: the client reset the stream.
    DownstreamRemoteReset,
    /// `NR`: no route.
    NoRoute,
    /// `NC`: the cluster of the route does not exist.
    NoCluster,
    /// `RL`: the request was rate limited.
    RateLimited,
    /// `RLSE`: the rate limit service failed.
    RateLimitServiceError,
    /// `UAEX`: an external authorizer refused.
    UnauthorizedExternal,
    /// `DI`: a delay was injected.
    DelayInjected,
    /// `FI`: a fault was injected.
    FaultInjected,
    /// `SI`: nothing moved for too long.
    StreamIdleTimeout,
    /// `DT`: the request took too long.
    DurationTimeout,
    /// `IH`: a header that must be there is not, or is malformed.
    InvalidHeaders,
    /// `OM`: we are overloaded.
    OverloadManager,
}

impl ResponseFlag {
    /// The abbreviation in access logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoHealthyUpstream => "UH",
            Self::UpstreamConnectionFailure => "UF",
            Self::UpstreamOverflow => "UO",
            Self::UpstreamConnectionTermination => "UC",
            Self::UpstreamRequestTimeout => "UT",
            Self::UpstreamRemoteReset => "UR",
            Self::UpstreamProtocolError => "UPE",
            Self::UpstreamRetryLimit => "URX",
            Self::LocalReset => "LR",
            Self::LocalHealthCheck => "LH",
            Self::DownstreamConnectionTermination => "DC",
            Self::DownstreamProtocolError => "DPE",
            Self::DownstreamRemoteReset => "DR",
            Self::NoRoute => "NR",
            Self::NoCluster => "NC",
            Self::RateLimited => "RL",
            Self::RateLimitServiceError => "RLSE",
            Self::UnauthorizedExternal => "UAEX",
            Self::DelayInjected => "DI",
            Self::FaultInjected => "FI",
            Self::StreamIdleTimeout => "SI",
            Self::DurationTimeout => "DT",
            Self::InvalidHeaders => "IH",
            Self::OverloadManager => "OM",
        }
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// Whether a request is a call of gRPC.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let value = value.as_bytes();
    let Some(rest) = value.get(GRPC.len()..) else { return false };
    value[..GRPC.len()].eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The status of gRPC that stands for one of HTTP, as gRPC's `http-grpc-status-mapping.md` says.
#[must_use]
pub const fn grpc_status(status: StatusCode) -> u8 {
    match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// An answer of our own. A call of gRPC gets it as its status, in the headers (trailers-only), with HTTP's 200.
#[must_use]
pub fn local_reply(status: StatusCode, flag: ResponseFlag, message: &str, is_grpc: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(flag);
    if is_grpc {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(GRPC_STATUS, u16::from(grpc_status(status)).into());
        if let Some(message) = grpc_message(message) {
            headers.insert(GRPC_MESSAGE, message);
        }
        return response;
    }
    *response.status_mut() = status;
    if !message.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        *response.body_mut() = Bytes::copy_from_slice(message.as_bytes()).into();
    }
    response
}

/// The answer when the endpoint gave none, as Envoy words it.
#[must_use]
pub fn failure_reply(error: &SendError, is_grpc: bool) -> Response<Body> {
    let (status, flag) = (error.status(), error.flag());
    let message = match error {
        SendError::Overflow(_) => "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        SendError::Connect(_) => {
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure"
        }
        SendError::ConnectTimeout => {
            "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
        }
        SendError::Protocol(_) => {
            "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
        }
        SendError::Refused(_) | SendError::Reset { .. } => {
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        }
        SendError::Request(_) => "the request broke off",
    };
    let mut response = local_reply(status, flag, message, is_grpc);
    if matches!(error, SendError::Overflow(_)) {
        response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    response
}

/// Percent-encoded, as gRPC over HTTP/2 wants it; `None` for nothing.
fn grpc_message(message: &str) -> Option<HeaderValue> {
    use std::fmt::Write as _;
    if message.is_empty() {
        return None;
    }
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    HeaderValue::from_str(&encoded).ok()
}
