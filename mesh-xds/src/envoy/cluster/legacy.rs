//! How an endpoint is chosen, without `load_balancing_policy`: `lb_policy` and the settings beside it.

use envoy_types::pb::envoy::config::cluster::v3::cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::ConsistentHashingLbConfig;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{LbConfig, LbPolicy};
use mesh_core::balance::{Choice, HashFunction, Hashing, LeastRequest, Maglev, Policy, RingHash};

use super::policy::{SlowStartParts, balance_factor, bias, choices, ring, size_of_table, slow_start};
use crate::envoy::error::{Error, Report};

/// The policy of `lb_policy`, which has its settings beside it.
pub(super) fn policy(
    report: &mut Report,
    lb_policy: i32,
    lb_config: Option<&LbConfig>,
    hashing: Hashing,
) -> Result<Policy, Error> {
    let Ok(kind) = LbPolicy::try_from(lb_policy) else {
        return Err(report.invalid("lb_policy", format_args!("unknown policy {lb_policy}")));
    };
    let policy = match (kind, lb_config) {
        (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
            let cluster::RoundRobinLbConfig { slow_start_config } = config;
            report.within("round_robin_lb_config", |report| {
                let slow_start = slow_start(report, slow_start_config.clone().map(from_legacy))?;
                Ok(Policy::RoundRobin { slow_start })
            })?
        }
        (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
            let cluster::LeastRequestLbConfig { choice_count, active_request_bias, slow_start_config } = config;
            report.within("least_request_lb_config", |report| {
                let slow_start = slow_start(report, slow_start_config.clone().map(from_legacy))?;
                let bias = bias(report, active_request_bias.as_ref())?;
                let choice = Choice::Random(choices(report, *choice_count)?);
                Ok(Policy::LeastRequest(LeastRequest { choice, bias, slow_start }))
            })?
        }
        (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
            use cluster::ring_hash_lb_config::HashFunction as Legacy;
            let cluster::RingHashLbConfig { minimum_ring_size, hash_function, maximum_ring_size } = config;
            report.within("ring_hash_lb_config", |report| {
                let function = match Legacy::try_from(*hash_function) {
                    Ok(Legacy::XxHash) => HashFunction::XxHash,
                    Ok(Legacy::MurmurHash2) => HashFunction::Murmur2,
                    Err(_) => return Err(report.invalid("hash_function", "unknown function")),
                };
                ring(report, function, *minimum_ring_size, *maximum_ring_size, hashing)
            })?
        }
        (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config))) => {
            let cluster::MaglevLbConfig { table_size } = config;
            let table_size =
                report.within("maglev_lb_config", |report| size_of_table(report, "table_size", *table_size))?;
            Policy::Maglev(Maglev { table_size, hashing })
        }
        (kind, lb_config) => {
            // Settings of another policy than the one that is chosen.
            report.ignored("lb_config", &lb_config.is_some());
            match kind {
                LbPolicy::RoundRobin => Policy::RoundRobin { slow_start: None },
                LbPolicy::LeastRequest => Policy::LeastRequest(LeastRequest::default()),
                LbPolicy::RingHash => Policy::RingHash(RingHash { hashing, ..RingHash::default() }),
                LbPolicy::Maglev => Policy::Maglev(Maglev { hashing, ..Maglev::default() }),
                LbPolicy::Random => Policy::Random,
                LbPolicy::ClusterProvided => Policy::ClusterProvided,
                LbPolicy::LoadBalancingPolicyConfig => {
                    return Err(Error::Missing { field: report.at("load_balancing_policy") });
                }
            }
        }
    };
    Ok(policy)
}

/// Settings of consistent hashing beside `lb_policy`.
pub(super) fn hashing(report: &Report, config: Option<&ConsistentHashingLbConfig>) -> Result<Hashing, Error> {
    let Some(ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor }) = config else {
        return Ok(Hashing::default());
    };
    let balance_factor = balance_factor(report, "consistent_hashing_lb_config", *hash_balance_factor)?;
    Ok(Hashing { by_hostname: *use_hostname_for_hashing, balance_factor })
}

fn from_legacy(config: cluster::SlowStartConfig) -> SlowStartParts {
    let cluster::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = config;
    (slow_start_window, aggression, min_weight_percent)
}
