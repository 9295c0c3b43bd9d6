//! Envoy's `Listener`s ↔ [`mesh_core::listener`].
//!
//! What decides who gets in, who is believed and where bytes go is honoured or refused; what only shows in statistics,
//! traces and logs, and what only tunes, is left out with a warning. The tables of the other messages stand beside their
//! code: filter chains, `TcpProxy`, `HttpConnectionManager` and its options.
//!
//! | field of **Listener** | how it is taken |
//! | --- | --- |
//! | `name`, `address`, `additional_addresses`, `bind_to_port`, `use_original_dst`, `transparent`, `freebind` | honoured |
//! | `filter_chains`, `default_filter_chain`, `traffic_direction`, `drain_type`, `per_connection_buffer_limit_bytes` | honoured |
//! | `listener_filters`, `listener_filters_timeout`, `continue_on_listener_filters_timeout` | honoured |
//! | `internal_listener` | honoured; an address, or what only sockets have, beside it: NACK |
//! | `api_listener` | honoured; everything else but the name: warning |
//! | `stat_prefix`, `stats_matcher`, `metadata`, `access_log` | warning |
//! | `tcp_fast_open_queue_length`, `tcp_backlog_size`, `tcp_keepalive`, `reuse_port`, `enable_reuse_port`, `enable_mptcp` | warning |
//! | `connection_balance_config`, `max_connections_to_accept_per_socket_event` | warning |
//! | `ignore_global_conn_limit`, `bypass_overload_manager` | warning: there is no way past a limit |
//! | `filter_chain_matcher`, `fcds_config`, `socket_options`, `udp_listener_config`, `deprecated_v1` | NACK |
//! | `per_connection_buffer_high_watermark_timeout` | NACK |
//! | neither a chain nor a default chain; an address twice | NACK |

mod chain;
mod chain_match;
mod http;
mod inspector;
mod socket;
mod tcp_proxy;

use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use mesh_core::listener::{HttpManager, Listener, ListenerKind};
use prost::Message;

use self::http::{http_manager, wire_http_manager};
use self::socket::{internal, socket, wire_internal, wire_socket};
use super::error::{Decoded, Error, Report};
use super::wire::{any, decode, holds, unpack};

/// Reads an `envoy.config.listener.v3.Listener`.
///
/// # Errors
/// [`Error`], when it cannot be used.
pub fn decode_listener(bytes: &[u8]) -> Result<Decoded<Listener>, Error> {
    let wire: wire::Listener = decode(bytes)?;
    let mut report = Report::default();
    let name = report.named("name", &wire.name)?;
    let kind = match &wire.api_listener {
        Some(listener) => {
            let beside = wire::Listener { name: String::new(), api_listener: None, ..wire.clone() };
            report.ignored("(fields beside api_listener)", &beside);
            let manager = report.within("api_listener", |report| api_listener(report, listener))?;
            ListenerKind::Api(Box::new(manager))
        }
        None if wire.listener_specifier.is_some() => ListenerKind::Internal(Box::new(internal(&mut report, &wire)?)),
        None => ListenerKind::Socket(Box::new(socket(&mut report, &wire)?)),
    };
    Ok(report.finish(Listener { name, kind }))
}

/// Writes an `envoy.config.listener.v3.Listener`.
#[must_use]
pub fn encode_listener(listener: &Listener) -> Vec<u8> {
    let Listener { name, kind } = listener;
    let wire = match kind {
        ListenerKind::Socket(socket) => wire::Listener { name: name.to_string(), ..wire_socket(socket) },
        ListenerKind::Internal(listener) => wire::Listener { name: name.to_string(), ..wire_internal(listener) },
        ListenerKind::Api(manager) => wire::Listener {
            name: name.to_string(),
            api_listener: Some(wire::ApiListener { api_listener: Some(any(&wire_http_manager(manager))) }),
            ..wire::Listener::default()
        },
    };
    wire.encode_to_vec()
}

fn api_listener(report: &mut Report, wire: &wire::ApiListener) -> Result<HttpManager, Error> {
    let wire::ApiListener { api_listener } = wire;
    let any = report.required("api_listener", api_listener.as_ref())?;
    if !holds::<HttpConnectionManager>(any) {
        return Err(Error::UnsupportedType { field: report.at("api_listener"), type_url: any.type_url.clone() });
    }
    let manager: HttpConnectionManager = unpack(report, "api_listener", any)?;
    report.within("api_listener", |report| http_manager(report, &manager))
}

#[cfg(test)]
mod tests;
