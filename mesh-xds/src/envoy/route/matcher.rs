//! | field | how it is taken |
//! | --- | --- |
//! | **RouteMatch** `prefix`, `path`, `safe_regex`, `path_separated_prefix`, `connect_matcher`, `case_sensitive` | honoured |
//! | `headers`, `query_parameters`, `cookies`, `grpc` | honoured |
//! | `runtime_fraction` | honoured; its `runtime_key` gives a warning: there is no runtime that could hold it |
//! | `filter_state` | honoured for `io.istio.peer_principal` and a `string_match`, else NACK |
//! | no path at all, `path_match_policy`, `tls_context`, `dynamic_metadata` | NACK |
//! | **QueryParameterMatcher** all of it | honoured; nothing asked is presence |
//! | **CookieMatcher** all of it | honoured |

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
use envoy_types::pb::envoy::config::route::v3::route_match::{ConnectMatcher, GrpcRouteMatchOptions, PathSpecifier};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use mesh_core::route::{CookieMatch, Denominator, Fraction, PathMatch, QueryCondition, QueryMatch, RouteMatch};

use crate::envoy::error::{Error, Report};
use crate::envoy::filter_state::{peer_principal, wire_peer_principal};
use crate::envoy::header_matcher::{header_match, wire_header_match};
use crate::envoy::string_matcher::{pattern, regex, wire_pattern, wire_regex};
use crate::envoy::wire::boolean;

pub(in crate::envoy) fn route_match(report: &mut Report, wire: &wire::RouteMatch) -> Result<RouteMatch, Error> {
    let wire::RouteMatch {
        case_sensitive,
        runtime_fraction,
        headers,
        query_parameters,
        cookies,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = wire;
    report.refused("tls_context", tls_context)?;
    report.refused("dynamic_metadata", dynamic_metadata)?;
    let ignore_case = case_sensitive.is_some_and(|sensitive| !sensitive.value);
    Ok(RouteMatch {
        path: path(report, path_specifier.as_ref(), ignore_case)?,
        headers: report.each("headers", headers, header_match)?,
        query: report.each("query_parameters", query_parameters, query_match)?,
        cookies: report.each("cookies", cookies, cookie_match)?,
        peer: report.each("filter_state", filter_state, peer_principal)?,
        grpc: matches!(grpc, Some(GrpcRouteMatchOptions {})),
        fraction: report.optional("runtime_fraction", runtime_fraction.as_ref(), fraction)?,
    })
}

fn path(report: &mut Report, specifier: Option<&PathSpecifier>, ignore_case: bool) -> Result<PathMatch, Error> {
    match report.required("path_specifier", specifier)? {
        PathSpecifier::Prefix(prefix) => Ok(PathMatch::Prefix { prefix: prefix.as_str().into(), ignore_case }),
        PathSpecifier::Path(path) => Ok(PathMatch::Exact { path: path.as_str().into(), ignore_case }),
        PathSpecifier::PathSeparatedPrefix(prefix) => {
            if prefix.len() < 2 || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                let reason = "must be a path without query, and not end in a slash";
                return Err(report.invalid("path_separated_prefix", reason));
            }
            Ok(PathMatch::Separated { prefix: prefix.as_str().into(), ignore_case })
        }
        PathSpecifier::SafeRegex(matcher) => {
            report.within("safe_regex", |report| regex(report, matcher)).map(PathMatch::Regex)
        }
        PathSpecifier::ConnectMatcher(ConnectMatcher {}) => Ok(PathMatch::Connect),
        PathSpecifier::PathMatchPolicy(_) => Err(Error::Unsupported { field: report.at("path_match_policy") }),
    }
}

pub(super) fn query_match(report: &mut Report, wire: &wire::QueryParameterMatcher) -> Result<QueryMatch, Error> {
    let wire::QueryParameterMatcher { name, query_parameter_match_specifier } = wire;
    let condition = match query_parameter_match_specifier {
        None => QueryCondition::Present(true),
        Some(Specifier::PresentMatch(present)) => QueryCondition::Present(*present),
        Some(Specifier::StringMatch(matcher)) => {
            QueryCondition::Text(report.within("string_match", |report| pattern(report, matcher))?)
        }
    };
    Ok(QueryMatch { name: report.named("name", name)?, condition })
}

