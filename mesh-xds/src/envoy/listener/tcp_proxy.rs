//! | field of **TcpProxy** | how it is taken |
//! | --- | --- |
//! | `cluster`, `weighted_clusters`, `idle_timeout`, `max_connect_attempts`, `max_downstream_connection_duration` | honoured |
//! | `hash_policy` | honoured if it is the source's address; a filter state: NACK |
//! | `stat_prefix` | without effect: Envoy wants one |
//! | `downstream_idle_timeout`, `upstream_idle_timeout` | warning: Envoy does not know them either |
//! | `access_log` and its options, `backoff_options`, `max_early_data_bytes`, `check_drain_close` | warning |
//! | `max_downstream_connection_duration_jitter_percentage` | warning |
//! | `tunneling_config`, `on_demand`, `metadata_match`, `proxy_protocol_tlvs` and their policy | NACK |
//! | `upstream_connect_mode` other than immediate; weights of nothing or beyond 32 bits | NACK |

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, WeightedCluster,
};
use envoy_types::pb::envoy::r#type::v3::HashPolicy;
use envoy_types::pb::envoy::r#type::v3::hash_policy::{PolicySpecifier, SourceIp};
use mesh_core::listener::{TcpProxy, TcpTarget, WeightedTarget};

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{duration, optional_duration, span, uint32};

/// Statistics; Envoy wants a name for them.
const STATISTICS: &str = "tcp";

pub(super) fn tcp_proxy(report: &mut Report, wire: &wire::TcpProxy) -> Result<TcpProxy, Error> {
    let wire::TcpProxy {
        // Only of statistics, and everybody must set it.
        stat_prefix: _,
        on_demand,
        metadata_match,
        idle_timeout,
        downstream_idle_timeout,
        upstream_idle_timeout,
        access_log,
        max_connect_attempts,
        backoff_options,
        hash_policy,
        tunneling_config,
        max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        check_drain_close,
        cluster_specifier,
    } = wire;
    report.refused("on_demand", on_demand)?;
    report.refused("metadata_match", metadata_match)?;
    report.refused("tunneling_config", tunneling_config)?;
    report.refused("proxy_protocol_tlvs", proxy_protocol_tlvs)?;
    report.refused("proxy_protocol_tlv_merge_policy", proxy_protocol_tlv_merge_policy)?;
    report.refused("upstream_connect_mode", upstream_connect_mode)?;
    report.ignored("downstream_idle_timeout", downstream_idle_timeout);
    report.ignored("upstream_idle_timeout", upstream_idle_timeout);
    report.ignored("access_log", access_log);
    report.ignored("backoff_options", backoff_options);
    let jitter = "max_downstream_connection_duration_jitter_percentage";
    report.ignored(jitter, max_downstream_connection_duration_jitter_percentage);
    report.ignored("access_log_flush_interval", access_log_flush_interval);
    report.ignored("flush_access_log_on_connected", flush_access_log_on_connected);
    report.ignored("access_log_options", access_log_options);
    report.ignored("max_early_data_bytes", max_early_data_bytes);
    report.ignored("check_drain_close", check_drain_close);

    let target = match report.required("cluster", cluster_specifier.as_ref())? {
        ClusterSpecifier::Cluster(name) if name.is_empty() => Err(Error::Missing { field: report.at("cluster") }),
        ClusterSpecifier::Cluster(name) => Ok(TcpTarget::Cluster(name.as_str().into())),
        ClusterSpecifier::WeightedClusters(wire) => report.within("weighted_clusters", |report| weighted(report, wire)),
    }?;
    let proxy = TcpProxy::to("");
    let max_duration = "max_downstream_connection_duration";
    let max_duration = optional_duration(report, max_duration, max_downstream_connection_duration.as_ref())?;
    if max_duration.is_some_and(|limit| limit < Duration::from_millis(1)) {
        return Err(report.invalid("max_downstream_connection_duration", "is below 1 ms"));
    }
    let max_connect_attempts = max_connect_attempts.map_or(proxy.max_connect_attempts, |attempts| attempts.value);
    if max_connect_attempts == 0 {
        return Err(report.invalid("max_connect_attempts", "is 0"));
    }
    Ok(TcpProxy {
        target,
        idle_timeout: match idle_timeout {
            Some(timeout) => Some(duration(report, "idle_timeout", timeout)?).filter(|timeout| !timeout.is_zero()),
            None => proxy.idle_timeout,
        },
        max_duration,
        max_connect_attempts,
        hash_source_ip: hashes_source_ip(report, hash_policy)?,
    })
}

fn weighted(report: &mut Report, wire: &WeightedCluster) -> Result<TcpTarget, Error> {
    let WeightedCluster { clusters } = wire;
    let targets = report.each("clusters", clusters, |report, wire| {
        let ClusterWeight { name, weight, metadata_match } = wire;
        report.refused("metadata_match", metadata_match)?;
        match (name.is_empty(), weight) {
            (true, _) => Err(Error::Missing { field: report.at("name") }),
            (_, 0) => Err(report.invalid("weight", "is 0")),
            (_, weight) => Ok(WeightedTarget { cluster: name.as_str().into(), weight: *weight }),
        }
    })?;
    let sum: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
    match u32::try_from(sum) {
        Ok(1..) => Ok(TcpTarget::Weighted(targets)),
        _ => Err(report.invalid("clusters", format_args!("weigh {sum} together"))),
    }
}

fn hashes_source_ip(report: &Report, policies: &[HashPolicy]) -> Result<bool, Error> {
    match policies {
        [] => Ok(false),
        [HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) }] => Ok(true),
        _ => Err(Error::Unsupported { field: report.at("hash_policy") }),
    }
}

pub(super) fn wire_tcp_proxy(proxy: &TcpProxy) -> wire::TcpProxy {
    let TcpProxy { target, idle_timeout, max_duration, max_connect_attempts, hash_source_ip } = proxy;
    let cluster = match target {
        TcpTarget::Cluster(name) => ClusterSpecifier::Cluster(name.to_string()),
        TcpTarget::Weighted(targets) => {
            let one = |target: &WeightedTarget| {
                let WeightedTarget { cluster, weight } = target;
                ClusterWeight { name: cluster.to_string(), weight: *weight, metadata_match: None }
            };
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: targets.iter().map(one).collect() })
        }
    };
    let source_ip = HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) };
    wire::TcpProxy {
        stat_prefix: STATISTICS.to_owned(),
        cluster_specifier: Some(cluster),
        idle_timeout: Some(span(idle_timeout.unwrap_or(Duration::ZERO))),
        max_downstream_connection_duration: max_duration.map(span),
        max_connect_attempts: Some(uint32(*max_connect_attempts)),
        hash_policy: hash_source_ip.then_some(source_ip).into_iter().collect(),
        ..wire::TcpProxy::default()
    }
}
