//! | field | how it is taken |
//! | --- | --- |
//! | **LocalRateLimit** `token_bucket`, `filter_enabled`, `filter_enforced` | honoured; on a route without a `token_bucket`: NACK; a `runtime_key` gives a warning |
//! | `status` | honoured; below 400 it is 429 |
//! | `response_headers_to_add`, `request_headers_to_add_when_not_enforced` | honoured |
//! | `descriptors`, `rate_limits`, `stage` up to 10, `vh_rate_limits`, `always_consume_default_token_bucket` | honoured |
//! | `local_rate_limit_per_downstream_connection`, `rate_limited_as_resource_exhausted` | honoured |
//! | `enable_x_ratelimit_headers`, `enable_retry_after_header` | honoured |
//! | `local_cluster_rate_limit` | NACK |
//! | `stat_prefix`, `max_dynamic_descriptors` | no effect |
//! | **LocalRateLimitDescriptor** all fields | honoured; an entry without a value, which would stand for all values: NACK |
//! | **TokenBucket** all fields | honoured; filled more often than every 50 ms, or never: NACK |

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::{
    LocalRateLimitDescriptor, VhRateLimitsOptions, XRateLimitHeadersRfcVersion,
};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3 as wire;
use envoy_types::pb::envoy::r#type::v3::TokenBucket as WireBucket;
use mesh_core::limit::TokenBucket;
use mesh_core::route::{Fraction, HostLimits, LocalDescriptor, LocalRateLimit, Mutation, OwnRateLimit};

use super::matcher::{fraction, wire_fraction};
use super::mutation::{addition, wire_addition};
use super::rate_limit::{MAX_STAGE, Place, rate_limit, wire_rate_limit};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{boolean, duration, refusal_status, span, uint32, wire_status};

/// Of a level of a route table, which needs buckets of its own.
pub(super) fn own_rate_limit(report: &mut Report, wire: &wire::LocalRateLimit) -> Result<OwnRateLimit, Error> {
    report.required("token_bucket", wire.token_bucket.as_ref())?;
    local_rate_limit(report, wire).map(OwnRateLimit::new)
}

pub(in crate::envoy) fn local_rate_limit(
    report: &mut Report,
    wire: &wire::LocalRateLimit,
) -> Result<LocalRateLimit, Error> {
    let wire::LocalRateLimit {
        stat_prefix: _,
        status,
        token_bucket,
        filter_enabled,
        filter_enforced,
        request_headers_to_add_when_not_enforced,
        response_headers_to_add,
        descriptors,
        stage,
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit,
        enable_x_ratelimit_headers,
        vh_rate_limits,
        always_consume_default_token_bucket,
        rate_limited_as_resource_exhausted,
        rate_limits,
        max_dynamic_descriptors: _,
        enable_retry_after_header,
    } = wire;
    report.refused("local_cluster_rate_limit", local_cluster_rate_limit)?;
    if *stage > MAX_STAGE {
        return Err(report.invalid("stage", format_args!("{stage} is more than {MAX_STAGE}")));
    }
    let headers = match XRateLimitHeadersRfcVersion::try_from(*enable_x_ratelimit_headers) {
        Ok(XRateLimitHeadersRfcVersion::Off) => false,
        Ok(XRateLimitHeadersRfcVersion::DraftVersion03) => true,
        Err(_) => {
            let reason = format_args!("{enable_x_ratelimit_headers} is not known");
            return Err(report.invalid("enable_x_ratelimit_headers", reason));
        }
    };
    let host = match VhRateLimitsOptions::try_from(*vh_rate_limits) {
        Ok(VhRateLimitsOptions::Override) => HostLimits::Override,
        Ok(VhRateLimitsOptions::Include) => HostLimits::Include,
        Ok(VhRateLimitsOptions::Ignore) => HostLimits::Ignore,
        Err(_) => return Err(report.invalid("vh_rate_limits", format_args!("{vh_rate_limits} is not known"))),
    };
    let never = Fraction::percent(0);
    let default = LocalRateLimit::default();
    Ok(LocalRateLimit {
        bucket: report.optional("token_bucket", token_bucket.as_ref(), bucket)?,
        enabled: report.optional("filter_enabled", filter_enabled.as_ref(), fraction)?.unwrap_or(never),
        enforced: report.optional("filter_enforced", filter_enforced.as_ref(), fraction)?.unwrap_or(never),
        status: refusal_status(report, "status", status.as_ref())?.unwrap_or(default.status),
        response: additions(report, "response_headers_to_add", response_headers_to_add)?,
        unenforced: additions(
            report,
            "request_headers_to_add_when_not_enforced",
            request_headers_to_add_when_not_enforced,
        )?,
        descriptors: report.each("descriptors", descriptors, descriptor)?,
        stage: *stage,
        per_connection: *local_rate_limit_per_downstream_connection,
        headers,
        retry_after: *enable_retry_after_header,
        host,
        always_takes: always_consume_default_token_bucket.is_none_or(|always| always.value),
        resource_exhausted: *rate_limited_as_resource_exhausted,
        limits: report.each("rate_limits", rate_limits, |report, wire| rate_limit(report, wire, Place::Filter))?,
    })
}

