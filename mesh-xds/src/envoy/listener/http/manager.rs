//! | field of **HttpConnectionManager** | how it is taken |
//! | --- | --- |
//! | `codec_type`, `rds`, `route_config`, `http_filters`, `upgrade_configs` | honoured; HTTP/3, `scoped_routes`, filters of an upgrade: NACK |
//! | `common_http_protocol_options`, `http_protocol_options`, `http2_protocol_options` | see there |
//! | `stream_idle_timeout`, `request_timeout`, `request_headers_timeout`, `drain_timeout`, `delayed_close_timeout` | honoured |
//! | `max_request_headers_kb`, `use_remote_address`, `xff_num_trusted_hops`, `skip_xff_append` | honoured |
//! | `normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action` | honoured |
//! | `strip_matching_host_port`, `strip_any_host_port`, `strip_trailing_host_dot` | honoured |
//! | `forward_client_cert_details`, `set_current_client_cert_details`, `server_name`, `server_header_transformation` | honoured |
//! | `generate_request_id` | honoured |
//! | `stat_prefix` | without effect: Envoy wants one |
//! | `original_ip_detection_extensions`, `early_header_mutation_extensions`, `forward_client_cert_matcher` | NACK |
//! | `scheme_header_transformation`, `path_normalization_options`, `typed_header_validation_config`, `forward_proto_config` | NACK |
//! | `http3_protocol_options` | NACK |
//! | everything else: statistics, traces, logs, the form of local replies, headers for information | warning |

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, PathWithEscapedSlashesAction, RouteSpecifier, StripPortMode, UpgradeConfig,
};
use mesh_core::listener::{
    Codec, EscapedSlashes, ForwardedFor, HttpLimits, HttpManager, HttpTimeouts, PathNormalization, RouteSource,
    StripPort, Underscores, UpgradeSupport,
};

use super::filter::{filters, wire_filters};
use super::forwarding::{client_cert, server_header, wire_client_cert, wire_server_header};
use super::options::{at_least_one, common, http1, http2, wire_common, wire_http2};
use super::timeouts::{limit, wire_limit};
use crate::envoy::config_source::{same_server, wire_same_server};
use crate::envoy::error::{Error, Report};
use crate::envoy::route::{route_table, wire_route_table};
use crate::envoy::wire::{boolean, duration, span, uint32};

/// Statistics; Envoy wants a name for them.
const STATISTICS: &str = "http";

/// Largest head of a request that Envoy can be made to accept, in KiB.
const MAX_HEADERS_KIB: u32 = 8192;

