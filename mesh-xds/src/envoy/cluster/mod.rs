//! `Cluster` ↔ [`mesh_core::balance::Cluster`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **Cluster** `name`, `connect_timeout`, `max_requests_per_connection` | honoured |
//! | `type`, `eds_cluster_config`, `load_assignment` | honoured; `eds_config` must be the same server; a logical DNS cluster has one host |
//! | `cluster_type` | the aggregate cluster is honoured; any other: NACK |
//! | `dns_lookup_family`, `dns_refresh_rate`, `respect_dns_ttl` | honoured |
//! | `dns_resolvers`, `dns_resolution_config` | NACK; `typed_dns_resolver_config` too where DNS is asked, else warning |
//! | `dns_jitter`, `dns_failure_refresh_rate`, `use_tcp_for_dns_lookups` | warning |
//! | `load_balancing_policy`: round robin, least request, random, ring hash, Maglev, pick first, cluster provided, wrr locality, subset | honoured: the first supported one; none supported: NACK |
//! | `lb_policy`, `lb_config` | honoured without `load_balancing_policy`; unknown: NACK; settings of another policy: warning |
//! | of these: weights of localities, zone-aware routing | honoured |
//! | of these: `runtime_key` | warning: there is no runtime |
//! | of these: `hash_policy`, ring above 8,388,608, table that is not prime or above 5,000,011, `choice_count` below 2, `hash_balance_factor` below 100 | NACK |
//! | `original_dst_lb_config` | NACK |
//! | `common_lb_config`: `healthy_panic_threshold` (rounded), `locality_weighted_lb_config`, `zone_aware_lb_config`, `consistent_hashing_lb_config`, `ignore_new_hosts_until_first_hc` | honoured |
//! | `common_lb_config`: the rest | warning |
//! | `lb_subset_config` | honoured without `load_balancing_policy`, else warning; without selectors there are no subsets |
//! | of it and of the subset policy: `metadata_fallback_policy`, subsets of subsets, values that are lists or structures | NACK |
//! | `health_checks` HTTP, TCP, gRPC | honoured; custom ones, `transport_socket_match_criteria`, HTTP/3, formats in headers, a body with a method that has none: NACK; logs and events, `append_action`: warning |
//! | `outlier_detection` | honoured; `monitors`, `detect_degraded_hosts`: warning; `max_ejection_time` below the base, percentages above 100: NACK |
//! | `circuit_breakers` | honoured, the first of a priority; `track_remaining`, `max_connection_pools`, limits per host other than connections: warning |
//! | `typed_extension_protocol_options` HTTP/1, HTTP/2, auto, downstream, `max_requests_per_connection` | honoured; HTTP/3 alone, `auto_sni`, `auto_san_validation`, filters, `hash_policy`, `outlier_detection`: NACK; other settings and other protocols: warning |
//! | `protocol_selection`, `http2_protocol_options`, `common_http_protocol_options`, `http_protocol_options` | as above, where the typed ones are absent |
//! | `upstream_http_protocol_options` | NACK |
//! | `transport_socket`, `transport_socket_matches` | honoured ([`tls`](super::tls)); values of a match that are no text: NACK |
//! | `transport_socket` of type `InternalUpstreamTransport` | honoured: endpoints may be behind tunnels ([`endpoint`](super::endpoint)); what it passes on is for Envoy |
//! | `transport_socket_matcher`, `upstream_bind_config`, `upstream_config`, `filters`, `connection_pool_per_downstream_connection` | NACK: traffic would go out otherwise than asked for |
//! | `ignore_health_on_host_removal` | as if set: an endpoint that is removed takes no new requests |
//! | a static cluster whose one endpoint is the internal listener `connect_originate`, without saying where it is | honoured: a tunnel to where the connection was meant for; `workloads` of the metadata `mesh.tunnel` are who may be at its end, by address |
//! | `metadata` otherwise | for others |
//! | `alt_stat_name`, `stats_matcher`, `per_connection_buffer_*`, `wait_for_warm_on_init`, `cleanup_interval`, `upstream_connection_options`, `close_connections_on_host_health_failure`, `lrs_server`, `lrs_report_endpoint_metrics`, `track_*`, `preconnect_policy`, `queuing_policies` | warning |

