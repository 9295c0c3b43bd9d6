//! What becomes of the head of a request on its way.

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, request};

use super::EnvoyHeaders;
use super::plan::strip_overrides;
use crate::filter::Exchange;
use crate::request::{Head, Request};
use crate::resilience::deadline;
use crate::route::{HostRewrite, Selected};

pub(super) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the route makes of the path cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidTarget;

/// Edits a head as its route says, once for all attempts.
pub(super) fn prepare(
    head: &mut request::Parts,
    exchange: &Exchange,
    selected: &Selected<'_>,
    envoy: EnvoyHeaders,
) -> Result<(), InvalidTarget> {
    if head.extensions.get::<Arc<crate::filter::Connection>>().is_none() {
        head.extensions.insert(Arc::clone(&exchange.connection));
    }
    strip_overrides(&mut head.headers);
    // The head as it came, beside the headers that are edited; all of this is shared, not copied.
    let (method, uri, host) = (head.method.clone(), head.uri.clone(), head.headers.get(HOST).cloned());
    let came = Head {
        method: &method,
        scheme: exchange.scheme,
        authority: authority_of(&uri, host.as_ref()),
        target: uri.path_and_query().map_or("", PathAndQuery::as_str),
        source: Some(exchange.remote),
        peer: exchange.connection.peer_uri(),
    };
    selected.edit_request(&came, &mut head.headers);
    let request = Request { head: came, headers: &head.headers };
    let target = selected.target(&request);
    let authority = selected.authority(&request, None).map(std::borrow::Cow::into_owned);
    if let Some(target) = target {
        let rewritten = target.parse().map_err(|_| InvalidTarget)?;
        let original = HeaderValue::from_str(came.target);
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(rewritten);
        head.uri = Uri::from_parts(parts).map_err(|_| InvalidTarget)?;
        if let (EnvoyHeaders::Send, Ok(original)) = (envoy, original) {
            head.headers.insert(ORIGINAL_PATH, original);
        }
    }
    if let Some(authority) = authority {
        set_authority(head, &authority, keeps_host(selected));
    }
    Ok(())
}

/// Whether the authority depends on the endpoint.
pub(super) fn is_for_endpoint(selected: &Selected<'_>) -> bool {
    let own = selected.weighted.is_some_and(|weighted| weighted.host.is_some());
    !own && selected.forward().is_some_and(|forward| forward.host == Some(HostRewrite::Upstream))
}

pub(super) fn keeps_host(selected: &Selected<'_>) -> bool {
    selected.forward().is_some_and(|forward| forward.append_forwarded_host)
}

/// Rewrites the authority. One that cannot stand in a request changes nothing.
pub(super) fn set_authority(head: &mut request::Parts, authority: &str, keep: bool) {
    let (Ok(parsed), Ok(value)) = (authority.parse::<Authority>(), HeaderValue::from_str(authority)) else { return };
    if keep {
        let before = HeaderValue::from_str(self::authority(head));
        if let Ok(before) = before {
            append_forwarded(&mut head.headers, &before);
        }
    }
    if head.uri.authority().is_some() {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(parsed);
        head.uri = Uri::from_parts(parts).unwrap_or_default();
        if !head.headers.contains_key(HOST) {
            return;
        }
    }
    head.headers.insert(HOST, value);
}

fn append_forwarded(headers: &mut HeaderMap, host: &HeaderValue) {
    let Some(known) = headers.get(&FORWARDED_HOST) else {
        headers.insert(FORWARDED_HOST, host.clone());
        return;
    };
    let list = [known.as_bytes(), b",", host.as_bytes()].concat();
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(FORWARDED_HOST, list);
    }
}

/// The authority of a request: that of its target, or else its `host` header.
pub(super) fn authority(head: &request::Parts) -> &str {
    authority_of(&head.uri, head.headers.get(HOST))
}

fn authority_of<'a>(uri: &'a Uri, host: Option<&'a HeaderValue>) -> &'a str {
    let host = || host.and_then(|host| host.to_str().ok());
    uri.authority().map(Authority::as_str).or_else(host).unwrap_or_default()
}

/// Says how much time an attempt has.
pub(super) fn set_time(headers: &mut HeaderMap, expected: Option<Duration>, elapsed: Duration, envoy: EnvoyHeaders) {
    if let (EnvoyHeaders::Send, Some(expected)) = (envoy, expected) {
        // Zero would be for ever.
        let millis = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX).max(1);
        headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(millis));
    }
    deadline::pass_on(headers, expected, elapsed);
}
