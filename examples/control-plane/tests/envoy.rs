//! A real Envoy judges what it would be programmed with. Needs one: its path in `MESH_ENVOY`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

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
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::Any;
use mesh_control_plane::standalone;
use mesh_control_plane::translate::Place;
use mesh_control_plane::translate::waypoint::Flavour;
use mesh_core::name::{Locality, NamespacedName, parse_trust_domain};
use prost::{Message, Name};

fn any<T: Message + Name>(message: &T) -> Any {
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

#[test]
fn envoy_takes_what_waypoints_are_programmed_with() {
    let Some(envoy) = std::env::var_os("MESH_ENVOY") else {
        println!("SKIPPED: MESH_ENVOY names no Envoy");
        return;
    };
    let place = Place {
        trust_domain: parse_trust_domain("cluster.local").unwrap(),
        cluster_id: "c1".into(),
        network: String::new(),
        root_namespace: "istio-system".into(),
        cluster_domain: "cluster.local".into(),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-waypoint");
    let work = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root).unwrap() {
        let directory = entry.unwrap().path();
        let waypoint = NamespacedName::new("shop", "waypoint");
        let (resources, _) =
            standalone::resources(&directory, &place, &waypoint, &Locality::new("eu", "a", "")).unwrap();
        let [(_, clusters), _, (_, listeners)] = resources.encode(Flavour::Envoy, &place.trust_domain);
        let mut clusters: Vec<Cluster> =
            clusters.iter().map(|(_, bytes)| Cluster::decode(bytes.as_slice()).unwrap()).collect();
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
        let bootstrap = Bootstrap {
            node: Some(Node {
                id: "waypoint~10.0.0.100~w.shop~shop.svc.cluster.local".into(),
                cluster: "w".into(),
                ..Node::default()
            }),
            admin: Some(Admin::default()),
            bootstrap_extensions: vec![TypedExtensionConfig {
                name: "envoy.bootstrap.internal_listener".into(),
                typed_config: Some(any(&InternalListener::default())),
            }],
            dynamic_resources: Some(DynamicResources { ads_config: Some(ads), ..DynamicResources::default() }),
            static_resources: Some(StaticResources {
                listeners: listeners.iter().map(|(_, bytes)| Listener::decode(bytes.as_slice()).unwrap()).collect(),
                clusters,
                ..StaticResources::default()
            }),
            ..Bootstrap::default()
        };
        let file = work.path().join("bootstrap.pb");
        std::fs::write(&file, bootstrap.encode_to_vec()).unwrap();
        let output = Command::new(&envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", directory.display());
    }
}
