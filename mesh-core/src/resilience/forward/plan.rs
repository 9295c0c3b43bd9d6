//! What the route, the settings and the headers of a request come to.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;

use super::ForwardSettings;
use crate::request::Request;
use crate::resilience::attempts::PerTry;
use crate::resilience::limits::TimeLimits;
use crate::route::{Forward, RetryOn, RetryPolicy, Selected};

/// Headers by which a client may override its route.
const OVERRIDES: [&str; 8] = [
    "x-envoy-max-retries",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-hedge-on-per-try-timeout",
];

/// How a request is sent.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) limits: TimeLimits,
    pub(super) per_try: PerTry,
    pub(super) retry: Retry,
}

/// When a request is tried again.
#[derive(Debug)]
pub(super) enum Retry {
    Never,
    /// As its route says.
    Route,
    /// As its route and its headers say. In a box: few requests have such headers.
    Own(Box<RetryPolicy>),
}

impl Plan {
    /// `trusted` is whether the headers of the request may override the route.
    pub(super) fn new(
        selected: &Selected<'_>,
        forward: &Forward,
        request: &Request<'_>,
        settings: &ForwardSettings,
        trusted: bool,
    ) -> Self {
        let headers = Some(request.headers).filter(|_| trusted);
        let timeouts = forward.timeouts(request);
        let response = match headers.and_then(|headers| millis(headers, "x-envoy-upstream-rq-timeout-ms")) {
            Some(given) => Some(given).filter(|given| !given.is_zero()),
            None => timeouts.response,
        };
        let nonzero = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
        let limits = TimeLimits {
            response,
            stream: timeouts.stream.map_or(settings.stream_timeout, nonzero),
            idle: forward.idle_timeout.map_or(settings.idle_timeout, nonzero),
        };
        let policy = match headers {
            Some(headers) => overridden(selected.retry(), headers),
            None => selected.retry().map(Cow::Borrowed),
        };
        let policy = policy.filter(|policy| policy.is_for(request));
        let mut hedged = selected.hedge().is_some_and(|hedge| hedge.on_per_try_timeout);
        let mut per_try = policy.as_ref().and_then(|policy| policy.per_try_timeout);
        if let Some(headers) = headers {
            per_try = millis(headers, "x-envoy-upstream-rq-per-try-timeout-ms").or(per_try);
            match text(headers, "x-envoy-hedge-on-per-try-timeout") {
                Some("true") => hedged = true,
                Some("false") => hedged = false,
                _ => {}
            }
        }
        let idle = policy.as_ref().and_then(|policy| policy.per_try_idle_timeout).and_then(nonzero);
        // An attempt has no more time than the request.
        let timeout = per_try.and_then(nonzero).filter(|limit| response.is_none_or(|response| *limit < response));
        let per_try = PerTry { timeout, idle, hedged };
        let retry = match policy {
            None => Retry::Never,
            Some(Cow::Borrowed(_)) => Retry::Route,
            Some(Cow::Owned(policy)) => Retry::Own(Box::new(policy)),
        };
        Self { limits, per_try, retry }
    }
}

/// Takes the headers away that are for us alone.
pub(super) fn strip_overrides(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("x-envoy-")) {
        for name in OVERRIDES {
            headers.remove(name);
        }
    }
}

fn overridden<'t>(policy: Option<&'t RetryPolicy>, headers: &HeaderMap) -> Option<Cow<'t, RetryPolicy>> {
    let on = ["x-envoy-retry-on", "x-envoy-retry-grpc-on"].into_iter().filter_map(|name| text(headers, name));
    let on = on.flat_map(|tokens| tokens.split(',')).filter_map(|token| RetryOn::from_token(token.trim()));
    let on = on.reduce(RetryOn::and);
    let retries = text(headers, "x-envoy-max-retries").and_then(|retries| retries.parse().ok());
    let codes = text(headers, "x-envoy-retriable-status-codes");
    let names = text(headers, "x-envoy-retriable-header-names");
    if on.is_none() && retries.is_none() && codes.is_none() && names.is_none() {
        return policy.map(Cow::Borrowed);
    }
    // Numbers and lists alone ask for no retries where there are none.
    if policy.is_none() && on.is_none() {
        return None;
    }
    let mut own = policy.cloned().unwrap_or_default();
    if let Some(on) = on {
        own.on = own.on.and(on);
    }
    if let Some(retries) = retries {
        own.retries = retries;
    }
    if let Some(codes) = codes {
        own.status_codes.extend(codes.split(',').filter_map(|code| code.trim().parse::<u16>().ok()));
    }
    if let Some(names) = names {
        let fields = names.split(',').filter_map(|name| name.trim().parse().ok());
        let present = |name| crate::request::HeaderMatch::new(name, crate::request::Condition::Present(true));
        own.response_headers.extend(fields.map(present));
    }
    Some(Cow::Owned(own))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn millis(headers: &HeaderMap, name: &str) -> Option<Duration> {
    text(headers, name)?.trim().parse().ok().map(Duration::from_millis)
}