mod circuit;
mod discovery;
mod health_check;
mod legacy;
mod locality;
mod number;
mod outlier;
mod policy;
mod protocol;
mod subset;
mod tunnel;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster as WireCluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, ClusterProtocolSelection, CommonLbConfig, DiscoveryType, LbConfig, TransportSocketMatch,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mesh_core::balance::{Cluster, Hashing, HttpProtocol, Localities, TransportMatch};
use mesh_core::name::Text;
use mesh_core::tls::UpstreamTls;
use prost::Message;

use self::number::percent;
use self::policy::Chosen;
use super::endpoint::texts;
use super::error::{Decoded, Error, Report};
use super::tls::{upstream_socket, wire_plaintext_socket, wire_upstream_socket};
use super::wire::{decode, duration, span};

/// Reads a `Cluster`.
///
/// # Errors
///
/// The resource is rejected as the table of this module says.
pub fn decode_cluster(bytes: &[u8]) -> Result<Decoded<Cluster>, Error> {
    let mut report = Report::default();
    let value = cluster(&mut report, &decode(bytes)?)?;
    Ok(report.finish(value))
}

/// Writes a `Cluster`.
#[must_use]
pub fn encode_cluster(cluster: &Cluster) -> Vec<u8> {
    wire_cluster(cluster).encode_to_vec()
}

