//! Clusters between the listeners.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, OriginalDstLbConfig,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    Address, EnvoyInternalAddress, Http2ProtocolOptions, HttpProtocolOptions as Common, TransportSocket,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::PathSegment;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment;
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};
use mesh_core::name::TrustDomain;
use mesh_core::service::HBONE_PORT;

use super::listener::{ORIGINATE, any};
use super::{MAIN, tls};

/// How long a tunnel without streams is kept.
const IDLE: Duration = Duration { seconds: 60 * 60, nanos: 0 };

/// The way from the end of a tunnel to `main_internal`.
pub(super) fn main_internal() -> Cluster {
    let internal = EnvoyInternalAddress {
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(MAIN.to_owned())),
        ..EnvoyInternalAddress::default()
    };
    let endpoint = Endpoint {
        address: Some(Address { address: Some(Place::EnvoyInternalAddress(internal)) }),
        ..Endpoint::default()
    };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let raw = TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&RawBuffer {}))),
    };
    let socket = InternalUpstreamTransport { transport_socket: Some(raw), ..InternalUpstreamTransport::default() };
    Cluster {
        name: MAIN.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: MAIN.to_owned(),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() }],
            ..ClusterLoadAssignment::default()
        }),
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.internal_upstream".to_owned(),
            config_type: Some(ConfigType::TypedConfig(any(&socket))),
        }),
        ..Cluster::default()
    }
}

/// Tunnels to port 15008 of where a stream leads, or to the waypoint that its metadata names.
pub(super) fn connect_originate(trust_domain: &TrustDomain) -> Cluster {
    let segment = PathSegment { segment: Some(Segment::Key("waypoint".to_owned())) };
    let metadata_key = MetadataKey { key: "envoy.filters.listener.original_dst".to_owned(), path: vec![segment] };
    let protocol = HttpProtocolOptions {
        common_http_protocol_options: Some(Common { idle_timeout: Some(IDLE), ..Common::default() }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions {
                allow_connect: true,
                ..Http2ProtocolOptions::default()
            })),
        })),
        ..HttpProtocolOptions::default()
    };
    let options = ("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), any(&protocol));
    Cluster {
        name: ORIGINATE.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        connect_timeout: Some(Duration { seconds: 10, nanos: 0 }),
        cleanup_interval: Some(Duration { seconds: 60, nanos: 0 }),
        lb_policy: LbPolicy::ClusterProvided.into(),
        lb_config: Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
            upstream_port_override: Some(UInt32Value { value: HBONE_PORT.into() }),
            metadata_key: Some(metadata_key),
            ..OriginalDstLbConfig::default()
        })),
        typed_extension_protocol_options: HashMap::from([options]),
        transport_socket: Some(tls::upstream(trust_domain)),
        ..Cluster::default()
    }
}
