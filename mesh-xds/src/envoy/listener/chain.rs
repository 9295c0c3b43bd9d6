//! | field of **FilterChain** | how it is taken |
//! | --- | --- |
//! | `name`, `filter_chain_match`, `transport_socket`, `transport_socket_connect_timeout` | honoured |
//! | `filter_chain_match` of a default chain | warning: it has no effect in Envoy either |
//! | `filters` | honoured: access control on connections, then `TcpProxy` or `HttpConnectionManager`, which must be last; any other type: NACK |
//! | `config_discovery` of a filter; `use_proxy_proto` | NACK |
//! | `metadata` | warning |

use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::google::protobuf::Any;
use mesh_core::listener::{FilterChain, FilterChainMatch, NetworkRbac, Terminal};

use super::chain_match::{chain_match, wire_chain_match};
use super::http::{http_manager, wire_http_manager};
use super::tcp_proxy::{tcp_proxy, wire_tcp_proxy};
use crate::envoy::error::{Error, Report};
use crate::envoy::rbac::{network_rbac, wire_network_rbac};
use crate::envoy::tls::{downstream_socket, wire_downstream_socket};
use crate::envoy::wire::{any, holds, optional_duration, span, unpack};

pub(super) fn chain(report: &mut Report, wire: &wire::FilterChain) -> Result<FilterChain, Error> {
    let matcher = match &wire.filter_chain_match {
        Some(wire) => report.within("filter_chain_match", |report| chain_match(report, wire))?,
        None => FilterChainMatch::default(),
    };
    Ok(FilterChain { matcher, ..content(report, wire)? })
}

pub(super) fn default_chain(report: &mut Report, wire: &wire::FilterChain) -> Result<FilterChain, Error> {
    report.ignored("filter_chain_match", &wire.filter_chain_match);
    content(report, wire)
}

/// All of a chain but its match.
fn content(report: &mut Report, wire: &wire::FilterChain) -> Result<FilterChain, Error> {
    let wire::FilterChain {
        filter_chain_match: _,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = wire;
    report.refused("use_proxy_proto", &use_proxy_proto.filter(|used| used.value))?;
    report.ignored("metadata", metadata);
    let timeout = "transport_socket_connect_timeout";
    let timeout = optional_duration(report, timeout, transport_socket_connect_timeout.as_ref())?;
    let tls = match transport_socket {
        Some(socket) => report.within("transport_socket", |report| downstream_socket(report, socket))?,
        None => None,
    };
    let filters = report.each("filters", filters, filter)?;
    let (rbac, terminal) = in_order(report, filters)?;
    Ok(FilterChain {
        name: name.as_str().into(),
        matcher: FilterChainMatch::default(),
        tls,
        handshake_timeout: timeout.filter(|timeout| *timeout != Duration::ZERO),
        rbac,
        terminal,
    })
}

/// A filter of connections.
enum NetworkFilter {
    Rbac(NetworkRbac),
    Terminal(Terminal),
}

fn filter(report: &mut Report, wire: &wire::Filter) -> Result<NetworkFilter, Error> {
    // The type says what it is; the name is for people.
    let wire::Filter { name: _, config_type } = wire;
    let any = match report.required("typed_config", config_type.as_ref())? {
        ConfigType::TypedConfig(any) => any,
        ConfigType::ConfigDiscovery(_) => return Err(Error::Unsupported { field: report.at("config_discovery") }),
    };
    if holds::<Rbac>(any) {
        let rbac = unpack(report, "typed_config", any)?;
        return report.within("typed_config", |report| network_rbac(report, &rbac)).map(NetworkFilter::Rbac);
    }
    if holds::<TcpProxy>(any) {
        let proxy = unpack(report, "typed_config", any)?;
        let proxy = report.within("typed_config", |report| tcp_proxy(report, &proxy))?;
        return Ok(NetworkFilter::Terminal(Terminal::Tcp(proxy)));
    }
    if holds::<HttpConnectionManager>(any) {
        let manager = unpack(report, "typed_config", any)?;
        let manager = report.within("typed_config", |report| http_manager(report, &manager))?;
        return Ok(NetworkFilter::Terminal(Terminal::Http(Box::new(manager))));
    }
    Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: any.type_url.clone() })
}

/// Access control, then what ends the chain. No filters at all close the connection; access control alone would hold it.
fn in_order(report: &Report, filters: Vec<NetworkFilter>) -> Result<(Vec<NetworkRbac>, Terminal), Error> {
    let (mut rbac, mut end) = (Vec::new(), None);
    for (at, filter) in filters.into_iter().enumerate() {
        if end.is_some() {
            return Err(report.invalid(&format!("filters[{at}]"), "stands behind the filter that ends the chain"));
        }
        match filter {
            NetworkFilter::Rbac(filter) => rbac.push(filter),
            NetworkFilter::Terminal(terminal) => end = Some(terminal),
        }
    }
    match end {
        Some(terminal) => Ok((rbac, terminal)),
        None if rbac.is_empty() => Ok((rbac, Terminal::Close)),
        None => Err(report.invalid("filters", "has no filter that ends the chain")),
    }
}

pub(super) fn wire_chain(chain: &FilterChain) -> wire::FilterChain {
    let matcher = wire_chain_match(&chain.matcher);
    wire::FilterChain { filter_chain_match: Some(matcher), ..wire_default_chain(chain) }
}

pub(super) fn wire_default_chain(chain: &FilterChain) -> wire::FilterChain {
    let FilterChain { name, matcher: _, tls, handshake_timeout, rbac, terminal } = chain;
    let rbac = rbac.iter().map(|rbac| wire_filter("envoy.filters.network.rbac", any(&wire_network_rbac(rbac))));
    let terminal = match terminal {
        Terminal::Tcp(proxy) => Some(wire_filter("envoy.filters.network.tcp_proxy", any(&wire_tcp_proxy(proxy)))),
        Terminal::Http(manager) => {
            let manager = any(&wire_http_manager(manager));
            Some(wire_filter("envoy.filters.network.http_connection_manager", manager))
        }
        Terminal::Close => None,
    };
    wire::FilterChain {
        filters: rbac.chain(terminal).collect(),
        transport_socket: tls.as_ref().map(wire_downstream_socket),
        transport_socket_connect_timeout: handshake_timeout.map(span),
        name: name.to_string(),
        ..wire::FilterChain::default()
    }
}

fn wire_filter(name: &str, config: Any) -> wire::Filter {
    wire::Filter { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }
}