pub(in crate::envoy::listener) fn http_manager(
    report: &mut Report,
    wire: &wire::HttpConnectionManager,
) -> Result<HttpManager, Error> {
    let wire::HttpConnectionManager {
        codec_type,
        // Only of statistics, and everybody must set it.
        stat_prefix: _,
        http_filters,
        add_user_agent,
        tracing,
        common_http_protocol_options,
        http1_safe_max_connection_duration,
        http_protocol_options,
        http2_protocol_options,
        http3_protocol_options,
        server_name,
        server_header_transformation,
        scheme_header_transformation,
        max_request_headers_kb,
        stream_idle_timeout,
        stream_flush_timeout,
        request_timeout,
        request_headers_timeout,
        drain_timeout,
        drain_timeout_jitter,
        delayed_close_timeout,
        access_log,
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
        use_remote_address,
        xff_num_trusted_hops,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        internal_address_config,
        skip_xff_append,
        via,
        generate_request_id,
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert_details,
        set_current_client_cert_details,
        forward_client_cert_matcher,
        proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        upgrade_configs,
        normalize_path,
        merge_slashes,
        path_with_escaped_slashes_action,
        request_id_extension,
        local_reply_config,
        strip_matching_host_port,
        stream_error_on_invalid_http_message,
        path_normalization_options,
        strip_trailing_host_dot,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port,
        append_local_overload,
        add_proxy_protocol_connection_state,
        forward_proto_config,
        route_specifier,
        strip_port_mode,
    } = wire;
    report.refused("http3_protocol_options", http3_protocol_options)?;
    report.refused("scheme_header_transformation", scheme_header_transformation)?;
    report.refused("original_ip_detection_extensions", original_ip_detection_extensions)?;
    report.refused("early_header_mutation_extensions", early_header_mutation_extensions)?;
    report.refused("forward_client_cert_matcher", forward_client_cert_matcher)?;
    report.refused("path_normalization_options", path_normalization_options)?;
    report.refused("typed_header_validation_config", typed_header_validation_config)?;
    report.refused("forward_proto_config", forward_proto_config)?;
    report.ignored("add_user_agent", add_user_agent);
    report.ignored("tracing", tracing);
    report.ignored("http1_safe_max_connection_duration", http1_safe_max_connection_duration);
    report.ignored("stream_flush_timeout", stream_flush_timeout);
    report.ignored("drain_timeout_jitter", drain_timeout_jitter);
    report.ignored("access_log", access_log);
    report.ignored("access_log_flush_interval", access_log_flush_interval);
    report.ignored("flush_access_log_on_new_request", flush_access_log_on_new_request);
    report.ignored("access_log_options", access_log_options);
    report.ignored("internal_address_config", internal_address_config);
    report.ignored("via", via);
    report.ignored("preserve_external_request_id", preserve_external_request_id);
    report.ignored("always_set_request_id_in_response", always_set_request_id_in_response);
    report.ignored("proxy_100_continue", proxy_100_continue);
    let mapped = "represent_ipv4_remote_address_as_ipv4_mapped_ipv6";
    report.ignored(mapped, represent_ipv4_remote_address_as_ipv4_mapped_ipv6);
    report.ignored("request_id_extension", request_id_extension);
    report.ignored("local_reply_config", local_reply_config);
    report.ignored("stream_error_on_invalid_http_message", stream_error_on_invalid_http_message);
    report.ignored("proxy_status_config", proxy_status_config);
    report.ignored("append_x_forwarded_port", append_x_forwarded_port);
    report.ignored("append_local_overload", append_local_overload);
    report.ignored("add_proxy_protocol_connection_state", add_proxy_protocol_connection_state);

    let (mut limits, mut timeouts) = (HttpLimits::default(), HttpTimeouts::default());
    let underscores = match common_http_protocol_options {
        Some(wire) => {
            report.within("common_http_protocol_options", |report| common(report, wire, &mut limits, &mut timeouts))?
        }
        None => Underscores::default(),
    };
    report.optional("http_protocol_options", http_protocol_options.as_ref(), http1)?;
    report.optional("http2_protocol_options", http2_protocol_options.as_ref(), |report, wire| {
        http2(report, wire, &mut limits)
    })?;
    limits.request_headers_kib = match at_least_one(report, "max_request_headers_kb", *max_request_headers_kb)? {
        Some(kib) if kib > MAX_HEADERS_KIB => return Err(report.invalid("max_request_headers_kb", "is above 8192")),
        kib => kib.unwrap_or(limits.request_headers_kib),
    };
    let stream_idle = stream_idle_timeout.as_ref();
    timeouts.stream_idle = limit(report, "stream_idle_timeout", stream_idle, timeouts.stream_idle)?;
    timeouts.request = limit(report, "request_timeout", request_timeout.as_ref(), None)?;
    timeouts.request_headers = limit(report, "request_headers_timeout", request_headers_timeout.as_ref(), None)?;
    if let Some(given) = drain_timeout {
        timeouts.drain = duration(report, "drain_timeout", given)?;
    }
    if let Some(given) = delayed_close_timeout {
        timeouts.delayed_close = duration(report, "delayed_close_timeout", given)?;
    }

    let (filters, router) = filters(report, http_filters)?;
    Ok(HttpManager {
        codec: codec(report, *codec_type)?,
        routes: routes(report, route_specifier.as_ref())?,
        filters,
        router,
        timeouts,
        limits,
        forwarded_for: ForwardedFor {
            use_remote_address: use_remote_address.is_some_and(|used| used.value),
            trusted_hops: *xff_num_trusted_hops,
            skip_append: *skip_xff_append,
        },
        path: PathNormalization {
            normalize: normalize_path.is_some_and(|normalize| normalize.value),
            merge_slashes: *merge_slashes,
            escaped_slashes: escaped_slashes(report, *path_with_escaped_slashes_action)?,
        },
        strip_port: match (strip_port_mode, strip_matching_host_port) {
            (Some(StripPortMode::StripAnyHostPort(true)), true) => {
                return Err(report.invalid("strip_any_host_port", "stands beside `strip_matching_host_port`"));
            }
            (Some(StripPortMode::StripAnyHostPort(true)), false) => StripPort::Any,
            (_, true) => StripPort::Matching,
            (_, false) => StripPort::Never,
        },
        strip_trailing_host_dot: *strip_trailing_host_dot,
        client_cert: client_cert(report, *forward_client_cert_details, set_current_client_cert_details.as_ref())?,
        server_header: server_header(report, *server_header_transformation, server_name)?,
        underscores,
        generate_request_id: generate_request_id.is_none_or(|generate| generate.value),
        upgrades: report.each("upgrade_configs", upgrade_configs, upgrade)?,
    })
}

fn codec(report: &Report, value: i32) -> Result<Codec, Error> {
    match CodecType::try_from(value) {
        Ok(CodecType::Auto) => Ok(Codec::Auto),
        Ok(CodecType::Http1) => Ok(Codec::Http1),
        Ok(CodecType::Http2) => Ok(Codec::Http2),
        Ok(CodecType::Http3) | Err(_) => Err(report.invalid("codec_type", format_args!("{value} is not supported"))),
    }
}

fn routes(report: &mut Report, wire: Option<&RouteSpecifier>) -> Result<RouteSource, Error> {
    match report.required("route_specifier", wire)? {
        RouteSpecifier::Rds(wire::Rds { config_source, route_config_name }) => report.within("rds", |report| {
            same_server(report, "config_source", config_source.as_ref())?;
            report.named("route_config_name", route_config_name).map(RouteSource::Rds)
        }),
        RouteSpecifier::RouteConfig(wire) => {
            let table = report.within("route_config", |report| route_table(report, wire))?;
            Ok(RouteSource::Inline(Box::new(table)))
        }
        RouteSpecifier::ScopedRoutes(_) => Err(Error::Unsupported { field: report.at("scoped_routes") }),
    }
}

