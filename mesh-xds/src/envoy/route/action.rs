//! | field | how it is taken |
//! | --- | --- |
//! | **RouteAction** `cluster`, `cluster_header`, `weighted_clusters`, `cluster_not_found_response_code`, `metadata_match` | honoured |
//! | `prefix_rewrite`, `regex_rewrite`, `path_rewrite`, `append_x_forwarded_host` | honoured; more than one rewrite: NACK |
//! | `host_rewrite_literal`, `auto_host_rewrite`, `host_rewrite_header`, `host_rewrite_path_regex` | honoured |
//! | `timeout`, `idle_timeout`, `max_stream_duration`, the deprecated `max_grpc_timeout` and `grpc_timeout_offset` | honoured |
//! | `retry_policy`, `hedge_policy`, `hash_policy`, `request_mirror_policies`, `priority` | honoured |
//! | `rate_limits`, the deprecated `include_vh_rate_limits` | honoured where a filter asks the rate limit service |
//! | `upgrade_configs` | honoured without `connect_config`; with it, or one protocol twice: NACK |
//! | `flush_timeout`, `early_data_policy` | warning: there is no early data |
//! | `internal_redirect_policy` | warning: the client follows the redirect |
//! | `cluster_specifier_plugin`, `inline_cluster_specifier_plugin`, `path_rewrite_policy`, `host_rewrite` | NACK |
//! | `retry_policy_typed_config`, the deprecated `cors`, `internal_redirect_action`, `max_internal_redirects` | NACK |

use std::collections::HashSet;

use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode as NotFound, HostRewriteSpecifier, MaxStreamDuration, UpgradeConfig,
};
use envoy_types::pb::google::protobuf::Duration as Span;
use mesh_core::route::{
    Forward, GrpcTimeout, HostRewrite, MissingCluster, PathRewrite, Priority, StreamDuration, Upgrade,
};

use super::cluster::{cluster, mirror, subset, wire_cluster, wire_mirror, wire_subset};
use super::hash::{hash_policy, wire_hash_policy};
use super::mutation::template;
use super::rate_limit::{rate_limits_of_route, wire_rate_limit};
use super::retry::{hedge, retry, wire_hedge, wire_retry};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::field;
use crate::envoy::string_matcher::{substitution, wire_substitution};
use crate::envoy::wire::{boolean, duration, optional_duration, span};

