//! `CircuitBreakers` ↔ [`CircuitSettings`].

use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds as WireThresholds;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::thresholds::RetryBudget;
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::r#type::v3::Percent;
use mesh_core::balance::{CircuitSettings, RetryLimit, Thresholds};

use super::number::{number, percent};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{optional_duration, span, uint32};

pub(super) fn circuit(report: &mut Report, message: &CircuitBreakers) -> Result<CircuitSettings, Error> {
    let CircuitBreakers { thresholds, per_host_thresholds } = message;
    let of_priorities = report.each("thresholds", thresholds, read_thresholds)?;
    // The first of a priority counts.
    let first =
        |wanted| of_priorities.iter().find(|(priority, _)| *priority == wanted).map(|(_, thresholds)| *thresholds);
    let per_host = report.each("per_host_thresholds", per_host_thresholds, per_host)?;
    let max_connections_per_endpoint = per_host.into_iter().flatten().next();
    Ok(CircuitSettings {
        default: first(RoutingPriority::Default).unwrap_or_default(),
        high: first(RoutingPriority::High).unwrap_or_default(),
        max_connections_per_endpoint,
    })
}

pub(super) fn wire_circuit(settings: &CircuitSettings) -> CircuitBreakers {
    let CircuitSettings { default, high, max_connections_per_endpoint } = settings;
    let per_host = |limit: &u32| WireThresholds { max_connections: Some(uint32(*limit)), ..WireThresholds::default() };
    CircuitBreakers {
        thresholds: vec![
            wire_thresholds(RoutingPriority::Default, default),
            wire_thresholds(RoutingPriority::High, high),
        ],
        per_host_thresholds: max_connections_per_endpoint.iter().map(per_host).collect(),
    }
}

fn read_thresholds(report: &mut Report, message: &WireThresholds) -> Result<(RoutingPriority, Thresholds), Error> {
    let WireThresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = message;
    report.ignored("track_remaining", track_remaining);
    report.ignored("max_connection_pools", max_connection_pools);
    let default = Thresholds::default();
    let retries = match (retry_budget, max_retries) {
        (Some(budget), _) => report.within("retry_budget", |report| read_budget(report, budget))?,
        (None, Some(limit)) => RetryLimit::Count(limit.value),
        (None, None) => default.retries,
    };
    let thresholds = Thresholds {
        max_connections: number(*max_connections, default.max_connections),
        max_pending_requests: number(*max_pending_requests, default.max_pending_requests),
        max_requests: number(*max_requests, default.max_requests),
        retries,
    };
    Ok((read_priority(report, *priority)?, thresholds))
}

fn read_priority(report: &Report, priority: i32) -> Result<RoutingPriority, Error> {
    RoutingPriority::try_from(priority)
        .map_err(|_| report.invalid("priority", format_args!("unknown priority {priority}")))
}

fn read_budget(report: &mut Report, message: &RetryBudget) -> Result<RetryLimit, Error> {
    let RetryBudget { budget_percent, budget_interval, min_retry_concurrency } = message;
    Ok(RetryLimit::Budget {
        percent: percent(report, "budget_percent", *budget_percent)?.unwrap_or(20.0),
        min_concurrency: number(*min_retry_concurrency, 3),
        interval: optional_duration(report, "budget_interval", budget_interval.as_ref())?.unwrap_or_default(),
    })
}

/// Only connections are limited per endpoint; of requests of high priority they are not.
fn per_host(report: &mut Report, message: &WireThresholds) -> Result<Option<u32>, Error> {
    let WireThresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = message;
    report.ignored("max_pending_requests", max_pending_requests);
    report.ignored("max_requests", max_requests);
    report.ignored("max_retries", max_retries);
    report.ignored("retry_budget", retry_budget);
    report.ignored("track_remaining", track_remaining);
    report.ignored("max_connection_pools", max_connection_pools);
    match read_priority(report, *priority)? {
        RoutingPriority::Default => Ok(max_connections.map(|limit| limit.value)),
        RoutingPriority::High => {
            report.ignored("max_connections", max_connections);
            Ok(None)
        }
    }
}

fn wire_thresholds(priority: RoutingPriority, thresholds: &Thresholds) -> WireThresholds {
    let Thresholds { max_connections, max_pending_requests, max_requests, retries } = thresholds;
    let (max_retries, retry_budget) = match retries {
        RetryLimit::Count(limit) => (Some(uint32(*limit)), None),
        RetryLimit::Budget { percent, min_concurrency, interval } => {
            let budget = RetryBudget {
                budget_percent: Some(Percent { value: *percent }),
                min_retry_concurrency: Some(uint32(*min_concurrency)),
                budget_interval: Some(span(*interval)),
            };
            (None, Some(budget))
        }
    };
    WireThresholds {
        priority: priority.into(),
        max_connections: Some(uint32(*max_connections)),
        max_pending_requests: Some(uint32(*max_pending_requests)),
        max_requests: Some(uint32(*max_requests)),
        max_retries,
        retry_budget,
        ..WireThresholds::default()
    }
}
