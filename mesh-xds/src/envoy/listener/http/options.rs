//! | field of the options | how it is taken |
//! | --- | --- |
//! | **HttpProtocolOptions** `idle_timeout`, `max_connection_duration`, `max_stream_duration`, `max_headers_count` | honoured |
//! | `headers_with_underscores_action`, `max_requests_per_connection` | honoured |
//! | `max_connection_duration_jitter`, `max_response_headers_kb` | warning |
//! | **Http1ProtocolOptions** `allow_absolute_url` = false, `ignore_http_11_upgrade` | NACK |
//! | everything else of it | warning |
//! | **Http2ProtocolOptions** `max_concurrent_streams`, `initial_stream_window_size`, `initial_connection_window_size`, `allow_connect` | honoured |
//! | everything else of it | warning: floods are held back by limits of our own |

use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions};
use envoy_types::pb::google::protobuf::UInt32Value;
use mesh_core::listener::{HttpLimits, HttpTimeouts, Underscores};

use super::timeouts::{limit, wire_limit};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::uint32;

/// Smallest window that HTTP/2 has, and largest.
const WINDOW: std::ops::RangeInclusive<u32> = 65_535..=0x7fff_ffff;

pub(super) fn common(
    report: &mut Report,
    wire: &HttpProtocolOptions,
    limits: &mut HttpLimits,
    timeouts: &mut HttpTimeouts,
) -> Result<Underscores, Error> {
    let HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = wire;
    report.ignored("max_connection_duration_jitter", max_connection_duration_jitter);
    report.ignored("max_response_headers_kb", max_response_headers_kb);
    timeouts.idle = limit(report, "idle_timeout", idle_timeout.as_ref(), timeouts.idle)?;
    timeouts.connection = limit(report, "max_connection_duration", max_connection_duration.as_ref(), None)?;
    timeouts.stream = limit(report, "max_stream_duration", max_stream_duration.as_ref(), None)?;
    limits.headers = at_least_one(report, "max_headers_count", *max_headers_count)?.unwrap_or(limits.headers);
    let requests = max_requests_per_connection.map(|requests| requests.value);
    limits.requests_per_connection = requests.filter(|requests| *requests > 0);
    match HeadersWithUnderscoresAction::try_from(*headers_with_underscores_action) {
        Ok(HeadersWithUnderscoresAction::Allow) => Ok(Underscores::Allow),
        Ok(HeadersWithUnderscoresAction::RejectRequest) => Ok(Underscores::RejectRequest),
        Ok(HeadersWithUnderscoresAction::DropHeader) => Ok(Underscores::DropHeader),
        Err(_) => Err(report.invalid("headers_with_underscores_action", "is not known")),
    }
}

pub(super) fn wire_common(
    limits: &HttpLimits,
    timeouts: &HttpTimeouts,
    underscores: Underscores,
) -> HttpProtocolOptions {
    let underscores = match underscores {
        Underscores::Allow => HeadersWithUnderscoresAction::Allow,
        Underscores::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
        Underscores::DropHeader => HeadersWithUnderscoresAction::DropHeader,
    };
    HttpProtocolOptions {
        idle_timeout: wire_limit(timeouts.idle),
        // Absent is no limit as well, and cannot be misread as no time at all.
        max_connection_duration: timeouts.connection.and_then(|limit| wire_limit(Some(limit))),
        max_stream_duration: timeouts.stream.and_then(|limit| wire_limit(Some(limit))),
        max_headers_count: Some(uint32(limits.headers)),
        headers_with_underscores_action: underscores.into(),
        max_requests_per_connection: limits.requests_per_connection.map(uint32),
        ..HttpProtocolOptions::default()
    }
}

pub(super) fn http1(report: &mut Report, wire: &Http1ProtocolOptions) -> Result<(), Error> {
    let Http1ProtocolOptions {
        allow_absolute_url,
        accept_http_10,
        default_host_for_http_10,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message,
        send_fully_qualified_url,
        use_balsa_parser,
        allow_custom_methods,
        ignore_http_11_upgrade,
    } = wire;
    report.refused("allow_absolute_url", &allow_absolute_url.filter(|allowed| !allowed.value))?;
    report.refused("ignore_http_11_upgrade", ignore_http_11_upgrade)?;
    report.ignored("accept_http_10", accept_http_10);
    report.ignored("default_host_for_http_10", default_host_for_http_10);
    report.ignored("header_key_format", header_key_format);
    report.ignored("enable_trailers", enable_trailers);
    report.ignored("allow_chunked_length", allow_chunked_length);
    let stream_error = "override_stream_error_on_invalid_http_message";
    report.ignored(stream_error, override_stream_error_on_invalid_http_message);
    report.ignored("send_fully_qualified_url", send_fully_qualified_url);
    report.ignored("use_balsa_parser", use_balsa_parser);
    report.ignored("allow_custom_methods", allow_custom_methods);
    Ok(())
}

