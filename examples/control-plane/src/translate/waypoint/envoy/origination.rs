//! TLS of clusters, in words that Envoy understands.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TransportSocket, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use super::super::origination::{MESH_ROOTS, OWN_CERTIFICATE};
use super::listener::any;
use super::tls;

/// Where the images of Envoy have the roots of the web.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether anything had to be said otherwise, and was.
pub(super) fn adapt(cluster: &mut Cluster) -> bool {
    cluster.transport_socket.as_mut().is_some_and(socket)
}

fn socket(socket: &mut TransportSocket) -> bool {
    let Some(ConfigType::TypedConfig(config)) = &mut socket.config_type else { return false };
    if let Some(mut around) = read::<InternalUpstreamTransport>(config) {
        let changed = around.transport_socket.as_mut().is_some_and(self::socket);
        *config = any(&around);
        return changed;
    }
    let Some(mut context) = read::<UpstreamTlsContext>(config) else { return false };
    if let Some(common) = &mut context.common_tls_context {
        tls(common);
    }
    *config = any(&context);
    true
}

/// The message in an `Any`, if it is of this type.
pub(in crate::translate) fn read<T: Message + Name + Default>(config: &Any) -> Option<T> {
    (config.type_url.rsplit('/').next() == Some(T::full_name().as_str()))
        .then(|| T::decode(config.value.as_slice()).ok())
        .flatten()
}

fn tls(common: &mut CommonTlsContext) {
    common.tls_certificate_sds_secret_configs.iter_mut().for_each(by_agent);
    match &mut common.validation_context_type {
        Some(ValidationContextType::ValidationContext(context)) => with_file(context),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => by_agent(secret),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.default_validation_context.iter_mut().for_each(with_file);
            combined.validation_context_sds_secret_config.iter_mut().for_each(by_agent);
        }
        _ => {}
    }
}

/// The waypoint's own secrets come from the agent beside it.
fn by_agent(secret: &mut SdsSecretConfig) {
    if [OWN_CERTIFICATE, MESH_ROOTS].contains(&secret.name.as_str()) {
        *secret = tls::secret(&secret.name);
    }
}

fn with_file(context: &mut CertificateValidationContext) {
    if context.system_root_certs.take().is_some() {
        let specifier = Some(Specifier::Filename(ROOTS.to_owned()));
        context.trusted_ca = Some(DataSource { specifier, ..DataSource::default() });
    }
}
