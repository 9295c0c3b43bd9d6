use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Address, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::listener::{DrainType, InternalListenerConfig, ListenerSpecifier};
use mesh_core::listener::{Direction, Drain, FilterChain, SocketListener};

use super::chain::{chain, default_chain, wire_chain, wire_default_chain};
use super::inspector::{inspector, wire_inspector};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{boolean, duration, socket_address, span, uint32, wire_address};

/// A listener that others of the process hand streams to; its name is read elsewhere.
pub(super) fn internal(report: &mut Report, wire: &wire::Listener) -> Result<SocketListener, Error> {
    report.refused("bind_to_port", &wire.bind_to_port)?;
    report.refused("use_original_dst", &wire.use_original_dst.filter(|used| used.value))?;
    report.refused("transparent", &wire.transparent)?;
    report.refused("freebind", &wire.freebind)?;
    socket(report, wire)
}

/// A listener that accepts connections; its name is read elsewhere.
pub(super) fn socket(report: &mut Report, wire: &wire::Listener) -> Result<SocketListener, Error> {
    let wire::Listener {
        name: _,
        address,
        additional_addresses,
        stat_prefix,
        stats_matcher,
        filter_chains,
        fcds_config,
        filter_chain_matcher,
        use_original_dst,
        default_filter_chain,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        metadata,
        deprecated_v1,
        drain_type,
        listener_filters,
        listener_filters_timeout,
        continue_on_listener_filters_timeout,
        transparent,
        freebind,
        socket_options,
        tcp_fast_open_queue_length,
        traffic_direction,
        udp_listener_config,
        api_listener: _,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        access_log,
        tcp_backlog_size,
        max_connections_to_accept_per_socket_event,
        bind_to_port,
        enable_mptcp,
        ignore_global_conn_limit,
        bypass_overload_manager,
        tcp_keepalive,
        listener_specifier,
    } = wire;
    report.refused("fcds_config", fcds_config)?;
    report.refused("filter_chain_matcher", filter_chain_matcher)?;
    let watermark = "per_connection_buffer_high_watermark_timeout";
    report.refused(watermark, per_connection_buffer_high_watermark_timeout)?;
    report.refused("deprecated_v1", deprecated_v1)?;
    report.refused("socket_options", socket_options)?;
    report.refused("udp_listener_config", udp_listener_config)?;
    report.ignored("stat_prefix", stat_prefix);
    report.ignored("stats_matcher", stats_matcher);
    report.ignored("metadata", metadata);
    report.ignored("tcp_fast_open_queue_length", tcp_fast_open_queue_length);
    report.ignored("connection_balance_config", connection_balance_config);
    report.ignored("reuse_port", reuse_port);
    report.ignored("enable_reuse_port", enable_reuse_port);
    report.ignored("access_log", access_log);
    report.ignored("tcp_backlog_size", tcp_backlog_size);
    report.ignored("max_connections_to_accept_per_socket_event", max_connections_to_accept_per_socket_event);
    report.ignored("enable_mptcp", enable_mptcp);
    report.ignored("ignore_global_conn_limit", ignore_global_conn_limit);
    report.ignored("bypass_overload_manager", bypass_overload_manager);
    report.ignored("tcp_keepalive", tcp_keepalive);

    let addresses = match listener_specifier {
        None => addresses(report, address.as_ref(), additional_addresses)?,
        Some(ListenerSpecifier::InternalListener(InternalListenerConfig {})) => {
            report.refused("address", address)?;
            report.refused("additional_addresses", additional_addresses)?;
            Vec::new()
        }
    };
    let listener = SocketListener::internal();
    let chains = report.each("filter_chains", filter_chains, chain)?;
    let default_chain = match default_filter_chain {
        Some(wire) => Some(report.within("default_filter_chain", |report| default_chain(report, wire))?),
        None => None,
    };
    if chains.is_empty() && default_chain.is_none() {
        return Err(Error::Missing { field: report.at("filter_chains") });
    }
    without_clash(report, &chains)?;
    Ok(SocketListener {
        addresses,
        bind_to_port: listener_specifier.is_none() && bind_to_port.is_none_or(|bind| bind.value),
        use_original_dst: use_original_dst.is_some_and(|original| original.value),
        transparent: transparent.map(|transparent| transparent.value),
        freebind: freebind.map(|freebind| freebind.value),
        direction: direction(report, *traffic_direction)?,
        inspectors: report.each("listener_filters", listener_filters, inspector)?,
        inspection_timeout: match listener_filters_timeout {
            Some(timeout) => {
                Some(duration(report, "listener_filters_timeout", timeout)?).filter(|timeout| !timeout.is_zero())
            }
            None => listener.inspection_timeout,
        },
        continue_after_timeout: *continue_on_listener_filters_timeout,
        chains,
        default_chain,
        buffer_bytes: per_connection_buffer_limit_bytes.map_or(listener.buffer_bytes, |bytes| bytes.value),
        drain: match DrainType::try_from(*drain_type) {
            Ok(DrainType::Default) => Drain::Default,
            Ok(DrainType::ModifyOnly) => Drain::ModifyOnly,
            Err(_) => return Err(report.invalid("drain_type", format_args!("{drain_type} is not known"))),
        },
    })
}

