//! What is spoken to endpoints: `HttpProtocolOptions`, and the deprecated fields before it.

use std::collections::HashMap;
use std::num::NonZeroU32;

use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use mesh_core::balance::HttpProtocol;

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, holds, uint32, unpack};

/// Key of `typed_extension_protocol_options`.
const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

const FIELD: &str = "typed_extension_protocol_options";

/// What is spoken, and how many requests a connection serves.
pub(super) type Spoken = (HttpProtocol, Option<NonZeroU32>);

/// None if the options say nothing of HTTP.
pub(super) fn protocol(report: &mut Report, options: &HashMap<String, Any>) -> Result<Option<Spoken>, Error> {
    // Options of protocols that are not spoken here.
    let mut others: Vec<_> = options.keys().filter(|key| *key != HTTP).collect();
    others.sort();
    for key in others {
        report.ignored(&format!("{FIELD}[{key}]"), &true);
    }
    let Some(any) = options.get(HTTP) else { return Ok(None) };
    report.within(format_args!("{FIELD}[{HTTP}]"), |report| {
        if !holds::<HttpProtocolOptions>(any) {
            return Err(Error::UnsupportedType { field: report.at("value"), type_url: any.type_url.clone() });
        }
        read(report, &unpack(report, "value", any)?).map(Some)
    })
}

pub(super) fn wire_protocol((protocol, max_requests): Spoken) -> HashMap<String, Any> {
    let http1 = || Some(Http1ProtocolOptions::default());
    let http2 = || Some(Http2ProtocolOptions::default());
    let explicit =
        |config| UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) });
    let options = match protocol {
        HttpProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())),
        HttpProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
        HttpProtocol::Auto => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: http1(),
            http2_protocol_options: http2(),
            ..AutoHttpConfig::default()
        }),
        HttpProtocol::Downstream => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: http1(),
            http2_protocol_options: http2(),
            http3_protocol_options: None,
        }),
    };
    let common = |max: NonZeroU32| CommonOptions {
        max_requests_per_connection: Some(uint32(max.get())),
        ..CommonOptions::default()
    };
    let message = HttpProtocolOptions {
        common_http_protocol_options: max_requests.map(common),
        upstream_protocol_options: Some(options),
        ..HttpProtocolOptions::default()
    };
    HashMap::from([(HTTP.to_owned(), any(&message))])
}

fn read(report: &mut Report, message: &HttpProtocolOptions) -> Result<Spoken, Error> {
    let HttpProtocolOptions {
        common_http_protocol_options,
        upstream_http_protocol_options,
        http_filters,
        header_validation_config,
        outlier_detection,
        request_mirror_policies,
        hash_policy,
        retry_policy,
        upstream_protocol_options,
    } = message;
    // Which name is sent and verified would be another.
    report.refused("upstream_http_protocol_options", upstream_http_protocol_options)?;
    report.refused("http_filters", http_filters)?;
    report.refused("hash_policy", hash_policy)?;
    report.refused("outlier_detection", outlier_detection)?;
    report.ignored("header_validation_config", header_validation_config);
    report.ignored("request_mirror_policies", request_mirror_policies);
    report.ignored("retry_policy", retry_policy);
    let max_requests = common(report, common_http_protocol_options.as_ref())?;
    let options = report.required("upstream_protocol_options", upstream_protocol_options.as_ref())?;
    let protocol = match options {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config }) => {
            report.within("explicit_http_config", |report| {
                match report.required("protocol_config", protocol_config.as_ref())? {
                    ProtocolConfig::HttpProtocolOptions(options) => {
                        report.ignored("http_protocol_options", options);
                        Ok(HttpProtocol::Http1)
                    }
                    ProtocolConfig::Http2ProtocolOptions(options) => {
                        report.ignored("http2_protocol_options", options);
                        Ok(HttpProtocol::Http2)
                    }
                    ProtocolConfig::Http3ProtocolOptions(_) => {
                        Err(Error::Unsupported { field: report.at("http3_protocol_options") })
                    }
                }
            })?
        }
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(config) => {
            let UseDownstreamHttpConfig { http_protocol_options, http2_protocol_options, http3_protocol_options } =
                config;
            report.within("use_downstream_protocol_config", |report| {
                settings(report, http_protocol_options.as_ref(), http2_protocol_options.as_ref());
                report.ignored("http3_protocol_options", http3_protocol_options);
            });
            HttpProtocol::Downstream
        }
        UpstreamProtocolOptions::AutoConfig(config) => {
            let AutoHttpConfig {
                http_protocol_options,
                http2_protocol_options,
                http3_protocol_options,
                alternate_protocols_cache_options,
            } = config;
            report.within("auto_config", |report| {
                settings(report, http_protocol_options.as_ref(), http2_protocol_options.as_ref());
                report.ignored("http3_protocol_options", http3_protocol_options);
                report.ignored("alternate_protocols_cache_options", alternate_protocols_cache_options);
            });
            HttpProtocol::Auto
        }
    };
    Ok((protocol, max_requests))
}

/// Settings of a protocol are limits and tuning; that it is there may be what is meant.
fn settings(report: &mut Report, http1: Option<&Http1ProtocolOptions>, http2: Option<&Http2ProtocolOptions>) {
    report.ignored("http_protocol_options", &http1.cloned().unwrap_or_default());
    report.ignored("http2_protocol_options", &http2.cloned().unwrap_or_default());
}

/// Requests that a connection serves.
pub(super) fn common(report: &mut Report, options: Option<&CommonOptions>) -> Result<Option<NonZeroU32>, Error> {
    let Some(options) = options else { return Ok(None) };
    let CommonOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = options;
    report.within("common_http_protocol_options", |report| {
        report.ignored("idle_timeout", idle_timeout);
        report.ignored("max_connection_duration", max_connection_duration);
        report.ignored("max_connection_duration_jitter", max_connection_duration_jitter);
        report.ignored("max_headers_count", max_headers_count);
        report.ignored("max_response_headers_kb", max_response_headers_kb);
        report.ignored("max_stream_duration", max_stream_duration);
        // Of answers; what clients send is looked at by the listener.
        report.ignored("headers_with_underscores_action", headers_with_underscores_action);
        Ok(max_requests(*max_requests_per_connection))
    })
}

/// 0 is no limit.
pub(super) fn max_requests(value: Option<UInt32Value>) -> Option<NonZeroU32> {
    value.and_then(|value| NonZeroU32::new(value.value))
}