pub(super) fn forward(report: &mut Report, wire: &wire::RouteAction) -> Result<Forward, Error> {
    let wire::RouteAction {
        cluster_not_found_response_code,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy,
        retry_policy_typed_config,
        request_mirror_policies,
        priority,
        rate_limits,
        include_vh_rate_limits,
        hash_policy: hash_policies,
        cors,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = wire;
    report.refused("path_rewrite_policy", path_rewrite_policy)?;
    report.refused("retry_policy_typed_config", retry_policy_typed_config)?;
    report.refused("cors", cors)?;
    report.refused("internal_redirect_action", internal_redirect_action)?;
    report.refused("max_internal_redirects", max_internal_redirects)?;
    report.ignored("flush_timeout", flush_timeout);
    report.ignored("early_data_policy", early_data_policy);
    report.ignored("internal_redirect_policy", internal_redirect_policy);
    let path = PathFields { prefix: prefix_rewrite, regex: regex_rewrite.as_ref(), whole: path_rewrite };
    Ok(Forward {
        cluster: cluster(report, cluster_specifier.as_ref())?,
        missing: missing(report, *cluster_not_found_response_code)?,
        subset: subset(report, metadata_match.as_ref())?,
        path: path_of(report, &path)?,
        host: host(report, host_rewrite_specifier.as_ref())?,
        append_forwarded_host: *append_x_forwarded_host,
        timeout: optional_duration(report, "timeout", timeout.as_ref())?,
        grpc_timeout: grpc_timeout(report, max_grpc_timeout.as_ref(), grpc_timeout_offset.as_ref())?,
        idle_timeout: optional_duration(report, "idle_timeout", idle_timeout.as_ref())?,
        stream_duration: report.optional("max_stream_duration", max_stream_duration.as_ref(), stream_duration)?,
        retry: report.optional("retry_policy", retry_policy.as_ref(), retry)?,
        hedge: report.optional("hedge_policy", hedge_policy.as_ref(), hedge)?,
        hash: report.each("hash_policy", hash_policies, hash_policy)?.into_iter().flatten().collect(),
        mirrors: report.each("request_mirror_policies", request_mirror_policies, mirror)?,
        priority: priority_of(report, *priority)?,
        rate_limits: rate_limits_of_route(report, rate_limits)?,
        include_host_rate_limits: include_vh_rate_limits.is_some_and(|include| include.value),
        upgrades: upgrades(report, upgrade_configs)?,
    })
}

pub(super) fn wire_forward(forward: &Forward) -> wire::RouteAction {
    let Forward {
        cluster,
        missing,
        subset,
        path,
        host,
        append_forwarded_host,
        timeout,
        grpc_timeout,
        idle_timeout,
        stream_duration,
        retry,
        hedge,
        hash,
        mirrors,
        priority,
        rate_limits,
        include_host_rate_limits,
        upgrades,
    } = forward;
    let not_found = match missing {
        MissingCluster::ServiceUnavailable => NotFound::ServiceUnavailable,
        MissingCluster::NotFound => NotFound::NotFound,
        MissingCluster::InternalServerError => NotFound::InternalServerError,
    };
    let priority = match priority {
        Priority::Default => RoutingPriority::Default,
        Priority::High => RoutingPriority::High,
    };
    let mut wire = wire::RouteAction {
        cluster_not_found_response_code: not_found.into(),
        metadata_match: wire_subset(subset),
        append_x_forwarded_host: *append_forwarded_host,
        timeout: timeout.map(span),
        idle_timeout: idle_timeout.map(span),
        retry_policy: retry.as_ref().map(wire_retry),
        request_mirror_policies: mirrors.iter().map(wire_mirror).collect(),
        priority: priority.into(),
        rate_limits: rate_limits.iter().map(wire_rate_limit).collect(),
        include_vh_rate_limits: include_host_rate_limits.then(|| boolean(true)),
        hash_policy: hash.iter().map(wire_hash_policy).collect(),
        max_grpc_timeout: grpc_timeout.map(|timeout| span(timeout.max)),
        grpc_timeout_offset: grpc_timeout.and_then(|timeout| timeout.offset).map(span),
        upgrade_configs: upgrades.iter().map(wire_upgrade).collect(),
        hedge_policy: hedge.map(wire_hedge),
        max_stream_duration: stream_duration.map(wire_stream_duration),
        cluster_specifier: Some(wire_cluster(cluster)),
        host_rewrite_specifier: host.as_ref().map(wire_host),
        ..wire::RouteAction::default()
    };
    match path {
        None => {}
        Some(PathRewrite::Prefix(prefix)) => wire.prefix_rewrite = prefix.to_string(),
        Some(PathRewrite::Substitute(substitution)) => wire.regex_rewrite = Some(wire_substitution(substitution)),
        Some(PathRewrite::Whole(template)) => wire.path_rewrite = template.as_str().to_owned(),
    }
    wire
}

fn missing(report: &Report, number: i32) -> Result<MissingCluster, Error> {
    match NotFound::try_from(number) {
        Ok(NotFound::ServiceUnavailable) => Ok(MissingCluster::ServiceUnavailable),
        Ok(NotFound::NotFound) => Ok(MissingCluster::NotFound),
        Ok(NotFound::InternalServerError) => Ok(MissingCluster::InternalServerError),
        Err(_) => Err(report.invalid("cluster_not_found_response_code", format_args!("{number} is not known"))),
    }
}

fn priority_of(report: &Report, number: i32) -> Result<Priority, Error> {
    match RoutingPriority::try_from(number) {
        Ok(RoutingPriority::Default) => Ok(Priority::Default),
        Ok(RoutingPriority::High) => Ok(Priority::High),
        Err(_) => Err(report.invalid("priority", format_args!("{number} is not known"))),
    }
}

/// The rewrites of a path, of which there may be one.
struct PathFields<'w> {
    prefix: &'w str,
    regex: Option<&'w envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute>,
    whole: &'w str,
}