fn cookie_match(report: &mut Report, wire: &wire::CookieMatcher) -> Result<CookieMatch, Error> {
    let wire::CookieMatcher { name, string_match, invert_match } = wire;
    let matcher = report.required("string_match", string_match.as_ref())?;
    let pattern = report.within("string_match", |report| pattern(report, matcher))?;
    Ok(CookieMatch { name: report.named("name", name)?, pattern, invert: *invert_match })
}

pub(in crate::envoy) fn fraction(report: &mut Report, wire: &RuntimeFractionalPercent) -> Result<Fraction, Error> {
    let RuntimeFractionalPercent { default_value, runtime_key } = wire;
    report.ignored("runtime_key", runtime_key);
    fractional_percent(report, "default_value", report.required("default_value", default_value.as_ref())?)
}

pub(super) fn fractional_percent(report: &Report, field: &str, wire: &FractionalPercent) -> Result<Fraction, Error> {
    let FractionalPercent { numerator, denominator } = wire;
    let denominator = match DenominatorType::try_from(*denominator) {
        Ok(DenominatorType::Hundred) => Denominator::Hundred,
        Ok(DenominatorType::TenThousand) => Denominator::TenThousand,
        Ok(DenominatorType::Million) => Denominator::Million,
        Err(_) => {
            return Err(report.invalid(&format!("{field}.denominator"), format_args!("{denominator} is not known")));
        }
    };
    Ok(Fraction { numerator: *numerator, denominator })
}

pub(in crate::envoy) fn wire_route_match(matcher: &RouteMatch) -> wire::RouteMatch {
    let RouteMatch { path, headers, query, cookies, peer, grpc, fraction } = matcher;
    let (path, ignore_case) = match path {
        PathMatch::Exact { path, ignore_case } => (PathSpecifier::Path(path.to_string()), *ignore_case),
        PathMatch::Prefix { prefix, ignore_case } => (PathSpecifier::Prefix(prefix.to_string()), *ignore_case),
        PathMatch::Separated { prefix, ignore_case } => {
            (PathSpecifier::PathSeparatedPrefix(prefix.to_string()), *ignore_case)
        }
        PathMatch::Regex(regex) => (PathSpecifier::SafeRegex(wire_regex(regex.as_str())), false),
        PathMatch::Connect => (PathSpecifier::ConnectMatcher(ConnectMatcher {}), false),
    };
    wire::RouteMatch {
        case_sensitive: ignore_case.then(|| boolean(false)),
        runtime_fraction: fraction.map(wire_fraction),
        headers: headers.iter().map(wire_header_match).collect(),
        query_parameters: query.iter().map(wire_query_match).collect(),
        cookies: cookies.iter().map(wire_cookie_match).collect(),
        grpc: grpc.then_some(GrpcRouteMatchOptions {}),
        filter_state: peer.iter().map(wire_peer_principal).collect(),
        path_specifier: Some(path),
        ..wire::RouteMatch::default()
    }
}

pub(super) fn wire_query_match(matcher: &QueryMatch) -> wire::QueryParameterMatcher {
    let QueryMatch { name, condition } = matcher;
    let specifier = match condition {
        QueryCondition::Present(present) => Specifier::PresentMatch(*present),
        QueryCondition::Text(pattern) => Specifier::StringMatch(wire_pattern(pattern)),
    };
    wire::QueryParameterMatcher { name: name.to_string(), query_parameter_match_specifier: Some(specifier) }
}

fn wire_cookie_match(matcher: &CookieMatch) -> wire::CookieMatcher {
    let CookieMatch { name, pattern, invert } = matcher;
    wire::CookieMatcher { name: name.to_string(), string_match: Some(wire_pattern(pattern)), invert_match: *invert }
}

pub(in crate::envoy) fn wire_fraction(fraction: Fraction) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(wire_fractional_percent(fraction)), runtime_key: String::new() }
}

pub(in crate::envoy) fn wire_fractional_percent(fraction: Fraction) -> FractionalPercent {
    let denominator = match fraction.denominator {
        Denominator::Hundred => DenominatorType::Hundred,
        Denominator::TenThousand => DenominatorType::TenThousand,
        Denominator::Million => DenominatorType::Million,
    };
    FractionalPercent { numerator: fraction.numerator, denominator: denominator.into() }
}
