//! | field | how it is taken |
//! | --- | --- |
//! | **GrpcService** `envoy_grpc` with `cluster_name` and `authority` | honoured |
//! | `initial_metadata` that is text without operators | honoured; other: NACK |
//! | `timeout` | honoured by external authorization, zero is none; the rate limit filter has one of its own: warning |
//! | `retry_policy`, `max_receive_message_length`, `skip_envoy_headers` | warning |
//! | `google_grpc` | NACK |

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{GrpcService as Wire, HeaderValue as WireValue};
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, StringMatcher};
use http::{HeaderName, HeaderValue};
use mesh_core::companion::GrpcService;
use mesh_core::name::Text;
use mesh_core::string_match::Pattern;

use crate::envoy::error::{Error, Report};
use crate::envoy::route::header_value;
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::{optional_duration, span};

/// The service, and the timeout as it is said.
pub(super) fn grpc_service(report: &mut Report, wire: &Wire) -> Result<(GrpcService, Option<Duration>), Error> {
    let Wire { timeout, initial_metadata, retry_policy, target_specifier } = wire;
    report.ignored("retry_policy", retry_policy);
    let said = optional_duration(report, "timeout", timeout.as_ref())?;
    let target = match report.required("target_specifier", target_specifier.as_ref())? {
        TargetSpecifier::EnvoyGrpc(target) => target,
        TargetSpecifier::GoogleGrpc(_) => return Err(Error::Unsupported { field: report.at("google_grpc") }),
    };
    let metadata = report.each("initial_metadata", initial_metadata, fixed)?;
    report.within("envoy_grpc", |report| {
        let EnvoyGrpc { cluster_name, authority, retry_policy, max_receive_message_length, skip_envoy_headers } =
            target;
        report.ignored("retry_policy", retry_policy);
        report.ignored("max_receive_message_length", max_receive_message_length);
        report.ignored("skip_envoy_headers", skip_envoy_headers);
        let cluster = report.named("cluster_name", cluster_name)?;
        Ok((GrpcService { authority: authority.as_str().into(), metadata, ..GrpcService::new(cluster, said) }, said))
    })
}

/// A header whose value is the same for all requests.
fn fixed(report: &mut Report, wire: &WireValue) -> Result<(HeaderName, HeaderValue), Error> {
    let (name, value) = header_value(report, wire)?;
    if value.as_str().contains('%') {
        return Err(Error::Unsupported { field: report.at("value") });
    }
    let value = HeaderValue::try_from(value.as_str()).map_err(|error| report.invalid("value", error))?;
    Ok((name, value))
}

pub(super) fn wire_grpc_service(service: &GrpcService, timeout: Option<Duration>) -> Wire {
    let GrpcService { cluster, authority, timeout: _, metadata } = service;
    let target =
        EnvoyGrpc { cluster_name: cluster.to_string(), authority: authority.to_string(), ..EnvoyGrpc::default() };
    let one = |(name, value): &(HeaderName, HeaderValue)| WireValue {
        key: name.to_string(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        raw_value: Vec::new(),
    };
    Wire {
        timeout: timeout.map(span),
        initial_metadata: metadata.iter().map(one).collect(),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
        ..Wire::default()
    }
}

/// A timeout of which zero means that there is none.
pub(super) fn limit(said: Option<Duration>, default: Duration) -> Option<Duration> {
    Some(said.unwrap_or(default)).filter(|timeout| !timeout.is_zero())
}

pub(super) fn patterns(report: &mut Report, list: &ListStringMatcher) -> Result<Vec<Pattern>, Error> {
    let ListStringMatcher { patterns } = list;
    report.each("patterns", patterns, pattern)
}

/// As [`patterns`], of a list that may be absent, which is the same as an empty one.
pub(super) fn patterns_or_none(
    report: &mut Report,
    field: &str,
    list: Option<&ListStringMatcher>,
) -> Result<Vec<Pattern>, Error> {
    report.optional(field, list, patterns).map(Option::unwrap_or_default)
}

pub(super) fn wire_patterns(patterns: &[Pattern]) -> ListStringMatcher {
    ListStringMatcher { patterns: patterns.iter().map(wire_pattern).collect::<Vec<StringMatcher>>() }
}

/// As [`wire_patterns`]; an empty list is left out.
pub(super) fn wire_some_patterns(patterns: &[Pattern]) -> Option<ListStringMatcher> {
    (!patterns.is_empty()).then(|| wire_patterns(patterns))
}

pub(super) fn texts(list: &[String]) -> Vec<Text> {
    list.iter().map(|text| text.as_str().into()).collect()
}
