use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use mesh_core::name::Text;
use mesh_core::tls::{CertificateSource, Parameters, ValidationSource};

use super::parameters::{parameters, wire_parameters};
use super::secret::{certificate, reference, wire_certificate, wire_reference};
use super::validation::{provider, validation, wire_provider, wire_validation};
use crate::envoy::error::{Error, Report};

/// What both sides of TLS have.
pub(super) struct Common {
    pub(super) parameters: Parameters,
    pub(super) certificates: Vec<CertificateSource>,
    pub(super) validation: Option<ValidationSource>,
    pub(super) alpn: Vec<Text>,
}

pub(super) fn common(report: &mut Report, wire: &wire::CommonTlsContext) -> Result<Common, Error> {
    let wire::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = wire;
    report.refused("custom_tls_certificate_selector", custom_tls_certificate_selector)?;
    report.refused("tls_certificate_certificate_provider", tls_certificate_certificate_provider)?;
    report.refused("tls_certificate_certificate_provider_instance", tls_certificate_certificate_provider_instance)?;
    report.refused("custom_handshaker", custom_handshaker)?;
    report.ignored("key_log", key_log);
    let parameters = match tls_params {
        Some(wire) => report.within("tls_params", |report| parameters(report, wire))?,
        None => Parameters::default(),
    };
    let inline = report.each("tls_certificates", tls_certificates, |report, wire| {
        certificate(report, wire).map(CertificateSource::Inline)
    })?;
    let named =
        report.each("tls_certificate_sds_secret_configs", tls_certificate_sds_secret_configs, |report, wire| {
            reference(report, wire).map(CertificateSource::Secret)
        })?;
    let instance = match tls_certificate_provider_instance {
        Some(wire) => vec![provider(report, "tls_certificate_provider_instance", wire)?],
        None => Vec::new(),
    };
    let provided = instance.into_iter().map(CertificateSource::Provider).collect();
    let mut kinds = [inline, named, provided].into_iter().filter(|list: &Vec<_>| !list.is_empty());
    let certificates = kinds.next().unwrap_or_default();
    if kinds.next().is_some() {
        return Err(report.invalid("tls_certificates", "certificates come from more than one kind of source"));
    }
    let too_long = |name: &&String| name.is_empty() || name.len() > 255;
    if let Some(name) = alpn_protocols.iter().find(too_long) {
        return Err(report.invalid("alpn_protocols", format_args!("`{name}` is no protocol name")));
    }
    let alpn = alpn_protocols.iter().map(|name| name.as_str().into()).collect();
    let validation = validation_context_type.as_ref().map(|wire| validation_source(report, wire)).transpose()?;
    Ok(Common { parameters, certificates, validation, alpn })
}

fn validation_source(report: &mut Report, wire: &ValidationContextType) -> Result<ValidationSource, Error> {
    let unsupported = |report: &Report, field: &str| Err(Error::Unsupported { field: report.at(field) });
    match wire {
        ValidationContextType::ValidationContext(wire) => {
            report.within("validation_context", |report| whole(report, wire)).map(ValidationSource::Inline)
        }
        ValidationContextType::ValidationContextSdsSecretConfig(wire) => {
            let name = report.within("validation_context_sds_secret_config", |report| reference(report, wire));
            name.map(ValidationSource::Secret)
        }
        ValidationContextType::CombinedValidationContext(wire) => {
            report.within("combined_validation_context", |report| combined(report, wire))
        }
        ValidationContextType::ValidationContextCertificateProvider(_) => {
            unsupported(report, "validation_context_certificate_provider")
        }
        ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            unsupported(report, "validation_context_certificate_provider_instance")
        }
    }
}

/// A validation that nothing is laid over, and that therefore must believe in somebody itself.
fn whole(report: &mut Report, wire: &wire::CertificateValidationContext) -> Result<mesh_core::tls::Validation, Error> {
    let validation = validation(report, wire)?;
    report.required("trusted_ca", validation.trusted_ca.as_ref())?;
    Ok(validation)
}

fn combined(report: &mut Report, wire: &CombinedCertificateValidationContext) -> Result<ValidationSource, Error> {
    let CombinedCertificateValidationContext {
        default_validation_context,
        validation_context_sds_secret_config,
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance,
    } = wire;
    report.refused("validation_context_certificate_provider", validation_context_certificate_provider)?;
    report.refused(
        "validation_context_certificate_provider_instance",
        validation_context_certificate_provider_instance,
    )?;
    let default = report.required("default_validation_context", default_validation_context.as_ref())?;
    match validation_context_sds_secret_config {
        Some(wire) => {
            let default = report.within("default_validation_context", |report| validation(report, default))?;
            let secret = report.within("validation_context_sds_secret_config", |report| reference(report, wire))?;
            Ok(ValidationSource::Combined { default, secret })
        }
        // gRPC's form: its providers stand in the default, and there is nothing to lay over it.
        None => {
            report.within("default_validation_context", |report| whole(report, default)).map(ValidationSource::Inline)
        }
    }
}

pub(super) fn wire_common(
    parameters: &Parameters,
    certificates: &[CertificateSource],
    validation: Option<&ValidationSource>,
    alpn: &[Text],
) -> wire::CommonTlsContext {
    let mut wire = wire::CommonTlsContext {
        // Said in any case: where nothing is, a client of Envoy's stops at TLS 1.2.
        tls_params: Some(wire_parameters(parameters)),
        alpn_protocols: alpn.iter().map(Text::to_string).collect(),
        validation_context_type: validation.map(wire_validation_source),
        ..wire::CommonTlsContext::default()
    };
    for source in certificates {
        match source {
            CertificateSource::Inline(certificate) => wire.tls_certificates.push(wire_certificate(certificate)),
            CertificateSource::Secret(name) => wire.tls_certificate_sds_secret_configs.push(wire_reference(name)),
            CertificateSource::Provider(instance) => {
                wire.tls_certificate_provider_instance = Some(wire_provider(instance));
            }
        }
    }
    wire
}

fn wire_validation_source(source: &ValidationSource) -> ValidationContextType {
    match source {
        ValidationSource::Inline(validation) => ValidationContextType::ValidationContext(wire_validation(validation)),
        ValidationSource::Secret(name) => ValidationContextType::ValidationContextSdsSecretConfig(wire_reference(name)),
        ValidationSource::Combined { default, secret } => {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(wire_validation(default)),
                validation_context_sds_secret_config: Some(wire_reference(secret)),
                ..CombinedCertificateValidationContext::default()
            })
        }
    }
}
