//! | field | how it is taken |
//! | --- | --- |
//! | **RateLimit** `domain`, `rate_limit_service` | honoured; without either: NACK |
//! | `stage` up to 10, `request_type`, `timeout`, 20 ms where it is not said, zero is none | honoured |
//! | `failure_mode_deny`, `failure_mode_deny_percent`, `status_on_error`, `filter_enabled`, `filter_enforced` | honoured; a `runtime_key` gives a warning |
//! | `rate_limited_as_resource_exhausted`, `disable_x_envoy_ratelimited_header`, `enable_x_ratelimit_headers`, `enable_retry_after_header` | honoured |
//! | `rate_limited_status` | honoured; below 400 it is 429 |
//! | `response_headers_to_add`, `rate_limits`, `metadata_namespace` | honoured |
//! | `stat_prefix` | warning |
//! | **RateLimitPerRoute** `vh_rate_limits`, `rate_limits`, `domain` | honoured |
//! | `override_option` | warning: Envoy does not know it either |

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{ApiVersion, HeaderValueOption};
use envoy_types::pb::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3::rate_limit::XRateLimitHeadersRfcVersion as Headers;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3::rate_limit_per_route::VhRateLimitsOptions;
use mesh_core::companion::GrpcService;
use mesh_core::companion::rate_limit::{GlobalRateLimit, RequestKind};
use mesh_core::name::Text;
use mesh_core::route::{HostLimits, Mutation, RateLimit, RateLimitOverride};

use super::service::{grpc_service, limit, wire_grpc_service};
use crate::envoy::config_source::v3;
use crate::envoy::error::{Error, Report};
use crate::envoy::route::{
    MAX_STAGE, Place, addition, fraction, rate_limit, wire_addition, wire_fraction, wire_rate_limit,
};
use crate::envoy::wire::{optional_duration, refusal_status, span, status, wire_status};

/// Timeout where nothing is said.
const TIMEOUT: Duration = Duration::from_millis(20);

pub(in crate::envoy) fn global_rate_limit(
    report: &mut Report,
    wire: &wire::RateLimit,
) -> Result<GlobalRateLimit, Error> {
    let wire::RateLimit {
        domain,
        stage,
        request_type,
        timeout,
        failure_mode_deny,
        rate_limited_as_resource_exhausted,
        rate_limit_service,
        enable_x_ratelimit_headers,
        disable_x_envoy_ratelimited_header,
        rate_limited_status,
        response_headers_to_add,
        status_on_error,
        stat_prefix,
        filter_enabled,
        filter_enforced,
        failure_mode_deny_percent,
        rate_limits,
        metadata_namespace,
        enable_retry_after_header,
    } = wire;
    report.ignored("stat_prefix", stat_prefix);
    if *stage > MAX_STAGE {
        return Err(report.invalid("stage", format_args!("{stage} is more than {MAX_STAGE}")));
    }
    let requests = match request_type.as_str() {
        "" | "both" => RequestKind::Both,
        "internal" => RequestKind::Internal,
        "external" => RequestKind::External,
        other => return Err(report.invalid("request_type", format_args!("`{other}` is not known"))),
    };
    let headers = match Headers::try_from(*enable_x_ratelimit_headers) {
        Ok(Headers::Off) => false,
        Ok(Headers::DraftVersion03) => true,
        Err(_) => {
            let reason = format_args!("{enable_x_ratelimit_headers} is not known");
            return Err(report.invalid("enable_x_ratelimit_headers", reason));
        }
    };
    let service = report.required("rate_limit_service", rate_limit_service.as_ref())?;
    let mut service = report.within("rate_limit_service", |report| rate_limit_service_of(report, service))?;
    service.timeout = limit(optional_duration(report, "timeout", timeout.as_ref())?, TIMEOUT);
    let mut settings = GlobalRateLimit::new(report.named("domain", domain)?, service);
    if let Some(status) = status(report, "status_on_error", status_on_error.as_ref())? {
        settings.status_on_error = status;
    }
    if let Some(status) = refusal_status(report, "rate_limited_status", rate_limited_status.as_ref())? {
        settings.limited_status = status;
    }
    if !metadata_namespace.is_empty() {
        settings.metadata = metadata_namespace.as_str().into();
    }
    Ok(GlobalRateLimit {
        stage: *stage,
        requests,
        limits: limits(report, rate_limits)?,
        failure_deny: *failure_mode_deny,
        failure_deny_fraction: report.optional(
            "failure_mode_deny_percent",
            failure_mode_deny_percent.as_ref(),
            fraction,
        )?,
        resource_exhausted: *rate_limited_as_resource_exhausted,
        mark: !*disable_x_envoy_ratelimited_header,
        headers,
        retry_after: *enable_retry_after_header,
        response: Mutation {
            remove: Vec::new(),
            add: report.each("response_headers_to_add", response_headers_to_add, addition)?,
        },
        enabled: report.optional("filter_enabled", filter_enabled.as_ref(), fraction)?,
        enforced: report.optional("filter_enforced", filter_enforced.as_ref(), fraction)?,
        ..settings
    })
}

