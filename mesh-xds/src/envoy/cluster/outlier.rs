//! `OutlierDetection` ↔ [`OutlierSettings`].

use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use mesh_core::balance::{InvalidOutlierSettings, OutlierSettings};

use super::number::number;
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{boolean, optional_duration, span, uint32};

pub(super) fn outlier(report: &mut Report, message: &OutlierDetection) -> Result<OutlierSettings, Error> {
    let OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
        detect_degraded_hosts,
    } = message;
    report.ignored("monitors", monitors);
    report.ignored("detect_degraded_hosts", &detect_degraded_hosts.is_some_and(|detect| detect.value));
    let default = OutlierSettings::default();
    let time = |field: &str, span: &Option<_>| optional_duration(report, field, span.as_ref());
    let base_ejection_time = time("base_ejection_time", base_ejection_time)?.unwrap_or(default.base_ejection_time);
    // Whoever only says how long the first ejection lasts does not mean to contradict themselves.
    let max_default = default.max_ejection_time.max(base_ejection_time);
    let settings = OutlierSettings {
        interval: time("interval", interval)?.unwrap_or(default.interval),
        base_ejection_time,
        max_ejection_time: time("max_ejection_time", max_ejection_time)?.unwrap_or(max_default),
        max_ejection_jitter: time("max_ejection_time_jitter", max_ejection_time_jitter)?.unwrap_or_default(),
        max_ejection_percent: number(*max_ejection_percent, default.max_ejection_percent),
        always_eject_one: always_eject_one_host.is_some_and(|always| always.value),
        passing_check_unejects: successful_active_health_check_uneject_host.is_none_or(|unejects| unejects.value),
        split_local_origin: *split_external_local_origin_errors,
        consecutive_5xx: number(*consecutive_5xx, default.consecutive_5xx),
        enforcing_consecutive_5xx: number(*enforcing_consecutive_5xx, default.enforcing_consecutive_5xx),
        consecutive_gateway_failure: number(*consecutive_gateway_failure, default.consecutive_gateway_failure),
        enforcing_consecutive_gateway_failure: number(
            *enforcing_consecutive_gateway_failure,
            default.enforcing_consecutive_gateway_failure,
        ),
        consecutive_local_origin_failure: number(
            *consecutive_local_origin_failure,
            default.consecutive_local_origin_failure,
        ),
        enforcing_consecutive_local_origin_failure: number(
            *enforcing_consecutive_local_origin_failure,
            default.enforcing_consecutive_local_origin_failure,
        ),
        success_rate_minimum_hosts: number(*success_rate_minimum_hosts, default.success_rate_minimum_hosts),
        success_rate_request_volume: number(*success_rate_request_volume, default.success_rate_request_volume),
        success_rate_stdev_factor: number(*success_rate_stdev_factor, default.success_rate_stdev_factor),
        enforcing_success_rate: number(*enforcing_success_rate, default.enforcing_success_rate),
        enforcing_local_origin_success_rate: number(
            *enforcing_local_origin_success_rate,
            default.enforcing_local_origin_success_rate,
        ),
        failure_percentage_threshold: number(*failure_percentage_threshold, default.failure_percentage_threshold),
        failure_percentage_minimum_hosts: number(
            *failure_percentage_minimum_hosts,
            default.failure_percentage_minimum_hosts,
        ),
        failure_percentage_request_volume: number(
            *failure_percentage_request_volume,
            default.failure_percentage_request_volume,
        ),
        enforcing_failure_percentage: number(*enforcing_failure_percentage, default.enforcing_failure_percentage),
        enforcing_failure_percentage_local_origin: number(
            *enforcing_failure_percentage_local_origin,
            default.enforcing_failure_percentage_local_origin,
        ),
    };
    settings.validate().map_err(|error| invalid(report, &error))?;
    Ok(settings)
}

fn invalid(report: &Report, error: &InvalidOutlierSettings) -> Error {
    let field = match error {
        InvalidOutlierSettings::Zero { field } | InvalidOutlierSettings::Percentage { field } => field,
        _ => "max_ejection_time",
    };
    report.invalid(field, error)
}

pub(super) fn wire_outlier(settings: &OutlierSettings) -> OutlierDetection {
    let OutlierSettings {
        interval,
        base_ejection_time,
        max_ejection_time,
        max_ejection_jitter,
        max_ejection_percent,
        always_eject_one,
        passing_check_unejects,
        split_local_origin,
        consecutive_5xx,
        enforcing_consecutive_5xx,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        enforcing_success_rate,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
    } = settings;
    let number = |value: &u32| Some(uint32(*value));
    OutlierDetection {
        interval: Some(span(*interval)),
        base_ejection_time: Some(span(*base_ejection_time)),
        max_ejection_time: Some(span(*max_ejection_time)),
        max_ejection_time_jitter: Some(span(*max_ejection_jitter)),
        max_ejection_percent: number(max_ejection_percent),
        always_eject_one_host: Some(boolean(*always_eject_one)),
        successful_active_health_check_uneject_host: Some(boolean(*passing_check_unejects)),
        split_external_local_origin_errors: *split_local_origin,
        consecutive_5xx: number(consecutive_5xx),
        enforcing_consecutive_5xx: number(enforcing_consecutive_5xx),
        consecutive_gateway_failure: number(consecutive_gateway_failure),
        enforcing_consecutive_gateway_failure: number(enforcing_consecutive_gateway_failure),
        consecutive_local_origin_failure: number(consecutive_local_origin_failure),
        enforcing_consecutive_local_origin_failure: number(enforcing_consecutive_local_origin_failure),
        success_rate_minimum_hosts: number(success_rate_minimum_hosts),
        success_rate_request_volume: number(success_rate_request_volume),
        success_rate_stdev_factor: number(success_rate_stdev_factor),
        enforcing_success_rate: number(enforcing_success_rate),
        enforcing_local_origin_success_rate: number(enforcing_local_origin_success_rate),
        failure_percentage_threshold: number(failure_percentage_threshold),
        failure_percentage_minimum_hosts: number(failure_percentage_minimum_hosts),
        failure_percentage_request_volume: number(failure_percentage_request_volume),
        enforcing_failure_percentage: number(enforcing_failure_percentage),
        enforcing_failure_percentage_local_origin: number(enforcing_failure_percentage_local_origin),
        ..OutlierDetection::default()
    }
}
