//! | field | how it is taken |
//! | --- | --- |
//! | **WeightedCluster** `clusters`, `header_name`, `use_hash_policy` | honoured; weights whose sum is zero or does not fit 32 bits: NACK |
//! | the deprecated `total_weight` | NACK where it is not the sum |
//! | `runtime_key_prefix` | warning: there is no runtime that could hold weights |
//! | **ClusterWeight** all of it | honoured; both or neither of `name` and `cluster_header`: NACK |
//! | **RequestMirrorPolicy** `cluster`, `cluster_header`, `runtime_fraction`, `disable_shadow_host_suffix_append`, `host_rewrite_literal` | honoured |
//! | `trace_sampled` | warning |
//! | `request_headers_mutations` | NACK: they may take away what the copy's receiver must not see |
//! | **Metadata** `envoy.lb` with booleans, numbers and texts | honoured; other values and typed `envoy.lb`: NACK |
//! | other names | warning |

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, RequestMirrorPolicy};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::{ClusterWeight, RandomValueSpecifier};
use mesh_core::name::Text;
use mesh_core::route::{ClusterChoice, ClusterName, Mirror, Subset, WeightedChoice, WeightedCluster, WeightedClusters};

use super::filters::{overrides, wire_overrides};
use super::matcher::{fraction, wire_fraction};
use super::mutation::{Edits, edits, header_name};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::field;
use crate::envoy::metadata;
use crate::envoy::wire::{boolean, uint32};

/// Name of the metadata that endpoints are chosen by.
const LB: &str = "envoy.lb";

pub(super) fn cluster(report: &mut Report, wire: Option<&ClusterSpecifier>) -> Result<ClusterChoice, Error> {
    match report.required("cluster_specifier", wire)? {
        ClusterSpecifier::Cluster(name) => report.named("cluster", name).map(ClusterChoice::Named),
        ClusterSpecifier::ClusterHeader(name) => field(report, "cluster_header", name).map(ClusterChoice::Header),
        ClusterSpecifier::WeightedClusters(wire) => {
            report.within("weighted_clusters", |report| weighted(report, wire)).map(ClusterChoice::Weighted)
        }
        ClusterSpecifier::ClusterSpecifierPlugin(_) => {
            Err(Error::Unsupported { field: report.at("cluster_specifier_plugin") })
        }
        ClusterSpecifier::InlineClusterSpecifierPlugin(_) => {
            Err(Error::Unsupported { field: report.at("inline_cluster_specifier_plugin") })
        }
    }
}

pub(super) fn wire_cluster(cluster: &ClusterChoice) -> ClusterSpecifier {
    match cluster {
        ClusterChoice::Named(name) => ClusterSpecifier::Cluster(name.to_string()),
        ClusterChoice::Header(name) => ClusterSpecifier::ClusterHeader(name.to_string()),
        ClusterChoice::Weighted(clusters) => ClusterSpecifier::WeightedClusters(wire_weighted(clusters)),
    }
}

fn weighted(report: &mut Report, wire: &wire::WeightedCluster) -> Result<WeightedClusters, Error> {
    let wire::WeightedCluster { clusters, total_weight, runtime_key_prefix, random_value_specifier } = wire;
    report.ignored("runtime_key_prefix", runtime_key_prefix);
    let clusters = report.each("clusters", clusters, cluster_weight)?;
    let sum: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if sum == 0 || u32::try_from(sum).is_err() {
        return Err(report.invalid("clusters", format_args!("the sum of the weights is {sum}")));
    }
    if total_weight.is_some_and(|total| u64::from(total.value) != sum) {
        return Err(report.invalid("total_weight", format_args!("the sum of the weights is {sum}")));
    }
    let choice = match random_value_specifier {
        Some(RandomValueSpecifier::HeaderName(name)) => {
            WeightedChoice::Header(header_name(report, "header_name", name)?)
        }
        Some(RandomValueSpecifier::UseHashPolicy(hash)) if hash.value => WeightedChoice::Hash,
        Some(RandomValueSpecifier::UseHashPolicy(_)) | None => WeightedChoice::Random,
    };
    Ok(WeightedClusters { clusters, choice })
}

fn wire_weighted(clusters: &WeightedClusters) -> wire::WeightedCluster {
    let WeightedClusters { clusters, choice } = clusters;
    let specifier = match choice {
        WeightedChoice::Random => None,
        WeightedChoice::Header(name) => Some(RandomValueSpecifier::HeaderName(name.to_string())),
        WeightedChoice::Hash => Some(RandomValueSpecifier::UseHashPolicy(boolean(true))),
    };
    wire::WeightedCluster {
        clusters: clusters.iter().map(wire_cluster_weight).collect(),
        random_value_specifier: specifier,
        ..wire::WeightedCluster::default()
    }
}