fn addresses(
    report: &mut Report,
    first: Option<&Address>,
    more: &[wire::AdditionalAddress],
) -> Result<Vec<SocketAddr>, Error> {
    let first = report.required("address", first)?;
    let mut addresses = vec![report.within("address", |report| socket_address(report, first))?];
    addresses.extend(report.each("additional_addresses", more, additional)?);
    let mut seen = BTreeSet::new();
    match addresses.iter().find(|address| !seen.insert(**address)) {
        Some(twice) => Err(report.invalid("additional_addresses", format_args!("{twice} stands there twice"))),
        None => Ok(addresses),
    }
}

fn additional(report: &mut Report, wire: &wire::AdditionalAddress) -> Result<SocketAddr, Error> {
    let wire::AdditionalAddress { address, socket_options, tcp_keepalive } = wire;
    report.refused("socket_options", socket_options)?;
    report.ignored("tcp_keepalive", tcp_keepalive);
    let address = report.required("address", address.as_ref())?;
    report.within("address", |report| socket_address(report, address))
}

/// Envoy's rule for chains: after all lists are multiplied out, no two are equal.
fn without_clash(report: &Report, chains: &[FilterChain]) -> Result<(), Error> {
    for (at, chain) in chains.iter().enumerate() {
        if let Some(before) = chains.iter().take(at).position(|before| before.matcher.clashes_with(&chain.matcher)) {
            let field = format!("filter_chains[{at}].filter_chain_match");
            return Err(report.invalid(&field, format_args!("is as specific as that of filter_chains[{before}]")));
        }
    }
    Ok(())
}

fn direction(report: &Report, value: i32) -> Result<Direction, Error> {
    match TrafficDirection::try_from(value) {
        Ok(TrafficDirection::Unspecified) => Ok(Direction::Unspecified),
        Ok(TrafficDirection::Inbound) => Ok(Direction::Inbound),
        Ok(TrafficDirection::Outbound) => Ok(Direction::Outbound),
        Err(_) => Err(report.invalid("traffic_direction", format_args!("{value} is not known"))),
    }
}

pub(super) fn wire_internal(listener: &SocketListener) -> wire::Listener {
    // Envoy refuses what only sockets have, whatever its value.
    wire::Listener {
        bind_to_port: None,
        use_original_dst: None,
        transparent: None,
        freebind: None,
        listener_specifier: Some(ListenerSpecifier::InternalListener(InternalListenerConfig {})),
        ..wire_socket(listener)
    }
}

pub(super) fn wire_socket(listener: &SocketListener) -> wire::Listener {
    let SocketListener {
        addresses,
        bind_to_port,
        use_original_dst,
        transparent,
        freebind,
        direction,
        inspectors,
        inspection_timeout,
        continue_after_timeout,
        chains,
        default_chain,
        buffer_bytes,
        drain,
    } = listener;
    let mut addresses = addresses.iter().copied().map(wire_address);
    let direction = match direction {
        Direction::Unspecified => TrafficDirection::Unspecified,
        Direction::Inbound => TrafficDirection::Inbound,
        Direction::Outbound => TrafficDirection::Outbound,
    };
    let drain = match drain {
        Drain::Default => DrainType::Default,
        Drain::ModifyOnly => DrainType::ModifyOnly,
    };
    wire::Listener {
        address: addresses.next(),
        additional_addresses: addresses
            .map(|address| wire::AdditionalAddress { address: Some(address), ..wire::AdditionalAddress::default() })
            .collect(),
        bind_to_port: Some(boolean(*bind_to_port)),
        use_original_dst: Some(boolean(*use_original_dst)),
        transparent: transparent.map(boolean),
        freebind: freebind.map(boolean),
        traffic_direction: direction.into(),
        listener_filters: inspectors.iter().map(wire_inspector).collect(),
        listener_filters_timeout: Some(span(inspection_timeout.unwrap_or(Duration::ZERO))),
        continue_on_listener_filters_timeout: *continue_after_timeout,
        filter_chains: chains.iter().map(wire_chain).collect(),
        default_filter_chain: default_chain.as_ref().map(wire_default_chain),
        per_connection_buffer_limit_bytes: Some(uint32(*buffer_bytes)),
        drain_type: drain.into(),
        ..wire::Listener::default()
    }
}