fn path_of(report: &mut Report, wire: &PathFields<'_>) -> Result<Option<PathRewrite>, Error> {
    match wire {
        PathFields { prefix: "", regex: None, whole: "" } => Ok(None),
        PathFields { prefix, regex: None, whole: "" } => Ok(Some(PathRewrite::Prefix((*prefix).into()))),
        PathFields { prefix: "", regex: Some(regex), whole: "" } => {
            let rewrite = report.within("regex_rewrite", |report| substitution(report, regex))?;
            Ok(Some(PathRewrite::Substitute(rewrite)))
        }
        PathFields { prefix: "", regex: None, whole } => {
            Ok(Some(PathRewrite::Whole(template(report, "path_rewrite", whole)?)))
        }
        _ => Err(report.invalid("path_rewrite", "stands beside another rewrite of the path")),
    }
}

fn host(report: &mut Report, specifier: Option<&HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Error> {
    match specifier {
        None => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if host.is_empty() => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Ok(Some(HostRewrite::Literal(host.as_str().into()))),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => Ok(auto.value.then_some(HostRewrite::Upstream)),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) if name.is_empty() => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            Ok(Some(HostRewrite::Header(field(report, "host_rewrite_header", name)?)))
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(wire)) => {
            let rewrite = report.within("host_rewrite_path_regex", |report| substitution(report, wire))?;
            Ok(Some(HostRewrite::Path(rewrite)))
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => Err(Error::Unsupported { field: report.at("host_rewrite") }),
    }
}

fn wire_host(host: &HostRewrite) -> HostRewriteSpecifier {
    match host {
        HostRewrite::Literal(host) => HostRewriteSpecifier::HostRewriteLiteral(host.to_string()),
        HostRewrite::Upstream => HostRewriteSpecifier::AutoHostRewrite(boolean(true)),
        HostRewrite::Header(name) => HostRewriteSpecifier::HostRewriteHeader(name.to_string()),
        HostRewrite::Path(rewrite) => HostRewriteSpecifier::HostRewritePathRegex(wire_substitution(rewrite)),
    }
}

/// An offset alone has no effect, in Envoy neither.
fn grpc_timeout(report: &mut Report, max: Option<&Span>, offset: Option<&Span>) -> Result<Option<GrpcTimeout>, Error> {
    let offset = optional_duration(report, "grpc_timeout_offset", offset)?;
    let Some(max) = max else {
        report.ignored("grpc_timeout_offset", &offset);
        return Ok(None);
    };
    Ok(Some(GrpcTimeout { max: duration(report, "max_grpc_timeout", max)?, offset }))
}

fn stream_duration(report: &mut Report, wire: &MaxStreamDuration) -> Result<StreamDuration, Error> {
    let MaxStreamDuration { max_stream_duration, grpc_timeout_header_max, grpc_timeout_header_offset } = wire;
    Ok(StreamDuration {
        max: optional_duration(report, "max_stream_duration", max_stream_duration.as_ref())?,
        grpc_max: optional_duration(report, "grpc_timeout_header_max", grpc_timeout_header_max.as_ref())?,
        grpc_offset: optional_duration(report, "grpc_timeout_header_offset", grpc_timeout_header_offset.as_ref())?,
    })
}

fn wire_stream_duration(duration: StreamDuration) -> MaxStreamDuration {
    let StreamDuration { max, grpc_max, grpc_offset } = duration;
    MaxStreamDuration {
        max_stream_duration: max.map(span),
        grpc_timeout_header_max: grpc_max.map(span),
        grpc_timeout_header_offset: grpc_offset.map(span),
    }
}

fn upgrades(report: &mut Report, wire: &[UpgradeConfig]) -> Result<Vec<Upgrade>, Error> {
    let mut seen = HashSet::new();
    report.each("upgrade_configs", wire, |report, wire| {
        let UpgradeConfig { upgrade_type, enabled, connect_config } = wire;
        report.refused("connect_config", connect_config)?;
        let protocol = report.named("upgrade_type", upgrade_type)?;
        if !seen.insert(upgrade_type.to_ascii_lowercase()) {
            return Err(report.invalid("upgrade_type", format_args!("`{protocol}` stands there twice")));
        }
        Ok(Upgrade { protocol, enabled: enabled.is_none_or(|enabled| enabled.value) })
    })
}

fn wire_upgrade(upgrade: &Upgrade) -> UpgradeConfig {
    let Upgrade { protocol, enabled } = upgrade;
    UpgradeConfig { upgrade_type: protocol.to_string(), enabled: Some(boolean(*enabled)), connect_config: None }
}