fn cluster_weight(report: &mut Report, wire: &ClusterWeight) -> Result<WeightedCluster, Error> {
    let ClusterWeight {
        name,
        cluster_header,
        weight,
        metadata_match,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config,
        host_rewrite_specifier,
    } = wire;
    let headers = Edits {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    let host = host_rewrite_specifier.as_ref().map(|HostRewriteSpecifier::HostRewriteLiteral(host)| host.as_str());
    Ok(WeightedCluster {
        cluster: cluster_name(report, "name", name, cluster_header)?,
        weight: weight.map_or(0, |weight| weight.value),
        subset: subset(report, metadata_match.as_ref())?,
        headers: edits(report, &headers)?,
        host: host.filter(|host| !host.is_empty()).map(Text::from),
        filters: overrides(report, typed_per_filter_config)?,
    })
}

fn wire_cluster_weight(cluster: &WeightedCluster) -> ClusterWeight {
    let WeightedCluster { cluster, weight, subset, headers, host, filters } = cluster;
    let Edits { request_add, request_remove, response_add, response_remove } = Edits::from(headers);
    let (name, cluster_header) = wire_cluster_name(cluster);
    ClusterWeight {
        name,
        cluster_header,
        weight: Some(uint32(*weight)),
        metadata_match: wire_subset(subset),
        request_headers_to_add: request_add,
        request_headers_to_remove: request_remove,
        response_headers_to_add: response_add,
        response_headers_to_remove: response_remove,
        typed_per_filter_config: wire_overrides(filters),
        host_rewrite_specifier: host.as_ref().map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_string())),
    }
}

/// Exactly one of a name, in the field `named`, and the header that holds one.
fn cluster_name(report: &Report, named: &str, name: &str, header: &str) -> Result<ClusterName, Error> {
    match (name, header) {
        ("", "") => Err(Error::Missing { field: report.at(named) }),
        (name, "") => Ok(ClusterName::Named(name.into())),
        ("", header) => field(report, "cluster_header", header).map(ClusterName::Header),
        _ => Err(report.invalid("cluster_header", format_args!("stands beside `{named}`"))),
    }
}

fn wire_cluster_name(cluster: &ClusterName) -> (String, String) {
    match cluster {
        ClusterName::Named(name) => (name.to_string(), String::new()),
        ClusterName::Header(name) => (String::new(), name.to_string()),
    }
}

pub(super) fn mirror(report: &mut Report, wire: &RequestMirrorPolicy) -> Result<Mirror, Error> {
    let RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction,
        trace_sampled,
        disable_shadow_host_suffix_append,
        request_headers_mutations,
        host_rewrite_literal,
    } = wire;
    report.refused("request_headers_mutations", request_headers_mutations)?;
    report.ignored("trace_sampled", trace_sampled);
    Ok(Mirror {
        cluster: cluster_name(report, "cluster", cluster, cluster_header)?,
        fraction: report.optional("runtime_fraction", runtime_fraction.as_ref(), fraction)?,
        keep_host: *disable_shadow_host_suffix_append,
        host: Some(host_rewrite_literal.as_str()).filter(|host| !host.is_empty()).map(Text::from),
    })
}

pub(super) fn wire_mirror(mirror: &Mirror) -> RequestMirrorPolicy {
    let Mirror { cluster, fraction, keep_host, host } = mirror;
    let (cluster, cluster_header) = wire_cluster_name(cluster);
    RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction: fraction.map(wire_fraction),
        disable_shadow_host_suffix_append: *keep_host,
        host_rewrite_literal: host.as_ref().map(Text::to_string).unwrap_or_default(),
        ..RequestMirrorPolicy::default()
    }
}

pub(super) fn subset(report: &mut Report, wire: Option<&Metadata>) -> Result<Subset, Error> {
    report.optional("metadata_match", wire, balancing).map(Option::unwrap_or_default)
}

fn balancing(report: &mut Report, wire: &Metadata) -> Result<Subset, Error> {
    let Metadata { filter_metadata, typed_filter_metadata } = wire;
    // Where a name stands in both, the typed one counts.
    report.refused("typed_filter_metadata", &typed_filter_metadata.contains_key(LB))?;
    report.ignored("typed_filter_metadata", &!typed_filter_metadata.is_empty());
    report.ignored("filter_metadata", &filter_metadata.keys().any(|name| name != LB));
    let Some(fields) = filter_metadata.get(LB) else { return Ok(Subset::new()) };
    metadata::subset(report, &format!("filter_metadata[{LB}]"), fields)
}

pub(super) fn wire_subset(subset: &Subset) -> Option<Metadata> {
    if subset.is_empty() {
        return None;
    }
    Some(Metadata { filter_metadata: [(LB.to_owned(), metadata::wire_subset(subset))].into(), ..Metadata::default() })
}
