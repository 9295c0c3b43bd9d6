//! | field | how it is taken |
//! | --- | --- |
//! | **RetryPolicy** `retry_on`, `num_retries`, `per_try_timeout`, `per_try_idle_timeout`, `retriable_status_codes` | honoured |
//! | unknown tokens of `retry_on` | warning, as Envoy passes over them |
//! | `retriable_headers`, `retriable_request_headers`, `retry_back_off`, `rate_limited_retry_back_off` | honoured |
//! | `retry_host_predicate` previous hosts and canaries, `host_selection_retry_max_attempts`, `retry_priority` previous priorities | honoured |
//! | other predicates and priorities, `retry_options_predicates`, `refresh_cluster_on_retry` | warning: they choose where, not whether |
//! | **HedgePolicy** `hedge_on_per_try_timeout` | honoured |
//! | `initial_requests`, `additional_request_chance` | warning: Envoy has them without effect too |

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RateLimitedRetryBackOff, ResetHeader as WireResetHeader, ResetHeaderFormat, RetryBackOff, RetryHostPredicate,
    RetryPriority, retry_host_predicate, retry_priority,
};
use envoy_types::pb::envoy::extensions::retry::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use mesh_core::route::{AvoidHost, BackOff, Hedge, RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy};

use super::mutation::header_name;
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::{header_match, wire_header_match};
use crate::envoy::wire::{any, duration, holds, optional_duration, span, uint32, unpack};

/// Longest time a server may ask to wait where nothing else is said.
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);

pub(super) fn retry(report: &mut Report, wire: &wire::RetryPolicy) -> Result<RetryPolicy, Error> {
    let wire::RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout,
        per_try_idle_timeout,
        retry_priority,
        retry_host_predicate,
        retry_options_predicates,
        host_selection_retry_max_attempts,
        retriable_status_codes,
        retry_back_off,
        rate_limited_retry_back_off,
        retriable_headers,
        retriable_request_headers,
        refresh_cluster_on_retry,
    } = wire;
    report.ignored("retry_options_predicates", retry_options_predicates);
    report.ignored("refresh_cluster_on_retry", refresh_cluster_on_retry);
    let default = RetryPolicy::default();
    let status_code = |report: &mut Report, code: &u32| {
        u16::try_from(*code).map_err(|_| report.invalid("code", format_args!("{code} is no status code")))
    };
    let avoid = report.each("retry_host_predicate", retry_host_predicate, predicate)?;
    let avoid_priorities = report.optional("retry_priority", retry_priority.as_ref(), priority)?;
    Ok(RetryPolicy {
        on: tokens(report, retry_on),
        retries: num_retries.map_or(default.retries, |retries| retries.value),
        per_try_timeout: optional_duration(report, "per_try_timeout", per_try_timeout.as_ref())?,
        per_try_idle_timeout: optional_duration(report, "per_try_idle_timeout", per_try_idle_timeout.as_ref())?,
        status_codes: report.each("retriable_status_codes", retriable_status_codes, status_code)?,
        response_headers: report.each("retriable_headers", retriable_headers, header_match)?,
        request_headers: report.each("retriable_request_headers", retriable_request_headers, header_match)?,
        back_off: report.optional("retry_back_off", retry_back_off.as_ref(), back_off)?.unwrap_or_default(),
        rate_limited: report.optional(
            "rate_limited_retry_back_off",
            rate_limited_retry_back_off.as_ref(),
            rate_limited,
        )?,
        avoid: avoid.into_iter().flatten().collect(),
        host_attempts: match host_selection_retry_max_attempts {
            0 => default.host_attempts,
            attempts => u32::try_from(*attempts).map_err(|_| {
                report.invalid("host_selection_retry_max_attempts", format_args!("{attempts} is no number of attempts"))
            })?,
        },
        avoid_priorities: avoid_priorities.flatten(),
    })
}

pub(super) fn wire_retry(policy: &RetryPolicy) -> wire::RetryPolicy {
    let RetryPolicy {
        on,
        retries,
        per_try_timeout,
        per_try_idle_timeout,
        status_codes,
        response_headers,
        request_headers,
        back_off,
        rate_limited,
        avoid,
        host_attempts,
        avoid_priorities,
    } = policy;
    let back_off = RetryBackOff { base_interval: Some(span(back_off.base)), max_interval: back_off.max.map(span) };
    wire::RetryPolicy {
        retry_on: on.to_string(),
        num_retries: Some(uint32(*retries)),
        per_try_timeout: per_try_timeout.map(span),
        per_try_idle_timeout: per_try_idle_timeout.map(span),
        retry_priority: avoid_priorities.map(wire_priority),
        retry_host_predicate: avoid.iter().map(wire_predicate).collect(),
        host_selection_retry_max_attempts: (*host_attempts).into(),
        retriable_status_codes: status_codes.iter().copied().map(u32::from).collect(),
        retry_back_off: Some(back_off),
        rate_limited_retry_back_off: rate_limited.as_ref().map(wire_rate_limited),
        retriable_headers: response_headers.iter().map(wire_header_match).collect(),
        retriable_request_headers: request_headers.iter().map(wire_header_match).collect(),
        ..wire::RetryPolicy::default()
    }
}

fn tokens(report: &mut Report, text: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
        match RetryOn::from_token(token) {
            Some(known) => on = on.and(known),
            None => report.ignored(&format!("retry_on[{token}]"), &true),
        }
    }
    on
}