fn rate_limit_service_of(report: &mut Report, wire: &RateLimitServiceConfig) -> Result<GrpcService, Error> {
    let RateLimitServiceConfig { grpc_service: service, transport_api_version } = wire;
    v3(report, "transport_api_version", *transport_api_version)?;
    let service = report.required("grpc_service", service.as_ref())?;
    report.within("grpc_service", |report| {
        let (service, said) = grpc_service(report, service)?;
        report.ignored("timeout", &said);
        Ok(service)
    })
}

fn limits(
    report: &mut Report,
    wire: &[envoy_types::pb::envoy::config::route::v3::RateLimit],
) -> Result<Vec<RateLimit>, Error> {
    report.each("rate_limits", wire, |report, wire| rate_limit(report, wire, Place::Filter))
}

pub(in crate::envoy) fn wire_global_rate_limit(settings: &GlobalRateLimit) -> wire::RateLimit {
    let GlobalRateLimit {
        domain,
        stage,
        requests,
        service,
        limits,
        failure_deny,
        failure_deny_fraction,
        status_on_error,
        limited_status,
        resource_exhausted,
        mark,
        headers,
        retry_after,
        response: Mutation { remove: _, add },
        enabled,
        enforced,
        metadata,
    } = settings;
    let request_type = match requests {
        RequestKind::Internal => "internal",
        RequestKind::External => "external",
        RequestKind::Both => "both",
    };
    let rate_limit_service = RateLimitServiceConfig {
        grpc_service: Some(wire_grpc_service(service, None)),
        transport_api_version: ApiVersion::V3.into(),
    };
    wire::RateLimit {
        domain: domain.to_string(),
        stage: *stage,
        request_type: request_type.to_owned(),
        timeout: Some(span(service.timeout.unwrap_or_default())),
        failure_mode_deny: *failure_deny,
        rate_limited_as_resource_exhausted: *resource_exhausted,
        rate_limit_service: Some(rate_limit_service),
        enable_x_ratelimit_headers: if *headers { Headers::DraftVersion03 } else { Headers::Off }.into(),
        disable_x_envoy_ratelimited_header: !mark,
        rate_limited_status: Some(wire_status(*limited_status)),
        response_headers_to_add: add.iter().map(wire_addition).collect::<Vec<HeaderValueOption>>(),
        status_on_error: Some(wire_status(*status_on_error)),
        filter_enabled: enabled.map(wire_fraction),
        filter_enforced: enforced.map(wire_fraction),
        failure_mode_deny_percent: failure_deny_fraction.map(wire_fraction),
        rate_limits: limits.iter().map(wire_rate_limit).collect(),
        metadata_namespace: metadata.to_string(),
        enable_retry_after_header: *retry_after,
        ..wire::RateLimit::default()
    }
}

pub(in crate::envoy) fn rate_limit_per_route(
    report: &mut Report,
    wire: &wire::RateLimitPerRoute,
) -> Result<RateLimitOverride, Error> {
    let wire::RateLimitPerRoute { vh_rate_limits, override_option, rate_limits, domain } = wire;
    report.ignored("override_option", override_option);
    let host = match VhRateLimitsOptions::try_from(*vh_rate_limits) {
        Ok(VhRateLimitsOptions::Override) => HostLimits::Override,
        Ok(VhRateLimitsOptions::Include) => HostLimits::Include,
        Ok(VhRateLimitsOptions::Ignore) => HostLimits::Ignore,
        Err(_) => return Err(report.invalid("vh_rate_limits", format_args!("{vh_rate_limits} is not known"))),
    };
    let domain = Some(domain.as_str()).filter(|domain| !domain.is_empty()).map(Text::from);
    Ok(RateLimitOverride { host, limits: limits(report, rate_limits)?, domain })
}

pub(in crate::envoy) fn wire_rate_limit_per_route(setting: &RateLimitOverride) -> wire::RateLimitPerRoute {
    let RateLimitOverride { host, limits, domain } = setting;
    let host = match host {
        HostLimits::Override => VhRateLimitsOptions::Override,
        HostLimits::Include => VhRateLimitsOptions::Include,
        HostLimits::Ignore => VhRateLimitsOptions::Ignore,
    };
    wire::RateLimitPerRoute {
        vh_rate_limits: host.into(),
        rate_limits: limits.iter().map(wire_rate_limit).collect(),
        domain: domain.as_ref().map(Text::to_string).unwrap_or_default(),
        ..wire::RateLimitPerRoute::default()
    }
}
