//! | field | how it is taken |
//! | --- | --- |
//! | **HTTPFault** `delay`, `abort`, `upstream_cluster`, `headers`, `max_active_faults` | honoured |
//! | `response_rate_limit`, `downstream_nodes` | NACK |
//! | `*_runtime`, `disable_downstream_cluster_stats`, `filter_metadata` | warning |
//! | **FaultDelay** `fixed_delay`, `header_delay`, `percentage` | honoured; neither delay: NACK; no percentage: no request |
//! | **FaultAbort** `http_status`, `grpc_status`, `header_abort`, `percentage`, `response_body` | honoured; no status: NACK |

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::{FaultDelaySecifier, HeaderDelay};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::{ErrorType, HeaderAbort};
use mesh_core::route::{Fault, FaultAbort, FaultDelay, FaultLength, FaultStatus};

use super::matcher::{fractional_percent, wire_fractional_percent};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::{header_match, wire_header_match};
use crate::envoy::wire::{duration, span, uint32};

pub(in crate::envoy) fn fault(report: &mut Report, wire: &wire::HttpFault) -> Result<Fault, Error> {
    let wire::HttpFault {
        delay,
        abort,
        upstream_cluster,
        headers,
        downstream_nodes,
        max_active_faults,
        response_rate_limit,
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    } = wire;
    report.refused("downstream_nodes", downstream_nodes)?;
    report.refused("response_rate_limit", response_rate_limit)?;
    report.ignored("delay_percent_runtime", delay_percent_runtime);
    report.ignored("abort_percent_runtime", abort_percent_runtime);
    report.ignored("delay_duration_runtime", delay_duration_runtime);
    report.ignored("abort_http_status_runtime", abort_http_status_runtime);
    report.ignored("max_active_faults_runtime", max_active_faults_runtime);
    report.ignored("response_rate_limit_percent_runtime", response_rate_limit_percent_runtime);
    report.ignored("abort_grpc_status_runtime", abort_grpc_status_runtime);
    report.ignored("disable_downstream_cluster_stats", disable_downstream_cluster_stats);
    report.ignored("filter_metadata", filter_metadata);
    Ok(Fault {
        delay: report.optional("delay", delay.as_ref(), fault_delay)?,
        abort: report.optional("abort", abort.as_ref(), fault_abort)?,
        cluster: upstream_cluster.as_str().into(),
        headers: report.each("headers", headers, header_match)?,
        max_active: max_active_faults.map(|max| max.value),
    })
}

fn fault_delay(report: &mut Report, wire: &common::FaultDelay) -> Result<FaultDelay, Error> {
    let common::FaultDelay { percentage, fault_delay_secifier } = wire;
    let length = match report.required("fault_delay_secifier", fault_delay_secifier.as_ref())? {
        FaultDelaySecifier::FixedDelay(delay) => FaultLength::Fixed(duration(report, "fixed_delay", delay)?),
        FaultDelaySecifier::HeaderDelay(HeaderDelay {}) => FaultLength::Header,
    };
    Ok(FaultDelay { length, fraction: fractional_percent(report, "percentage", &percentage.unwrap_or_default())? })
}

fn fault_abort(report: &mut Report, wire: &wire::FaultAbort) -> Result<FaultAbort, Error> {
    let wire::FaultAbort { percentage, response_body, error_type } = wire;
    let status = match report.required("error_type", error_type.as_ref())? {
        ErrorType::HttpStatus(status) => match u16::try_from(*status) {
            Ok(status @ 200..600) => FaultStatus::Http(status),
            _ => return Err(report.invalid("http_status", format_args!("{status} is no status of an answer"))),
        },
        ErrorType::GrpcStatus(status) => FaultStatus::Grpc(*status),
        ErrorType::HeaderAbort(HeaderAbort {}) => FaultStatus::Header,
    };
    let fraction = fractional_percent(report, "percentage", &percentage.unwrap_or_default())?;
    Ok(FaultAbort { status, fraction, body: response_body.as_str().into() })
}

pub(in crate::envoy) fn wire_fault(fault: &Fault) -> wire::HttpFault {
    let Fault { delay, abort, cluster, headers, max_active } = fault;
    wire::HttpFault {
        delay: delay.map(wire_delay),
        abort: abort.as_ref().map(wire_abort),
        upstream_cluster: cluster.to_string(),
        headers: headers.iter().map(wire_header_match).collect(),
        max_active_faults: max_active.map(uint32),
        ..wire::HttpFault::default()
    }
}

fn wire_delay(delay: FaultDelay) -> common::FaultDelay {
    let FaultDelay { length, fraction } = delay;
    let length = match length {
        FaultLength::Fixed(delay) => FaultDelaySecifier::FixedDelay(span(delay)),
        FaultLength::Header => FaultDelaySecifier::HeaderDelay(HeaderDelay {}),
    };
    common::FaultDelay { percentage: Some(wire_fractional_percent(fraction)), fault_delay_secifier: Some(length) }
}

fn wire_abort(abort: &FaultAbort) -> wire::FaultAbort {
    let FaultAbort { status, fraction, body } = abort;
    let status = match *status {
        FaultStatus::Http(status) => ErrorType::HttpStatus(status.into()),
        FaultStatus::Grpc(status) => ErrorType::GrpcStatus(status),
        FaultStatus::Header => ErrorType::HeaderAbort(HeaderAbort {}),
    };
    wire::FaultAbort {
        percentage: Some(wire_fractional_percent(*fraction)),
        response_body: body.to_string(),
        error_type: Some(status),
    }
}