fn predicate(report: &mut Report, wire: &RetryHostPredicate) -> Result<Option<AvoidHost>, Error> {
    let RetryHostPredicate { name: _, config_type } = wire;
    let retry_host_predicate::ConfigType::TypedConfig(config) =
        report.required("typed_config", config_type.as_ref())?;
    if holds::<PreviousHostsPredicate>(config) {
        Ok(Some(AvoidHost::Previous))
    } else if holds::<OmitCanaryHostsPredicate>(config) {
        Ok(Some(AvoidHost::Canary))
    } else {
        report.ignored("typed_config", config);
        Ok(None)
    }
}

fn wire_predicate(avoid: &AvoidHost) -> RetryHostPredicate {
    let (name, config) = match avoid {
        AvoidHost::Previous => ("envoy.retry_host_predicates.previous_hosts", any(&PreviousHostsPredicate {})),
        AvoidHost::Canary => ("envoy.retry_host_predicates.omit_canary_hosts", any(&OmitCanaryHostsPredicate {})),
    };
    let config_type = Some(retry_host_predicate::ConfigType::TypedConfig(config));
    RetryHostPredicate { name: name.to_owned(), config_type }
}

fn priority(report: &mut Report, wire: &RetryPriority) -> Result<Option<u32>, Error> {
    let RetryPriority { name: _, config_type } = wire;
    let retry_priority::ConfigType::TypedConfig(config) = report.required("typed_config", config_type.as_ref())?;
    if !holds::<PreviousPrioritiesConfig>(config) {
        report.ignored("typed_config", config);
        return Ok(None);
    }
    let PreviousPrioritiesConfig { update_frequency } = unpack(report, "typed_config", config)?;
    let attempts = u32::try_from(update_frequency).ok().filter(|attempts| *attempts > 0);
    let wrong = || report.invalid("typed_config.update_frequency", "must be more than zero");
    attempts.ok_or_else(wrong).map(Some)
}

fn wire_priority(attempts: u32) -> RetryPriority {
    let config = PreviousPrioritiesConfig { update_frequency: i32::try_from(attempts).unwrap_or(i32::MAX) };
    let config_type = Some(retry_priority::ConfigType::TypedConfig(any(&config)));
    RetryPriority { name: "envoy.retry_priorities.previous_priorities".to_owned(), config_type }
}

fn back_off(report: &mut Report, wire: &RetryBackOff) -> Result<BackOff, Error> {
    let RetryBackOff { base_interval, max_interval } = wire;
    let base = duration(report, "base_interval", report.required("base_interval", base_interval.as_ref())?)?;
    let max = optional_duration(report, "max_interval", max_interval.as_ref())?;
    if base.is_zero() {
        return Err(report.invalid("base_interval", "must be more than zero"));
    }
    if max.is_some_and(|max| max < base) {
        return Err(report.invalid("max_interval", "is less than `base_interval`"));
    }
    Ok(BackOff { base, max })
}

fn rate_limited(report: &mut Report, wire: &RateLimitedRetryBackOff) -> Result<RateLimitedBackOff, Error> {
    let RateLimitedRetryBackOff { reset_headers, max_interval } = wire;
    let headers = report.each("reset_headers", reset_headers, reset_header)?;
    if headers.is_empty() {
        return Err(Error::Missing { field: report.at("reset_headers") });
    }
    let max = optional_duration(report, "max_interval", max_interval.as_ref())?.unwrap_or(RATE_LIMITED_MAX);
    if max.is_zero() {
        return Err(report.invalid("max_interval", "must be more than zero"));
    }
    Ok(RateLimitedBackOff { headers, max })
}

fn wire_rate_limited(back_off: &RateLimitedBackOff) -> RateLimitedRetryBackOff {
    let RateLimitedBackOff { headers, max } = back_off;
    RateLimitedRetryBackOff {
        reset_headers: headers.iter().map(wire_reset_header).collect(),
        max_interval: Some(span(*max)),
    }
}

fn reset_header(report: &mut Report, wire: &WireResetHeader) -> Result<ResetHeader, Error> {
    let WireResetHeader { name, format } = wire;
    let format = match ResetHeaderFormat::try_from(*format) {
        Ok(ResetHeaderFormat::Seconds) => ResetFormat::Seconds,
        Ok(ResetHeaderFormat::UnixTimestamp) => ResetFormat::UnixTimestamp,
        Err(_) => return Err(report.invalid("format", format_args!("{format} is not known"))),
    };
    Ok(ResetHeader { name: header_name(report, "name", name)?, format })
}

fn wire_reset_header(header: &ResetHeader) -> WireResetHeader {
    let format = match header.format {
        ResetFormat::Seconds => ResetHeaderFormat::Seconds,
        ResetFormat::UnixTimestamp => ResetHeaderFormat::UnixTimestamp,
    };
    WireResetHeader { name: header.name.to_string(), format: format.into() }
}

pub(super) fn hedge(report: &mut Report, wire: &wire::HedgePolicy) -> Result<Hedge, Error> {
    let wire::HedgePolicy { initial_requests, additional_request_chance, hedge_on_per_try_timeout } = wire;
    report.ignored("initial_requests", initial_requests);
    report.ignored("additional_request_chance", additional_request_chance);
    Ok(Hedge { on_per_try_timeout: *hedge_on_per_try_timeout })
}

pub(super) fn wire_hedge(hedge: Hedge) -> wire::HedgePolicy {
    wire::HedgePolicy { hedge_on_per_try_timeout: hedge.on_per_try_timeout, ..wire::HedgePolicy::default() }
}
