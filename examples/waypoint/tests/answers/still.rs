//! Resources that are discovered, made to stand in a bootstrap.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TransportSocket};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, Secret, TlsCertificate, UpstreamTlsContext,
};
use prost::Message;

use crate::bootstrap::any;

/// A cluster whose endpoints are discovered, with its endpoints.
pub fn cluster(mut cluster: Cluster, assignments: &[ClusterLoadAssignment]) -> Cluster {
    if cluster.eds_cluster_config.take().is_some() {
        let endpoints = assignments.iter().find(|one| one.cluster_name == cluster.name).cloned();
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
        cluster.load_assignment = endpoints;
    }
    if let Some(socket) = &mut cluster.transport_socket {
        upstream(socket);
    }
    cluster
}

/// A socket whose secrets stand in the bootstrap.
pub fn downstream(socket: &mut TransportSocket) {
    let Some(ConfigType::TypedConfig(config)) = &mut socket.config_type else { return };
    let mut context = DownstreamTlsContext::decode(config.value.as_slice()).unwrap();
    still(context.common_tls_context.as_mut().unwrap());
    *config = any(&context);
}

fn upstream(socket: &mut TransportSocket) {
    let Some(ConfigType::TypedConfig(config)) = &mut socket.config_type else { return };
    if config.type_url.ends_with("InternalUpstreamTransport") {
        let mut around = InternalUpstreamTransport::decode(config.value.as_slice()).unwrap();
        around.transport_socket.iter_mut().for_each(upstream);
        *config = any(&around);
        return;
    }
    if !config.type_url.ends_with("UpstreamTlsContext") {
        return;
    }
    let mut context = UpstreamTlsContext::decode(config.value.as_slice()).unwrap();
    still(context.common_tls_context.as_mut().unwrap());
    *config = any(&context);
}

fn still(context: &mut CommonTlsContext) {
    for secret in &mut context.tls_certificate_sds_secret_configs {
        secret.sds_config = None;
    }
    if let Some(ValidationContextType::CombinedValidationContext(combined)) = &mut context.validation_context_type {
        combined.validation_context_sds_secret_config.as_mut().unwrap().sds_config = None;
    }
}

/// What an agent beside Envoy would give.
pub fn secrets(chain: String, key: String, roots: String) -> Vec<Secret> {
    let source = |text: String| DataSource { specifier: Some(Specifier::InlineString(text)), ..DataSource::default() };
    let certificate = TlsCertificate {
        certificate_chain: Some(source(chain)),
        private_key: Some(source(key)),
        ..TlsCertificate::default()
    };
    let validation =
        CertificateValidationContext { trusted_ca: Some(source(roots)), ..CertificateValidationContext::default() };
    vec![
        Secret { name: "default".into(), r#type: Some(Type::TlsCertificate(certificate)) },
        Secret { name: "ROOTCA".into(), r#type: Some(Type::ValidationContext(validation)) },
    ]
}