pub(super) fn http2(report: &mut Report, wire: &Http2ProtocolOptions, limits: &mut HttpLimits) -> Result<(), Error> {
    let Http2ProtocolOptions {
        hpack_table_size,
        max_concurrent_streams,
        initial_stream_window_size,
        initial_connection_window_size,
        allow_connect,
        allow_metadata,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        stream_error_on_invalid_http_messaging,
        override_stream_error_on_invalid_http_message,
        custom_settings_parameters,
        connection_keepalive,
        use_oghttp2_codec,
        max_metadata_size,
        enable_huffman_encoding,
        max_header_field_size_kb,
        disallow_obs_text,
        stream_reset_burst,
        stream_reset_rate,
    } = wire;
    report.ignored("hpack_table_size", hpack_table_size);
    report.ignored("allow_metadata", allow_metadata);
    report.ignored("max_outbound_frames", max_outbound_frames);
    report.ignored("max_outbound_control_frames", max_outbound_control_frames);
    let empty = "max_consecutive_inbound_frames_with_empty_payload";
    report.ignored(empty, max_consecutive_inbound_frames_with_empty_payload);
    report.ignored("max_inbound_priority_frames_per_stream", max_inbound_priority_frames_per_stream);
    let updates = "max_inbound_window_update_frames_per_data_frame_sent";
    report.ignored(updates, max_inbound_window_update_frames_per_data_frame_sent);
    report.ignored("stream_error_on_invalid_http_messaging", stream_error_on_invalid_http_messaging);
    let stream_error = "override_stream_error_on_invalid_http_message";
    report.ignored(stream_error, override_stream_error_on_invalid_http_message);
    report.ignored("custom_settings_parameters", custom_settings_parameters);
    report.ignored("connection_keepalive", connection_keepalive);
    report.ignored("use_oghttp2_codec", use_oghttp2_codec);
    report.ignored("max_metadata_size", max_metadata_size);
    report.ignored("enable_huffman_encoding", enable_huffman_encoding);
    report.ignored("max_header_field_size_kb", max_header_field_size_kb);
    report.ignored("disallow_obs_text", disallow_obs_text);
    report.ignored("stream_reset_burst", stream_reset_burst);
    report.ignored("stream_reset_rate", stream_reset_rate);
    let streams = at_least_one(report, "max_concurrent_streams", *max_concurrent_streams)?;
    limits.concurrent_streams = streams.unwrap_or(limits.concurrent_streams);
    limits.stream_window_bytes = window(report, "initial_stream_window_size", *initial_stream_window_size)?;
    limits.connection_window_bytes = window(report, "initial_connection_window_size", *initial_connection_window_size)?;
    limits.connect = *allow_connect;
    Ok(())
}

pub(super) fn wire_http2(limits: &HttpLimits) -> Http2ProtocolOptions {
    let HttpLimits {
        request_headers_kib: _,
        headers: _,
        requests_per_connection: _,
        concurrent_streams,
        stream_window_bytes,
        connection_window_bytes,
        connect,
    } = limits;
    Http2ProtocolOptions {
        max_concurrent_streams: Some(uint32(*concurrent_streams)),
        initial_stream_window_size: stream_window_bytes.map(uint32),
        initial_connection_window_size: connection_window_bytes.map(uint32),
        allow_connect: *connect,
        ..Http2ProtocolOptions::default()
    }
}

pub(super) fn at_least_one(report: &Report, field: &str, value: Option<UInt32Value>) -> Result<Option<u32>, Error> {
    match value.map(|value| value.value) {
        Some(0) => Err(report.invalid(field, "is 0")),
        value => Ok(value),
    }
}

fn window(report: &Report, field: &str, value: Option<UInt32Value>) -> Result<Option<u32>, Error> {
    match value.map(|value| value.value) {
        Some(bytes) if !WINDOW.contains(&bytes) => Err(report.invalid(field, format_args!("{bytes} is no window"))),
        value => Ok(value),
    }
}
