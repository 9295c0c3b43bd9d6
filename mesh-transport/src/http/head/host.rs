use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use mesh_core::listener::StripPort;

use super::Refusal;

/// Brings the target into one form, whatever version brought it: path and query alone, and the authority in `host`. That
/// of CONNECT stays as it is, beside `host`.
pub(super) fn unify(parts: &mut Parts) -> Result<(), Refusal> {
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key(HOST)
    {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::MalformedHost)?;
        parts.headers.insert(HOST, host);
    }
    if parts.method == Method::CONNECT || (parts.uri.authority().is_none() && parts.uri.scheme().is_none()) {
        return Ok(());
    }
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    Ok(())
}

/// Takes the port and a dot at the end from the host.
pub(super) fn strip(parts: &mut Parts, port: StripPort, listener: u16, trailing_dot: bool) {
    if port == StripPort::Never && !trailing_dot {
        return;
    }
    let Some(host) = parts.headers.get(HOST).and_then(|host| host.to_str().ok()) else { return };
    let (name, tail) = split(host);
    let matches = match port {
        StripPort::Never => false,
        StripPort::Matching => tail.strip_prefix(':').is_some_and(|tail| tail.parse() == Ok(listener)),
        StripPort::Any => true,
    };
    // CONNECT goes nowhere without a port.
    let tail = if matches && parts.method != Method::CONNECT { "" } else { tail };
    let name = if trailing_dot { name.strip_suffix('.').unwrap_or(name) } else { name };
    if name.len() + tail.len() == host.len() || name.is_empty() {
        return;
    }
    if let Ok(host) = HeaderValue::from_str(&format!("{name}{tail}")) {
        parts.headers.insert(HOST, host);
    }
}

/// The name, and the port with its colon.
fn split(host: &str) -> (&str, &str) {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => host.split_at(colon),
        _ => (host, ""),
    }
}
