//! Mutual TLS with what the agent beside Envoy gives.

use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    TlsParameters, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::BoolValue;
use mesh_core::name::TrustDomain;
use prost::{Message, Name};

use super::listener::any;

/// The cluster that serves secrets.
const SECRETS: &str = "sds-grpc";

pub(super) fn downstream(trust_domain: &TrustDomain) -> TransportSocket {
    socket(&DownstreamTlsContext {
        common_tls_context: Some(common(trust_domain)),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    })
}

pub(super) fn upstream(trust_domain: &TrustDomain) -> TransportSocket {
    let common_tls_context = Some(common(trust_domain));
    socket(&UpstreamTlsContext { common_tls_context, ..UpstreamTlsContext::default() })
}

fn socket<T: Message + Name>(context: &T) -> TransportSocket {
    let name = "envoy.transport_sockets.tls".to_owned();
    TransportSocket { name, config_type: Some(ConfigType::TypedConfig(any(context))) }
}

fn common(trust_domain: &TrustDomain) -> CommonTlsContext {
    let version = i32::from(TlsProtocol::TlSv13);
    let name = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(format!("spiffe://{trust_domain}/"))),
        ..StringMatcher::default()
    };
    let expected = SubjectAltNameMatcher { san_type: SanType::Uri.into(), matcher: Some(name), ..Default::default() };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: vec![expected],
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
        ..CombinedCertificateValidationContext::default()
    };
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: version,
            tls_maximum_protocol_version: version,
            ..TlsParameters::default()
        }),
        alpn_protocols: vec!["h2".to_owned()],
        tls_certificate_sds_secret_configs: vec![secret("default")],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

pub(super) fn secret(name: &str) -> SdsSecretConfig {
    let envoy_grpc = EnvoyGrpc { cluster_name: SECRETS.to_owned(), ..EnvoyGrpc::default() };
    let service =
        GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy_grpc)), ..GrpcService::default() };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    };
    let sds_config = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        ..ConfigSource::default()
    };
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(sds_config) }
}