fn cluster(report: &mut Report, message: &WireCluster) -> Result<Cluster, Error> {
    let WireCluster {
        transport_socket_matches,
        transport_socket_matcher,
        name,
        alt_stat_name,
        stats_matcher,
        // Read by `discovery`.
        eds_cluster_config: _,
        connect_timeout,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        lb_policy,
        load_assignment: _,
        health_checks,
        max_requests_per_connection,
        circuit_breakers,
        upstream_http_protocol_options,
        common_http_protocol_options,
        http_protocol_options,
        http2_protocol_options,
        typed_extension_protocol_options,
        dns_refresh_rate: _,
        dns_jitter,
        dns_failure_refresh_rate,
        respect_dns_ttl: _,
        dns_lookup_family: _,
        dns_resolvers,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        wait_for_warm_on_init,
        outlier_detection,
        cleanup_interval,
        upstream_bind_config,
        lb_subset_config,
        common_lb_config,
        transport_socket,
        // Read by `discovery` too.
        metadata: _,
        protocol_selection,
        upstream_connection_options,
        close_connections_on_host_health_failure,
        // As if set: an endpoint that is removed takes no new requests.
        ignore_health_on_host_removal: _,
        filters,
        load_balancing_policy,
        lrs_server,
        lrs_report_endpoint_metrics,
        track_timeout_budgets,
        upstream_config,
        track_cluster_stats,
        preconnect_policy,
        connection_pool_per_downstream_connection,
        queuing_policies,
        cluster_discovery_type,
        lb_config,
    } = message;
    if name.is_empty() {
        return Err(Error::Missing { field: report.at("name") });
    }
    report.refused("transport_socket_matcher", &transport_socket_matcher.is_some())?;
    report.refused("upstream_http_protocol_options", upstream_http_protocol_options)?;
    report.refused("dns_resolvers", dns_resolvers)?;
    report.refused("dns_resolution_config", dns_resolution_config)?;
    report.refused("upstream_bind_config", upstream_bind_config)?;
    report.refused("filters", filters)?;
    report.refused("upstream_config", upstream_config)?;
    report.refused("connection_pool_per_downstream_connection", connection_pool_per_downstream_connection)?;
    report.ignored("alt_stat_name", alt_stat_name);
    report.ignored("stats_matcher", &stats_matcher.is_some());
    report.ignored("per_connection_buffer_limit_bytes", per_connection_buffer_limit_bytes);
    report.ignored("per_connection_buffer_high_watermark_timeout", per_connection_buffer_high_watermark_timeout);
    report.ignored("dns_jitter", dns_jitter);
    report.ignored("dns_failure_refresh_rate", dns_failure_refresh_rate);
    report.ignored("use_tcp_for_dns_lookups", use_tcp_for_dns_lookups);
    if !asks_dns(cluster_discovery_type.as_ref()) {
        report.ignored("typed_dns_resolver_config", typed_dns_resolver_config);
    }
    report.ignored("wait_for_warm_on_init", wait_for_warm_on_init);
    report.ignored("cleanup_interval", cleanup_interval);
    report.ignored("upstream_connection_options", upstream_connection_options);
    report.ignored("close_connections_on_host_health_failure", close_connections_on_host_health_failure);
    report.ignored("lrs_server", &lrs_server.is_some());
    report.ignored("lrs_report_endpoint_metrics", lrs_report_endpoint_metrics);
    report.ignored("track_timeout_budgets", track_timeout_budgets);
    report.ignored("track_cluster_stats", track_cluster_stats);
    report.ignored("preconnect_policy", &preconnect_policy.is_some());
    report.ignored("queuing_policies", &queuing_policies.is_some());

    let mut cluster = Cluster::new(name.as_str(), discovery::discovery(report, message)?);
    if let Some(timeout) = connect_timeout {
        cluster.connect_timeout = duration(report, "connect_timeout", timeout)?;
        if cluster.connect_timeout.is_zero() {
            return Err(report.invalid("connect_timeout", "must not be 0"));
        }
    }
    let common_lb_config = common_lb_config.clone().unwrap_or_default();
    let common = report.within("common_lb_config", |report| common_lb(report, &common_lb_config, &mut cluster))?;
    let chosen = match load_balancing_policy {
        Some(list) => {
            report.ignored("lb_config", &lb_config.is_some());
            report.ignored("lb_subset_config", &lb_subset_config.is_some());
            report.within("load_balancing_policy", |report| policy::policy(report, list, 1))?
        }
        None => {
            if matches!(lb_config, Some(LbConfig::OriginalDstLbConfig(_))) {
                return Err(Error::Unsupported { field: report.at("original_dst_lb_config") });
            }
            let subsets = report.optional("lb_subset_config", lb_subset_config.as_ref(), subset::legacy_subsets)?;
            let policy = legacy::policy(report, *lb_policy, lb_config.as_ref(), common.hashing)?;
            Chosen { policy, localities: None, subsets: subsets.flatten() }
        }
    };
    cluster.policy = chosen.policy;
    cluster.localities = chosen.localities.or(common.localities).unwrap_or_default();
    cluster.subsets = chosen.subsets;
    cluster.health_checks = report.each("health_checks", health_checks, health_check::health_check)?;
    if let Some(message) = outlier_detection {
        let settings = report.within("outlier_detection", |report| outlier::outlier(report, message))?;
        cluster.outlier = Some(settings);
    }
    if let Some(message) = circuit_breakers {
        cluster.circuit = report.within("circuit_breakers", |report| circuit::circuit(report, message))?;
    }
    let spoken = protocol::protocol(report, typed_extension_protocol_options)?;
    let (protocol, max_requests) = match spoken {
        Some(spoken) => {
            report.ignored("common_http_protocol_options", common_http_protocol_options);
            report.ignored("http_protocol_options", http_protocol_options);
            report.ignored("http2_protocol_options", http2_protocol_options);
            report.ignored("protocol_selection", protocol_selection);
            spoken
        }
        None => {
            let max_requests = protocol::common(report, common_http_protocol_options.as_ref())?;
            report.ignored("http_protocol_options", &http_protocol_options.clone().unwrap_or_default());
            report.ignored("http2_protocol_options", &http2_protocol_options.clone().unwrap_or_default());
            let downstream = *protocol_selection == i32::from(ClusterProtocolSelection::UseDownstreamProtocol);
            let protocol = match (downstream, http2_protocol_options) {
                (true, _) => HttpProtocol::Downstream,
                (false, Some(_)) => HttpProtocol::Http2,
                (false, None) => HttpProtocol::Http1,
            };
            (protocol, max_requests)
        }
    };
    cluster.protocol = protocol;
    cluster.max_requests_per_connection = max_requests.or_else(|| protocol::max_requests(*max_requests_per_connection));
    if let Some(socket) = transport_socket {
        (cluster.tls, cluster.tunnels) = report.within("transport_socket", |report| tunnel::socket(report, socket))?;
    }
    cluster.transport_matches = report.each("transport_socket_matches", transport_socket_matches, transport_match)?;
    Ok(cluster)
}