fn escaped_slashes(report: &Report, value: i32) -> Result<EscapedSlashes, Error> {
    match PathWithEscapedSlashesAction::try_from(value) {
        Ok(
            PathWithEscapedSlashesAction::ImplementationSpecificDefault | PathWithEscapedSlashesAction::KeepUnchanged,
        ) => Ok(EscapedSlashes::Keep),
        Ok(PathWithEscapedSlashesAction::RejectRequest) => Ok(EscapedSlashes::Reject),
        Ok(PathWithEscapedSlashesAction::UnescapeAndRedirect) => Ok(EscapedSlashes::Redirect),
        Ok(PathWithEscapedSlashesAction::UnescapeAndForward) => Ok(EscapedSlashes::Unescape),
        Err(_) => Err(report.invalid("path_with_escaped_slashes_action", format_args!("{value} is not known"))),
    }
}

fn upgrade(report: &mut Report, wire: &UpgradeConfig) -> Result<UpgradeSupport, Error> {
    let UpgradeConfig { upgrade_type, filters, enabled } = wire;
    report.refused("filters", filters)?;
    let protocol = report.named("upgrade_type", upgrade_type)?;
    Ok(UpgradeSupport { protocol, enabled: enabled.is_none_or(|enabled| enabled.value) })
}

pub(in crate::envoy::listener) fn wire_http_manager(manager: &HttpManager) -> wire::HttpConnectionManager {
    let HttpManager {
        codec,
        routes,
        filters,
        router,
        timeouts,
        limits,
        forwarded_for,
        path,
        strip_port,
        strip_trailing_host_dot,
        client_cert,
        server_header,
        underscores,
        generate_request_id,
        upgrades,
    } = manager;
    let codec = match codec {
        Codec::Auto => CodecType::Auto,
        Codec::Http1 => CodecType::Http1,
        Codec::Http2 => CodecType::Http2,
    };
    let routes = match routes {
        RouteSource::Rds(name) => {
            let config_source = Some(wire_same_server());
            RouteSpecifier::Rds(wire::Rds { config_source, route_config_name: name.to_string() })
        }
        RouteSource::Inline(table) => RouteSpecifier::RouteConfig(wire_route_table(table)),
    };
    let ForwardedFor { use_remote_address, trusted_hops, skip_append } = *forwarded_for;
    let PathNormalization { normalize, merge_slashes, escaped_slashes } = *path;
    let escaped_slashes = match escaped_slashes {
        EscapedSlashes::Keep => PathWithEscapedSlashesAction::KeepUnchanged,
        EscapedSlashes::Reject => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashes::Redirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        EscapedSlashes::Unescape => PathWithEscapedSlashesAction::UnescapeAndForward,
    };
    let (client_cert, client_cert_details) = wire_client_cert(*client_cert);
    let (server_header, server_name) = wire_server_header(server_header);
    let upgrade = |UpgradeSupport { protocol, enabled }: &UpgradeSupport| UpgradeConfig {
        upgrade_type: protocol.to_string(),
        filters: Vec::new(),
        enabled: Some(boolean(*enabled)),
    };
    wire::HttpConnectionManager {
        codec_type: codec.into(),
        stat_prefix: STATISTICS.to_owned(),
        http_filters: wire_filters(filters, router),
        common_http_protocol_options: Some(wire_common(limits, timeouts, *underscores)),
        http2_protocol_options: Some(wire_http2(limits)),
        server_name,
        server_header_transformation: server_header,
        max_request_headers_kb: Some(uint32(limits.request_headers_kib)),
        stream_idle_timeout: wire_limit(timeouts.stream_idle),
        request_timeout: wire_limit(timeouts.request),
        request_headers_timeout: wire_limit(timeouts.request_headers),
        drain_timeout: Some(span(timeouts.drain)),
        delayed_close_timeout: Some(span(timeouts.delayed_close)),
        use_remote_address: Some(boolean(use_remote_address)),
        xff_num_trusted_hops: trusted_hops,
        skip_xff_append: skip_append,
        generate_request_id: Some(boolean(*generate_request_id)),
        forward_client_cert_details: client_cert,
        set_current_client_cert_details: client_cert_details,
        upgrade_configs: upgrades.iter().map(upgrade).collect(),
        normalize_path: Some(boolean(normalize)),
        merge_slashes,
        path_with_escaped_slashes_action: escaped_slashes.into(),
        strip_matching_host_port: *strip_port == StripPort::Matching,
        strip_trailing_host_dot: *strip_trailing_host_dot,
        route_specifier: Some(routes),
        strip_port_mode: (*strip_port == StripPort::Any).then_some(StripPortMode::StripAnyHostPort(true)),
        ..wire::HttpConnectionManager::default()
    }
}
