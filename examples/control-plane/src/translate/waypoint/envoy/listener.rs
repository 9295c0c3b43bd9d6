//! Listeners that end tunnels and begin them.

use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, Http2ProtocolOptions, KeepaliveSettings, SocketAddress, TrafficDirection,
};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as NetworkConfig;
use envoy_types::pb::envoy::config::listener::v3::listener::connection_balance_config::{BalanceType, ExactBalance};
use envoy_types::pb::envoy::config::listener::v3::listener::{
    ConnectionBalanceConfig, InternalListenerConfig, ListenerSpecifier,
};
use envoy_types::pb::envoy::config::listener::v3::listener_filter::ConfigType as ListenerConfig;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, ListenerFilter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::upgrade_config::ConnectConfig;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, UpgradeConfig as RouteUpgrade};
use envoy_types::pb::envoy::config::route::v3::route_match::{ConnectMatcher, PathSpecifier};
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as RequestState;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    RouteSpecifier, UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as HttpConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter,
};
use envoy_types::pb::envoy::extensions::filters::network::set_filter_state::v3::Config as ConnectionState;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier as TcpTarget, TunnelingConfig,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration, UInt32Value};
use mesh_core::name::TrustDomain;
use mesh_core::service::HBONE_PORT;
use prost::{Message, Name};

use super::{MAIN, state, tls};

/// The listener that ends tunnels.
const TERMINATE: &str = "connect_terminate";

/// The listener, and the cluster, that begin tunnels.
pub(super) const ORIGINATE: &str = "connect_originate";

/// Streams that a node proxy may have open in one connection, as Istio has it.
const MAX_STREAMS: u32 = 100;

/// Ends tunnels, and hands what is in them to `main_internal`.
pub(super) fn connect_terminate(trust_domain: &TrustDomain) -> Listener {
    let chain = FilterChain {
        name: "default".to_owned(),
        filters: vec![network("envoy.filters.network.http_connection_manager", &terminating_manager())],
        transport_socket: Some(tls::downstream(trust_domain)),
        ..FilterChain::default()
    };
    Listener {
        name: TERMINATE.to_owned(),
        address: Some(address("0.0.0.0", HBONE_PORT)),
        filter_chains: vec![chain],
        traffic_direction: TrafficDirection::Inbound.into(),
        connection_balance_config: Some(ConnectionBalanceConfig {
            balance_type: Some(BalanceType::ExactBalance(ExactBalance {})),
        }),
        ..Listener::default()
    }
}

fn terminating_manager() -> HttpConnectionManager {
    let connect = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(MAIN.to_owned())),
        upgrade_configs: vec![RouteUpgrade {
            upgrade_type: "CONNECT".to_owned(),
            connect_config: Some(ConnectConfig::default()),
            ..RouteUpgrade::default()
        }],
        ..RouteAction::default()
    };
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::ConnectMatcher(ConnectMatcher {})),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(connect)),
        ..Route::default()
    };
    let host = VirtualHost {
        name: "default".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let routes =
        RouteConfiguration { name: "default".to_owned(), virtual_hosts: vec![host], ..RouteConfiguration::default() };
    let keepalive = KeepaliveSettings {
        interval: Some(Duration { seconds: 10, nanos: 0 }),
        timeout: Some(Duration { seconds: 20, nanos: 0 }),
        ..KeepaliveSettings::default()
    };
    let state = RequestState { on_request_headers: state::of_tunnel(), ..RequestState::default() };
    HttpConnectionManager {
        stat_prefix: TERMINATE.to_owned(),
        http_filters: vec![
            request("connect_authority", any(&state)),
            request("envoy.filters.http.router", any(&Router::default())),
        ],
        http2_protocol_options: Some(Http2ProtocolOptions {
            allow_connect: true,
            max_concurrent_streams: Some(UInt32Value { value: MAX_STREAMS }),
            connection_keepalive: Some(keepalive),
            ..Http2ProtocolOptions::default()
        }),
        stream_idle_timeout: Some(Duration::default()),
        use_remote_address: Some(BoolValue { value: false }),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "CONNECT".to_owned(), ..UpgradeConfig::default() }],
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        ..HttpConnectionManager::default()
    }
}

/// Begins a tunnel to where a stream leads.
pub(super) fn connect_originate() -> Listener {
    let proxy = TcpProxy {
        stat_prefix: ORIGINATE.to_owned(),
        cluster_specifier: Some(TcpTarget::Cluster(ORIGINATE.to_owned())),
        tunneling_config: Some(TunnelingConfig {
            hostname: "%DOWNSTREAM_LOCAL_ADDRESS%".to_owned(),
            ..TunnelingConfig::default()
        }),
        ..TcpProxy::default()
    };
    let original_dst = ListenerFilter {
        name: "envoy.filters.listener.original_dst".to_owned(),
        config_type: Some(ListenerConfig::TypedConfig(any(&OriginalDst {}))),
        ..ListenerFilter::default()
    };
    let chain = FilterChain {
        name: "default".to_owned(),
        filters: vec![network("envoy.filters.network.tcp_proxy", &proxy)],
        ..FilterChain::default()
    };
    Listener {
        name: ORIGINATE.to_owned(),
        listener_filters: vec![original_dst],
        filter_chains: vec![chain],
        listener_specifier: Some(ListenerSpecifier::InternalListener(InternalListenerConfig {})),
        ..Listener::default()
    }
}

/// A filter that says again where a stream leads.
pub(super) fn keep_destination() -> Filter {
    let on_new_connection = vec![state::destination_again()];
    network("connect_authority", &ConnectionState { on_new_connection, ..ConnectionState::default() })
}

fn network<T: Message + Name>(name: &str, config: &T) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(NetworkConfig::TypedConfig(any(config))) }
}

fn request(name: &str, config: Any) -> HttpFilter {
    HttpFilter { name: name.to_owned(), config_type: Some(HttpConfig::TypedConfig(config)), ..HttpFilter::default() }
}

fn address(ip: &str, port: u16) -> Address {
    let socket = SocketAddress {
        address: ip.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(Place::SocketAddress(socket)) }
}

pub(in crate::translate) fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}
