use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Version};

use super::Refusal;

/// Refuses what another server might read differently (RFC 9112 sections 3.2 and 6.3, RFC 9113 section 8), as far as a
/// parsed head still shows it.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    lengths(&parts.headers, parts.version)?;
    if parts.version == Version::HTTP_2 {
        values(&parts.headers)?;
    }
    host(parts)?;
    target(parts)
}

fn lengths(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if version == Version::HTTP_2 {
            return Err(Refusal::MalformedHeader(TRANSFER_ENCODING));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferEncoding);
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Refusal::ContentLength);
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let is_number = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || !is_number {
        return Err(Refusal::ContentLength);
    }
    Ok(())
}

/// RFC 9113 section 8.2.1: no white space around values; 8.2.2: no headers of the connection, and `te` only for trailers.
fn values(headers: &HeaderMap) -> Result<(), Refusal> {
    const CONNECTION_SPECIFIC: [&str; 4] = ["connection", "proxy-connection", "keep-alive", "upgrade"];
    for (name, value) in headers {
        let value = value.as_bytes();
        let is_padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let is_specific = CONNECTION_SPECIFIC.contains(&name.as_str());
        let is_te = *name == TE && !value.eq_ignore_ascii_case(b"trailers");
        if is_padded(value.first()) || is_padded(value.last()) || is_specific || is_te {
            return Err(Refusal::MalformedHeader(HeaderName::clone(name)));
        }
    }
    Ok(())
}

fn host(parts: &Parts) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::SeveralHosts);
    }
    let target = parts.uri.authority();
    let named = match (host, target) {
        (None, None) if parts.version == Version::HTTP_10 => return Ok(()),
        (None, None) => return Err(Refusal::MissingHost),
        (None, Some(target)) => target.as_str(),
        (Some(host), target) => {
            let host = host.to_str().map_err(|_| Refusal::MalformedHost)?;
            if target.is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
                return Err(Refusal::HostMismatch);
            }
            host
        }
    };
    if is_authority(named) { Ok(()) } else { Err(Refusal::MalformedHost) }
}

/// Whether a text is a host with or without a port, and nothing else.
fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&byte);
    let host = authority.host();
    let port = text.strip_prefix(host).unwrap_or_default();
    let is_port = port.is_empty() || (port.starts_with(':') && port.len() > 1 && authority.port_u16().is_some());
    !host.is_empty() && text.bytes().all(is_host_byte) && is_port
}

fn target(parts: &Parts) -> Result<(), Refusal> {
    let uri = &parts.uri;
    let is_extended = parts.extensions.get::<h2::ext::Protocol>().is_some();
    let is_sound = if parts.method == Method::CONNECT && !is_extended {
        // The authority, with a port (RFC 9110 section 9.3.6).
        uri.scheme().is_none()
            && uri.path_and_query().is_none_or(|path| path == "/" || path.as_str().is_empty())
            && uri.authority().is_some_and(|authority| authority.port_u16().is_some())
    } else if uri.path() == "*" {
        parts.method == Method::OPTIONS
    } else if uri.scheme().is_none() && uri.authority().is_some() {
        false
    } else {
        uri.path().starts_with('/') && uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"))
    };
    if is_sound { Ok(()) } else { Err(Refusal::MalformedTarget) }
}