fn bucket(report: &mut Report, wire: &WireBucket) -> Result<TokenBucket, Error> {
    let WireBucket { max_tokens, tokens_per_fill, fill_interval } = wire;
    let interval = report.required("fill_interval", fill_interval.as_ref())?;
    let bucket = TokenBucket {
        max_tokens: *max_tokens,
        tokens_per_fill: tokens_per_fill.map_or(1, |tokens| tokens.value),
        fill_interval: duration(report, "fill_interval", interval)?,
    };
    bucket.validate().map(|()| bucket).map_err(|error| report.invalid("fill_interval", error))
}

fn descriptor(report: &mut Report, wire: &LocalRateLimitDescriptor) -> Result<LocalDescriptor, Error> {
    let LocalRateLimitDescriptor { entries, token_bucket, shadow_mode } = wire;
    if entries.is_empty() {
        return Err(Error::Missing { field: report.at("entries") });
    }
    let entries = report.each("entries", entries, |report, Entry { key, value }| {
        Ok((report.named("key", key)?, report.named("value", value)?))
    })?;
    let wire = report.required("token_bucket", token_bucket.as_ref())?;
    let bucket = report.within("token_bucket", |report| bucket(report, wire))?;
    Ok(LocalDescriptor { entries, bucket, shadow: *shadow_mode })
}

fn additions(report: &mut Report, field: &str, wire: &[HeaderValueOption]) -> Result<Mutation, Error> {
    Ok(Mutation { remove: Vec::new(), add: report.each(field, wire, addition)? })
}

pub(in crate::envoy) fn wire_local_rate_limit(limit: &LocalRateLimit) -> wire::LocalRateLimit {
    let LocalRateLimit {
        bucket,
        enabled,
        enforced,
        status,
        response,
        unenforced,
        descriptors,
        stage,
        per_connection,
        headers,
        retry_after,
        host,
        always_takes,
        resource_exhausted,
        limits,
    } = limit;
    let version = match headers {
        true => XRateLimitHeadersRfcVersion::DraftVersion03,
        false => XRateLimitHeadersRfcVersion::Off,
    };
    let host = match host {
        HostLimits::Override => VhRateLimitsOptions::Override,
        HostLimits::Include => VhRateLimitsOptions::Include,
        HostLimits::Ignore => VhRateLimitsOptions::Ignore,
    };
    wire::LocalRateLimit {
        // Envoy asks for one.
        stat_prefix: "local_rate_limit".to_owned(),
        status: Some(wire_status(*status)),
        token_bucket: bucket.as_ref().map(wire_bucket),
        filter_enabled: Some(wire_fraction(*enabled)),
        filter_enforced: Some(wire_fraction(*enforced)),
        request_headers_to_add_when_not_enforced: unenforced.add.iter().map(wire_addition).collect(),
        response_headers_to_add: response.add.iter().map(wire_addition).collect(),
        descriptors: descriptors.iter().map(wire_descriptor).collect(),
        stage: *stage,
        local_rate_limit_per_downstream_connection: *per_connection,
        enable_x_ratelimit_headers: version.into(),
        vh_rate_limits: host.into(),
        always_consume_default_token_bucket: Some(boolean(*always_takes)),
        rate_limited_as_resource_exhausted: *resource_exhausted,
        rate_limits: limits.iter().map(wire_rate_limit).collect(),
        enable_retry_after_header: *retry_after,
        ..wire::LocalRateLimit::default()
    }
}

fn wire_bucket(bucket: &TokenBucket) -> WireBucket {
    let TokenBucket { max_tokens, tokens_per_fill, fill_interval } = *bucket;
    WireBucket { max_tokens, tokens_per_fill: Some(uint32(tokens_per_fill)), fill_interval: Some(span(fill_interval)) }
}

fn wire_descriptor(descriptor: &LocalDescriptor) -> LocalRateLimitDescriptor {
    let LocalDescriptor { entries, bucket, shadow } = descriptor;
    let entries = entries.iter().map(|(key, value)| Entry { key: key.to_string(), value: value.to_string() });
    LocalRateLimitDescriptor {
        entries: entries.collect(),
        token_bucket: Some(wire_bucket(bucket)),
        shadow_mode: *shadow,
    }
}
