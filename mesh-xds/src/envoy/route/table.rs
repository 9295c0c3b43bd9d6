use envoy_types::pb::envoy::config::route::v3 as wire;
use http::HeaderName;
use mesh_core::route::{RouteConfig, RouteTable};
use prost::Message;

use super::cluster::{mirror, wire_mirror};
use super::filters::{overrides, wire_overrides};
use super::host::{host, wire_host};
use super::mutation::{Edits, edits, header_name};
use crate::envoy::error::{Decoded, Error, Report};
use crate::envoy::wire::{boolean, decode, uint32};

/// Largest body of a direct response where nothing else is said, in bytes.
const DIRECT_BODY: u32 = 4096;

/// Reads an `envoy.config.route.v3.RouteConfiguration`.
///
/// | field | how it is taken |
/// | --- | --- |
/// | **RouteConfiguration** `name`, `virtual_hosts`, the four lists of headers, `most_specific_header_mutations_wins` | honoured |
/// | `max_direct_response_body_size_bytes`, `request_mirror_policies`, `ignore_port_in_host_matching` | honoured |
/// | `vhost_header`, `ignore_path_parameters_in_path_matching`, `typed_per_filter_config` | honoured |
/// | `validate_clusters` | warning: a cluster may come after its routes, and until then there is none |
/// | `metadata` | warning |
/// | `cluster_specifier_plugins` | optional ones: warning; others: NACK |
/// | `vhds`, `internal_only_headers`, `route_specifiers` | NACK |
/// | **VirtualHost** `name`, `domains`, `routes`, `require_tls` NONE and ALL, the four lists of headers | honoured |
/// | `include_request_attempt_count`, `include_attempt_count_in_response`, `retry_policy`, `hedge_policy` | honoured |
/// | `request_body_buffer_limit`, the deprecated `per_request_buffer_limit_bytes`, `request_mirror_policies` | honoured |
/// | `typed_per_filter_config`; `rate_limits` where a filter asks the rate limit service | honoured |
/// | `virtual_clusters`, `include_is_timeout_retry_header`, `metadata` | warning |
/// | `require_tls` EXTERNAL_ONLY, `matcher`, `route_specifiers`, `retry_policy_typed_config`, the deprecated `cors` | NACK |
/// | no or an empty domain, a domain that stands there twice | NACK |
/// | **Route** `name`, `match`, `typed_per_filter_config`, the four lists of headers | honoured |
/// | `route`, `redirect`, `direct_response`, `non_forwarding_action` | honoured |
/// | `request_body_buffer_limit`, the deprecated `per_request_buffer_limit_bytes` | honoured |
/// | `metadata`, `decorator`, `tracing`, `stat_prefix` | warning |
/// | `filter_action`, `route_specifiers` | NACK |
///
/// # Errors
/// [`Error`], when it cannot be used; it names the field.
pub fn decode_route_table(bytes: &[u8]) -> Result<Decoded<RouteTable>, Error> {
    let wire = decode(bytes)?;
    let mut report = Report::default();
    let table = route_table(&mut report, &wire)?;
    Ok(report.finish(table))
}

/// Writes an `envoy.config.route.v3.RouteConfiguration`.
#[must_use]
pub fn encode_route_table(table: &RouteTable) -> Vec<u8> {
    wire_route_table(table).encode_to_vec()
}

/// Reads a table that stands in another resource.
pub(in crate::envoy) fn route_table(report: &mut Report, wire: &wire::RouteConfiguration) -> Result<RouteTable, Error> {
    let wire::RouteConfiguration {
        name,
        virtual_hosts,
        vhds,
        internal_only_headers,
        response_headers_to_add,
        response_headers_to_remove,
        request_headers_to_add,
        request_headers_to_remove,
        most_specific_header_mutations_wins,
        validate_clusters,
        max_direct_response_body_size_bytes,
        cluster_specifier_plugins,
        request_mirror_policies,
        ignore_port_in_host_matching,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        typed_per_filter_config,
        metadata,
        route_specifiers,
    } = wire;
    report.refused("vhds", vhds)?;
    report.refused("internal_only_headers", internal_only_headers)?;
    report.refused("route_specifiers", route_specifiers)?;
    report.ignored("validate_clusters", &validate_clusters.is_some_and(|validate| validate.value));
    report.ignored("metadata", metadata);
    report.each("cluster_specifier_plugins", cluster_specifier_plugins, plugin)?;
    let headers = Edits {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    let host_header = match vhost_header.as_str() {
        "" => None,
        name => Some(header_name(report, "vhost_header", name)?),
    };
    let largest_direct_body = max_direct_response_body_size_bytes.map(|bytes| bytes.value);
    let largest = largest_direct_body.unwrap_or(DIRECT_BODY);
    let config = RouteConfig {
        name: name.as_str().into(),
        headers: edits(report, &headers)?,
        most_specific_headers_win: *most_specific_header_mutations_wins,
        ignore_port: *ignore_port_in_host_matching,
        ignore_path_parameters: *ignore_path_parameters_in_path_matching,
        host_header,
        largest_direct_body,
        mirrors: report.each("request_mirror_policies", request_mirror_policies, mirror)?,
        filters: overrides(report, typed_per_filter_config)?,
        hosts: report.each("virtual_hosts", virtual_hosts, |report, wire| host(report, wire, largest))?,
    };
    RouteTable::new(config).map_err(|error| report.invalid("virtual_hosts", error))
}

pub(in crate::envoy) fn wire_route_table(table: &RouteTable) -> wire::RouteConfiguration {
    let RouteConfig {
        name,
        hosts,
        headers,
        most_specific_headers_win,
        ignore_port,
        ignore_path_parameters,
        host_header,
        largest_direct_body,
        mirrors,
        filters,
    } = table.config();
    let Edits { request_add, request_remove, response_add, response_remove } = Edits::from(headers);
    wire::RouteConfiguration {
        name: name.to_string(),
        virtual_hosts: hosts.iter().map(wire_host).collect(),
        request_headers_to_add: request_add,
        request_headers_to_remove: request_remove,
        response_headers_to_add: response_add,
        response_headers_to_remove: response_remove,
        most_specific_header_mutations_wins: *most_specific_headers_win,
        max_direct_response_body_size_bytes: largest_direct_body.map(uint32),
        request_mirror_policies: mirrors.iter().map(wire_mirror).collect(),
        ignore_port_in_host_matching: *ignore_port,
        vhost_header: host_header.as_ref().map(HeaderName::to_string).unwrap_or_default(),
        ignore_path_parameters_in_path_matching: *ignore_path_parameters,
        typed_per_filter_config: wire_overrides(filters),
        // Envoy looks for the clusters of a table that stands in a listener, and refuses both where one is missing; here one
        // may be missing, and what is answered then is said.
        validate_clusters: Some(boolean(false)),
        ..wire::RouteConfiguration::default()
    }
}

/// No plugin is known here. A route that needs one is refused itself.
fn plugin(report: &mut Report, wire: &wire::ClusterSpecifierPlugin) -> Result<(), Error> {
    let wire::ClusterSpecifierPlugin { extension, is_optional } = wire;
    if !is_optional {
        return Err(Error::Unsupported { field: report.at("extension") });
    }
    report.ignored("extension", extension);
    Ok(())
}
