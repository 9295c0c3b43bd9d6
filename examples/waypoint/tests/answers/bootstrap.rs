//! What a real Envoy begins with.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::{DynamicResources, StaticResources};
use envoy_types::pb::envoy::config::bootstrap::v3::{Admin, Bootstrap};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, GrpcService, Http2ProtocolOptions, Node, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::extensions::bootstrap::internal_listener::v3::InternalListener;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

pub fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}

/// A cluster of gRPC that nobody answers.
fn nobody(name: &str) -> Cluster {
    let http2 = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
        })),
        ..HttpProtocolOptions::default()
    };
    let options = ("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), any(&http2));
    Cluster { name: name.into(), typed_extension_protocol_options: HashMap::from([options]), ..Cluster::default() }
}

/// Static resources, and discovery that nobody answers.
pub fn bootstrap(listeners: Vec<Listener>, mut clusters: Vec<Cluster>, secrets: Vec<Secret>) -> Bootstrap {
    clusters.extend([nobody("sds-grpc"), nobody("xds")]);
    let service = EnvoyGrpc { cluster_name: "xds".into(), ..EnvoyGrpc::default() };
    let ads = ApiConfigSource {
        api_type: ApiType::DeltaGrpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(service)),
            ..GrpcService::default()
        }],
        ..ApiConfigSource::default()
    };
    let id = "waypoint~10.0.0.100~waypoint-1.shop~shop.svc.cluster.local";
    Bootstrap {
        node: Some(Node { id: id.into(), cluster: "waypoint".into(), ..Node::default() }),
        admin: Some(Admin::default()),
        bootstrap_extensions: vec![TypedExtensionConfig {
            name: "envoy.bootstrap.internal_listener".into(),
            typed_config: Some(any(&InternalListener::default())),
        }],
        dynamic_resources: Some(DynamicResources { ads_config: Some(ads), ..DynamicResources::default() }),
        static_resources: Some(StaticResources { listeners, clusters, secrets }),
        ..Bootstrap::default()
    }
}