fn wire_cluster(cluster: &Cluster) -> WireCluster {
    let Cluster {
        name,
        discovery,
        connect_timeout,
        // With the next two, written by `wire_policy`: Envoy refuses a cluster that says beside the policy what localities are.
        policy: _,
        localities: _,
        subsets: _,
        panic_threshold,
        ignore_unchecked,
        outlier,
        circuit,
        health_checks,
        protocol,
        max_requests_per_connection,
        tls,
        transport_matches,
        tunnels,
    } = cluster;
    let socket = tls.as_ref().map(wire_upstream_socket);
    let common = CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: f64::from(*panic_threshold) }),
        ignore_new_hosts_until_first_hc: *ignore_unchecked,
        ..CommonLbConfig::default()
    };
    let mut message = WireCluster {
        name: name.to_string(),
        connect_timeout: Some(span(*connect_timeout)),
        load_balancing_policy: Some(policy::wire_policy(cluster)),
        common_lb_config: Some(common),
        outlier_detection: outlier.as_ref().map(outlier::wire_outlier),
        circuit_breakers: Some(circuit::wire_circuit(circuit)),
        health_checks: health_checks.iter().map(health_check::wire_health_check).collect(),
        typed_extension_protocol_options: protocol::wire_protocol((*protocol, *max_requests_per_connection)),
        transport_socket: if *tunnels { Some(tunnel::wire_socket(socket)) } else { socket },
        transport_socket_matches: transport_matches.iter().map(wire_match).collect(),
        ..WireCluster::default()
    };
    discovery::wire_discovery(discovery, &mut message);
    message
}

fn asks_dns(kind: Option<&ClusterDiscoveryType>) -> bool {
    let dns = [DiscoveryType::StrictDns, DiscoveryType::LogicalDns].map(i32::from);
    matches!(kind, Some(ClusterDiscoveryType::Type(kind)) if dns.contains(kind))
}

/// What stands beside `lb_policy` and may be overruled by `load_balancing_policy`.
struct Common {
    hashing: Hashing,
    localities: Option<Localities>,
}

fn common_lb(report: &mut Report, config: &CommonLbConfig, cluster: &mut Cluster) -> Result<Common, Error> {
    let CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config,
        override_host_status,
        locality_config_specifier,
    } = config;
    report.ignored("update_merge_window", update_merge_window);
    report.ignored("close_connections_on_host_set_change", close_connections_on_host_set_change);
    report.ignored("override_host_status", override_host_status);
    if let Some(threshold) = percent(report, "healthy_panic_threshold", *healthy_panic_threshold)? {
        // From 0 to 100, rounded as in Envoy.
        cluster.panic_threshold = threshold.round() as u32;
    }
    cluster.ignore_unchecked = *ignore_new_hosts_until_first_hc;
    Ok(Common {
        hashing: legacy::hashing(report, consistent_hashing_lb_config.as_ref())?,
        localities: locality::legacy_localities(report, locality_config_specifier.as_ref())?,
    })
}

fn transport_match(report: &mut Report, message: &TransportSocketMatch) -> Result<TransportMatch, Error> {
    let TransportSocketMatch { name, r#match, transport_socket } = message;
    let socket = report.required("transport_socket", transport_socket.as_ref())?;
    let tls: Option<UpstreamTls> = report.within("transport_socket", |report| upstream_socket(report, socket))?;
    let mut labels = BTreeMap::new();
    for (key, Value { kind }) in r#match.iter().flat_map(|Struct { fields }| fields) {
        let Some(Kind::StringValue(text)) = kind else {
            return Err(Error::Unsupported { field: report.at(format_args!("match[{key}]")) });
        };
        labels.insert(Text::from(key.as_str()), Text::from(text.as_str()));
    }
    Ok(TransportMatch { name: name.as_str().into(), labels, tls })
}

fn wire_match(transport: &TransportMatch) -> TransportSocketMatch {
    let TransportMatch { name, labels, tls } = transport;
    TransportSocketMatch {
        name: name.to_string(),
        r#match: Some(texts(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))),
        transport_socket: Some(tls.as_ref().map_or_else(wire_plaintext_socket, wire_upstream_socket)),
    }
}

#[cfg(test)]
mod tests;
