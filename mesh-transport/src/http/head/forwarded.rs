use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::listener::ForwardedFor;

use super::Downstream;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Who sent a request, as far as it is believed. Stands in the extensions of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requester {
    /// Its address: that of the connection, or what a proxy before us that is believed says.
    pub address: IpAddr,
    /// Whether it is of our own network, so that it may say how its requests are to be treated (`x-envoy-*`).
    pub is_internal: bool,
}

/// Determines the client, and tells of it, as Envoy does.
pub(super) fn apply(
    headers: &mut HeaderMap,
    rule: &ForwardedFor,
    downstream: &Downstream,
    host: Option<&HeaderValue>,
) -> Requester {
    let hops = rule.trusted_hops as usize;
    let from_right = if rule.use_remote_address { hops.checked_sub(1) } else { Some(hops) };
    let said = from_right.and_then(|nth| nth_from_right(headers, nth));
    let is_single = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .nth(1)
        .is_none();
    let address = said.unwrap_or(downstream.peer);
    let is_internal =
        if rule.use_remote_address { is_private(address) } else { is_single && said.is_some_and(is_private) };

    let believes = !rule.use_remote_address || hops > 0;
    if !believes {
        for name in [FORWARDED_PROTO, FORWARDED_HOST, FORWARDED] {
            headers.remove(name);
        }
    }
    if rule.use_remote_address && !rule.skip_append {
        append(headers, FORWARDED_FOR, &downstream.peer.to_string());
        if headers.contains_key(FORWARDED) {
            append(headers, FORWARDED, &element(downstream, host));
        }
    }
    headers.entry(FORWARDED_PROTO).or_insert_with(|| HeaderValue::from_static(downstream.scheme()));
    Requester { address, is_internal }
}

/// One hop in the form of RFC 7239 section 4.
fn element(downstream: &Downstream, host: Option<&HeaderValue>) -> String {
    let mut element = match downstream.peer {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        element.push_str(&format!(";host=\"{host}\""));
    }
    element.push_str(";proto=");
    element.push_str(downstream.scheme());
    element
}

/// The address that is the `nth` from the right, counted from 0.
fn nth_from_right(headers: &HeaderMap, nth: usize) -> Option<IpAddr> {
    let values = headers.get_all(FORWARDED_FOR).iter();
    let mut addresses: Vec<&str> = Vec::new();
    for value in values {
        addresses.extend(value.to_str().ok()?.split(','));
    }
    let address = addresses.iter().rev().nth(nth)?.trim();
    let bare = address.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(address);
    bare.parse().or_else(|_| address.parse::<std::net::SocketAddr>().map(|address| address.ip())).ok()
}

/// One header, whose values are separated by commas.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let mut joined = Vec::new();
    for before in headers.get_all(&name) {
        joined.extend_from_slice(before.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(value.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(name, value);
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}
