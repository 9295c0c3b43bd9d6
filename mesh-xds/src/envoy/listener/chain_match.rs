//! | field of **FilterChainMatch** | how it is taken |
//! | --- | --- |
//! | `destination_port`, `prefix_ranges`, `server_names`, `application_protocols`, `direct_source_prefix_ranges` | honoured |
//! | `source_type`, `source_prefix_ranges`, `source_ports` | honoured |
//! | `transport_protocol` | honoured if it is `raw_buffer` or `tls`; any other: NACK |
//! | `address_suffix`, `suffix_len`; a server name `*` or with a wildcard that is no whole label | NACK |

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;
use mesh_core::listener::{FilterChainMatch, SourceType, TransportProtocol};
use mesh_core::name::Hostname;

use crate::envoy::cidr::{cidr, wire_cidr};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{port, uint32};

const RAW_BUFFER: &str = "raw_buffer";
const TLS: &str = "tls";

pub(super) fn chain_match(report: &mut Report, wire: &wire::FilterChainMatch) -> Result<FilterChainMatch, Error> {
    let wire::FilterChainMatch {
        destination_port,
        prefix_ranges,
        address_suffix,
        suffix_len,
        direct_source_prefix_ranges,
        source_type,
        source_prefix_ranges,
        source_ports,
        server_names,
        transport_protocol,
        application_protocols,
    } = wire;
    report.refused("address_suffix", address_suffix)?;
    report.refused("suffix_len", suffix_len)?;
    let transport_protocol = match transport_protocol.as_str() {
        "" => None,
        RAW_BUFFER => Some(TransportProtocol::RawBuffer),
        TLS => Some(TransportProtocol::Tls),
        other => return Err(report.invalid("transport_protocol", format_args!("`{other}` is not supported"))),
    };
    let source_type = match ConnectionSourceType::try_from(*source_type) {
        Ok(ConnectionSourceType::Any) => SourceType::Any,
        Ok(ConnectionSourceType::SameIpOrLoopback) => SourceType::SameIpOrLoopback,
        Ok(ConnectionSourceType::External) => SourceType::External,
        Err(_) => return Err(report.invalid("source_type", format_args!("{source_type} is not known"))),
    };
    let range = |report: &mut Report, range: &CidrRange| cidr(report, range);
    let name = |name: &String| Hostname::parse(name).map_err(|error| report.invalid("server_names", error));
    let server_names = server_names.iter().map(name).collect::<Result<_, _>>()?;
    let ports = source_ports.iter().map(|value| port(report, "source_ports", *value));
    let source_ports = ports.collect::<Result<_, _>>()?;
    let destination_port = destination_port.map(|value| port(report, "destination_port", value.value)).transpose()?;
    Ok(FilterChainMatch {
        destination_port,
        destination_ranges: report.each("prefix_ranges", prefix_ranges, range)?.into_iter().collect(),
        server_names,
        transport_protocol,
        application_protocols: application_protocols.iter().map(|name| name.as_str().into()).collect(),
        direct_source_ranges: report
            .each("direct_source_prefix_ranges", direct_source_prefix_ranges, range)?
            .into_iter()
            .collect(),
        source_type,
        source_ranges: report.each("source_prefix_ranges", source_prefix_ranges, range)?.into_iter().collect(),
        source_ports,
    })
}

pub(super) fn wire_chain_match(matcher: &FilterChainMatch) -> wire::FilterChainMatch {
    let FilterChainMatch {
        destination_port,
        destination_ranges,
        server_names,
        transport_protocol,
        application_protocols,
        direct_source_ranges,
        source_type,
        source_ranges,
        source_ports,
    } = matcher;
    let transport_protocol = match transport_protocol {
        None => "",
        Some(TransportProtocol::RawBuffer) => RAW_BUFFER,
        Some(TransportProtocol::Tls) => TLS,
    };
    let source_type = match source_type {
        SourceType::Any => ConnectionSourceType::Any,
        SourceType::SameIpOrLoopback => ConnectionSourceType::SameIpOrLoopback,
        SourceType::External => ConnectionSourceType::External,
    };
    wire::FilterChainMatch {
        destination_port: destination_port.map(|port| uint32(port.into())),
        prefix_ranges: destination_ranges.iter().map(wire_cidr).collect(),
        direct_source_prefix_ranges: direct_source_ranges.iter().map(wire_cidr).collect(),
        source_type: source_type.into(),
        source_prefix_ranges: source_ranges.iter().map(wire_cidr).collect(),
        source_ports: source_ports.iter().copied().map(u32::from).collect(),
        server_names: server_names.iter().map(Hostname::to_string).collect(),
        transport_protocol: transport_protocol.to_owned(),
        application_protocols: application_protocols.iter().map(ToString::to_string).collect(),
        ..wire::FilterChainMatch::default()
    }
}
