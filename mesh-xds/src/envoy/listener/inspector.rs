//! | field of a listener filter | how it is taken |
//! | --- | --- |
//! | `TlsInspector`, `HttpInspector`, `OriginalDst`, `ProxyProtocol` | honoured; any other type: NACK |
//! | `filter_disabled`, `config_discovery` | NACK |
//! | **TlsInspector** `close_connection_on_client_hello_parsing_errors`, `max_client_hello_size` | honoured |
//! | fingerprints, `initial_read_buffer_size` | warning |
//! | **ProxyProtocol** `allow_requests_without_proxy_protocol`, `disallowed_versions` | honoured; all of them: NACK |
//! | `rules`, `pass_through_tlvs`, `tlv_location`, `stat_prefix` | warning: nothing here reads them |

use envoy_types::pb::envoy::config::core::v3::proxy_protocol_config::Version;
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::listener_filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use mesh_core::listener::ListenerFilter;

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, holds, uint32, unpack};

pub(super) fn inspector(report: &mut Report, wire: &wire::ListenerFilter) -> Result<ListenerFilter, Error> {
    // The type says what it is; the name is for people.
    let wire::ListenerFilter { name: _, filter_disabled, config_type } = wire;
    report.refused("filter_disabled", filter_disabled)?;
    let any = match report.required("typed_config", config_type.as_ref())? {
        ConfigType::TypedConfig(any) => any,
        ConfigType::ConfigDiscovery(_) => return Err(Error::Unsupported { field: report.at("config_discovery") }),
    };
    if holds::<TlsInspector>(any) {
        let inspector = unpack(report, "typed_config", any)?;
        return Ok(report.within("typed_config", |report| tls_inspector(report, &inspector)));
    }
    if holds::<ProxyProtocol>(any) {
        let proxy = unpack(report, "typed_config", any)?;
        return report.within("typed_config", |report| proxy_protocol(report, &proxy));
    }
    if holds::<HttpInspector>(any) {
        let HttpInspector {} = unpack(report, "typed_config", any)?;
        return Ok(ListenerFilter::HttpInspector);
    }
    if holds::<OriginalDst>(any) {
        let OriginalDst {} = unpack(report, "typed_config", any)?;
        return Ok(ListenerFilter::OriginalDst);
    }
    Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: any.type_url.clone() })
}

fn tls_inspector(report: &mut Report, inspector: &TlsInspector) -> ListenerFilter {
    let TlsInspector {
        enable_ja3_fingerprinting,
        enable_ja4_fingerprinting,
        initial_read_buffer_size,
        close_connection_on_client_hello_parsing_errors,
        max_client_hello_size,
    } = inspector;
    report.ignored("enable_ja3_fingerprinting", enable_ja3_fingerprinting);
    report.ignored("enable_ja4_fingerprinting", enable_ja4_fingerprinting);
    report.ignored("initial_read_buffer_size", initial_read_buffer_size);
    ListenerFilter::TlsInspector {
        close_on_error: *close_connection_on_client_hello_parsing_errors,
        max_hello_bytes: max_client_hello_size.map(|bytes| bytes.value),
    }
}

fn proxy_protocol(report: &mut Report, proxy: &ProxyProtocol) -> Result<ListenerFilter, Error> {
    let ProxyProtocol {
        rules,
        allow_requests_without_proxy_protocol,
        pass_through_tlvs,
        disallowed_versions,
        stat_prefix,
        tlv_location,
    } = proxy;
    report.ignored("rules", rules);
    report.ignored("pass_through_tlvs", pass_through_tlvs);
    report.ignored("stat_prefix", stat_prefix);
    report.ignored("tlv_location", tlv_location);
    let (mut v1, mut v2) = (true, true);
    for version in disallowed_versions {
        match Version::try_from(*version) {
            Ok(Version::V1) => v1 = false,
            Ok(Version::V2) => v2 = false,
            Err(_) => return Err(report.invalid("disallowed_versions", format_args!("{version} is not known"))),
        }
    }
    match v1 || v2 {
        true => Ok(ListenerFilter::ProxyProtocol { optional: *allow_requests_without_proxy_protocol, v1, v2 }),
        false => Err(report.invalid("disallowed_versions", "leave no version")),
    }
}

pub(super) fn wire_inspector(filter: &ListenerFilter) -> wire::ListenerFilter {
    let (name, config) = match filter {
        ListenerFilter::TlsInspector { close_on_error, max_hello_bytes } => {
            let inspector = TlsInspector {
                close_connection_on_client_hello_parsing_errors: *close_on_error,
                max_client_hello_size: max_hello_bytes.map(uint32),
                ..TlsInspector::default()
            };
            ("envoy.filters.listener.tls_inspector", any(&inspector))
        }
        ListenerFilter::HttpInspector => ("envoy.filters.listener.http_inspector", any(&HttpInspector {})),
        ListenerFilter::OriginalDst => ("envoy.filters.listener.original_dst", any(&OriginalDst {})),
        ListenerFilter::ProxyProtocol { optional, v1, v2 } => {
            let refused = [(Version::V1, v1), (Version::V2, v2)].into_iter().filter(|(_, understood)| !**understood);
            let proxy = ProxyProtocol {
                allow_requests_without_proxy_protocol: *optional,
                disallowed_versions: refused.map(|(version, _)| version.into()).collect(),
                ..ProxyProtocol::default()
            };
            ("envoy.filters.listener.proxy_protocol", any(&proxy))
        }
    };
    wire::ListenerFilter {
        name: name.to_owned(),
        filter_disabled: None,
        config_type: Some(ConfigType::TypedConfig(config)),
    }
}
