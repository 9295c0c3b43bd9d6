//! A check as `envoy.service.auth.v3.AttributeContext`.

use std::collections::HashMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use http::Version;
use mesh_core::companion::ext_authz::{self, Check, CheckedBody};
use mesh_core::name::Text;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::envoy::wire_address;
use crate::pb::{structure, timestamp};

/// Lines of a certificate in PEM, in characters (RFC 7468, 2).
const PEM_LINE: usize = 64;

/// What is not encoded in a certificate that stands in a URL: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A header that says of which service the client is.
const CLIENT_SERVICE: &str = "x-envoy-downstream-service-cluster";

pub(super) fn request(check: Check, now: SystemTime) -> CheckRequest {
    let service = check.header(CLIENT_SERVICE).map(text).unwrap_or_default();
    let Check {
        source,
        destination,
        method,
        scheme,
        authority,
        path,
        version,
        headers,
        raw_headers,
        id,
        size,
        body,
        context,
        metadata,
        server_name,
    } = check;
    let (body, raw_body) = match body {
        None => (String::new(), Vec::new()),
        Some(CheckedBody { bytes, as_bytes: true, partial: _ }) => (String::new(), bytes.into()),
        Some(CheckedBody { bytes, as_bytes: false, partial: _ }) => (text(&bytes), Vec::new()),
    };
    let (headers, header_map) = match raw_headers {
        true => (HashMap::new(), Some(one_by_one(headers))),
        false => (joined(&headers), None),
    };
    let http = HttpRequest {
        id,
        method: method.to_string(),
        headers,
        header_map,
        path,
        host: authority,
        scheme: scheme.to_owned(),
        // Always empty: both stand in the path.
        query: String::new(),
        fragment: String::new(),
        size: size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        protocol: protocol(version).to_owned(),
        body,
        raw_body,
    };
    let told = metadata.iter().map(|(filter, values)| (filter.to_string(), structure(values.clone())));
    let attributes = AttributeContext {
        source: Some(peer(source, service)),
        destination: Some(peer(destination, String::new())),
        request: Some(Request { time: timestamp(now), http: Some(http) }),
        context_extensions: context.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        metadata_context: Some(Metadata { filter_metadata: told.collect(), ..Metadata::default() }),
        route_metadata_context: None,
        tls_session: server_name.map(|name| TlsSession { sni: name.to_string() }),
    };
    CheckRequest { attributes: Some(attributes) }
}

fn peer(peer: ext_authz::Peer, service: String) -> Peer {
    let ext_authz::Peer { address, principal, certificate } = peer;
    Peer {
        address: Some(wire_address(address)),
        service,
        principal: principal.to_string(),
        certificate: certificate.map(|der| pem_in_url(&der)).unwrap_or_default(),
        ..Peer::default()
    }
}

fn pem_in_url(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: any place is between two characters.
        let (line, after) = rest.split_at(PEM_LINE.min(rest.len()));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    utf8_percent_encode(&pem, ENCODED).to_string()
}

/// Headers by name, several values of one name in one text.
fn joined(headers: &[(Text, Bytes)]) -> HashMap<String, String> {
    let mut joined = HashMap::with_capacity(headers.len());
    for (name, value) in headers {
        let value = text(value);
        let separator = if *name == "cookie" { "; " } else { "," };
        joined
            .entry(name.to_string())
            .and_modify(|known: &mut String| {
                known.push_str(separator);
                known.push_str(&value);
            })
            .or_insert(value);
    }
    joined
}

fn one_by_one(headers: Vec<(Text, Bytes)>) -> HeaderMap {
    let one = |(name, value): (Text, Bytes)| HeaderValue {
        key: name.to_string(),
        value: String::new(),
        raw_value: value.into(),
    };
    HeaderMap { headers: headers.into_iter().map(one).collect() }
}

/// Bytes as text; what is none is seen as `!`, as Envoy has it.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).replace(char::REPLACEMENT_CHARACTER, "!"),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
