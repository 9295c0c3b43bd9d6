use std::time::Duration;

use http::Method;
use mesh_core::gateway::virtual_service::{
    Cors, Destination, Redirect, RedirectPort, Retries, Rewrite, RouteAction, TextMatch, UriRewrite,
};
use mesh_core::name::Text;
use mesh_core::route::{
    DirectResponse, Fault, FaultAbort, FaultDelay, FaultLength, FaultStatus, Fraction, RedirectStatus, RetryOn,
};
use mesh_core::string_match::Substitution;

use super::value::{headers, percentage, text_match};
use super::{Resolve, source};
use crate::finding::Faults;

/// The codes of gRPC, in the order of their numbers.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn destination(
    to: &source::WeightedDestination,
    resolve: &mut Resolve<'_>,
    faults: &mut Faults<'_>,
) -> Destination {
    let source::WeightedDestination { destination, weight, headers: edits } = to;
    if destination.host.is_empty() {
        faults.error("destination.host", "is missing");
    }
    Destination {
        backend: resolve(destination),
        weight: weight.unwrap_or(0),
        headers: faults
            .within("headers", |faults| edits.as_ref().map(|edits| headers(edits, faults)).unwrap_or_default()),
    }
}

pub(super) fn redirect(redirect: &source::Redirect, faults: &mut Faults<'_>) -> RouteAction {
    let source::Redirect { uri, authority, scheme, port, derive_port, redirect_code } = redirect;
    faults.one_of("scheme", scheme.as_deref(), &["http", "https"]);
    faults.one_of("derivePort", derive_port.as_deref(), &["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]);
    if port.is_some() && derive_port.is_some() {
        faults.error("derivePort", "there is `port` too");
    }
    let text = |text: &Option<String>| text.as_deref().map(Text::from);
    RouteAction::Redirect(Redirect {
        uri: text(uri),
        authority: text(authority),
        scheme: text(scheme),
        port: match (port, derive_port.as_deref()) {
            (Some(port), _) => RedirectPort::Given(*port),
            (None, Some("FROM_REQUEST_PORT")) => RedirectPort::OfEntry,
            (None, _) => RedirectPort::Kept,
        },
        status: match redirect_code {
            None | Some(301) => RedirectStatus::MovedPermanently,
            Some(302) => RedirectStatus::Found,
            Some(303) => RedirectStatus::SeeOther,
            Some(307) => RedirectStatus::TemporaryRedirect,
            Some(308) => RedirectStatus::PermanentRedirect,
            Some(other) => {
                faults.error("redirectCode", format_args!("{other} is none of 301, 302, 303, 307, 308"));
                RedirectStatus::default()
            }
        },
    })
}

pub(super) fn answer(answer: &source::DirectResponse, faults: &mut Faults<'_>) -> RouteAction {
    let source::DirectResponse { status, body } = answer;
    if !(200..600).contains(status) {
        faults.error("status", format_args!("{status} is none of 200 to 599"));
    }
    let source::Body { string, bytes } = body.clone().unwrap_or_default();
    if bytes.is_some() {
        faults.error("body.bytes", "is not supported; write a `string`");
    }
    RouteAction::Respond(DirectResponse { status: *status, body: string.unwrap_or_default().into_bytes() })
}

pub(super) fn rewrite(rewrite: &source::Rewrite, faults: &mut Faults<'_>) -> Rewrite {
    let source::Rewrite { uri, authority, uri_regex_rewrite } = rewrite;
    if uri.is_some() && uri_regex_rewrite.is_some() {
        faults.error("uriRegexRewrite", "there is `uri` too");
    }
    let substitution = uri_regex_rewrite.as_ref().and_then(|source::RegexRewrite { r#match, rewrite }| {
        match Substitution::new(r#match, rewrite) {
            Ok(substitution) => Some(UriRewrite::Regex(substitution)),
            Err(error) => {
                faults.error("uriRegexRewrite", error);
                None
            }
        }
    });
    Rewrite {
        uri: substitution.or_else(|| uri.as_deref().map(|uri| UriRewrite::Prefix(uri.into()))),
        authority: authority.as_deref().map(Text::from),
    }
}

pub(super) fn retries(retries: &source::Retries, faults: &mut Faults<'_>) -> Retries {
    let source::Retries {
        attempts,
        per_try_timeout,
        per_try_idle_timeout,
        retry_on,
        retry_remote_localities,
        retry_ignore_previous_hosts,
        backoff,
    } = retries;
    for token in retry_on.iter().flat_map(|on| on.split(',')).map(str::trim).filter(|token| !token.is_empty()) {
        let is_status = token.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !is_status && RetryOn::from_token(token).is_none() {
            faults.error("retryOn", format_args!("`{token}` is neither a status nor a condition of Envoy"));
        }
    }
    Retries {
        attempts: *attempts,
        per_try_timeout: faults.duration("perTryTimeout", per_try_timeout.as_deref()),
        per_try_idle_timeout: faults.duration("perTryIdleTimeout", per_try_idle_timeout.as_deref()),
        on: retry_on.as_deref().map(Text::from),
        remote_localities: *retry_remote_localities,
        same_hosts: *retry_ignore_previous_hosts == Some(false),
        back_off: faults.duration("backoff", backoff.as_deref()).filter(|base| !base.is_zero()),
    }
}

pub(super) fn fault(fault: &source::Fault, faults: &mut Faults<'_>) -> Fault {
    let source::Fault { delay, abort } = fault;
    let delay = delay.as_ref().and_then(|delay| faults.within("delay", |faults| fault_delay(delay, faults)));
    let abort = abort.as_ref().and_then(|abort| faults.within("abort", |faults| fault_abort(abort, faults)));
    Fault { delay, abort, ..Fault::default() }
}

fn fault_delay(delay: &source::Delay, faults: &mut Faults<'_>) -> Option<FaultDelay> {
    let source::Delay { fixed_delay, percentage: share, percent } = delay;
    let length = faults.duration("fixedDelay", fixed_delay.as_deref());
    if fixed_delay.is_none() || length == Some(Duration::ZERO) {
        faults.error("fixedDelay", "must be above 0");
    }
    let share = share.or_else(|| percent.map(|percent| source::Percentage { value: f64::from(percent) }));
    Some(FaultDelay { length: FaultLength::Fixed(length?), fraction: affected(share, faults) })
}

fn fault_abort(abort: &source::Abort, faults: &mut Faults<'_>) -> Option<FaultAbort> {
    let source::Abort { http_status, grpc_status, percentage: share } = abort;
    let status = match (http_status, grpc_status) {
        (Some(status), None) => {
            if !(200..600).contains(status) {
                faults.error("httpStatus", format_args!("{status} is none of 200 to 599"));
            }
            Some(FaultStatus::Http(*status))
        }
        (None, Some(name)) => {
            let by_name = GRPC_CODES.iter().position(|code| code == name).and_then(|at| u32::try_from(at).ok());
            let code = by_name.or_else(|| name.parse().ok().filter(|code| *code < 17));
            if code.is_none() {
                faults.error("grpcStatus", format_args!("`{name}` is no status of gRPC"));
            }
            code.map(FaultStatus::Grpc)
        }
        _ => {
            faults.error("httpStatus", "one of `httpStatus` and `grpcStatus` is needed");
            None
        }
    };
    Some(FaultAbort { status: status?, fraction: affected(*share, faults), body: Text::default() })
}

/// Which part suffers; none where nobody says.
fn affected(share: Option<source::Percentage>, faults: &mut Faults<'_>) -> Fraction {
    if share.is_none() {
        faults.warning("percentage", "there is none; no request is affected");
    }
    percentage("percentage", share.unwrap_or_default(), faults)
}

pub(super) fn cors(cors: &source::Cors, faults: &mut Faults<'_>) -> Cors {
    let source::Cors {
        allow_origin,
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        unmatched_preflights,
    } = cors;
    faults.one_of("unmatchedPreflights", unmatched_preflights.as_deref(), &["UNSPECIFIED", "FORWARD", "IGNORE"]);
    let mut origins: Vec<TextMatch> = Vec::new();
    for (index, origin) in allow_origins.iter().enumerate() {
        let field = format!("allowOrigins[{index}]");
        match text_match(&field, origin, faults) {
            Some(origin) => origins.push(origin),
            None => faults.error(field, "one of `exact`, `prefix` and `regex` is needed"),
        }
    }
    if origins.is_empty() {
        origins.extend(allow_origin.iter().map(|origin| TextMatch::Exact(origin.as_str().into())));
    }
    let mut methods = Vec::new();
    for name in allow_methods {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) => methods.push(method),
            Err(_) => faults.error("allowMethods", format_args!("`{name}` is no method")),
        }
    }
    let texts = |list: &[String]| list.iter().map(|text| Text::from(text.as_str())).collect();
    Cors {
        origins,
        methods,
        headers: texts(allow_headers),
        expose: texts(expose_headers),
        max_age: faults.duration("maxAge", max_age.as_deref()),
        credentials: allow_credentials.unwrap_or(false),
        ignore_unmatched_preflights: unmatched_preflights.as_deref() == Some("IGNORE"),
    }
}
