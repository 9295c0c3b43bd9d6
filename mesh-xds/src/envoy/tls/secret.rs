use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use mesh_core::name::Text;
use mesh_core::tls::{Certificate, Secret, SecretKind};
use prost::Message;

use super::data::{data, optional_data, sensitive, wire_data};
use super::validation::{validation, wire_validation};
use crate::envoy::config_source::{same_server, wire_same_server};
use crate::envoy::error::{Decoded, Error, Report};
use crate::envoy::wire::decode;

/// Reads an `envoy.extensions.transport_sockets.tls.v3.Secret`.
///
/// # Errors
/// [`Error`], when it cannot be used. No error holds any of the secret.
pub fn decode_secret(bytes: &[u8]) -> Result<Decoded<Secret>, Error> {
    let wire::Secret { name, r#type } = decode(bytes)?;
    let mut report = Report::default();
    if name.is_empty() {
        return Err(Error::Missing { field: report.at("name") });
    }
    let kind = match report.required("type", r#type)? {
        Type::TlsCertificate(wire) => {
            report.within("tls_certificate", |report| certificate(report, &wire)).map(SecretKind::Certificate)
        }
        Type::ValidationContext(wire) => {
            let validation = report.within("validation_context", |report| validation(report, &wire));
            validation.map(|validation| SecretKind::Validation(Box::new(validation)))
        }
        Type::GenericSecret(wire) => report.within("generic_secret", |report| generic(report, &wire)),
        Type::SessionTicketKeys(_) => Err(Error::Unsupported { field: report.at("session_ticket_keys") }),
    }?;
    Ok(report.finish(Secret { name: name.into(), kind }))
}

/// Writes an `envoy.extensions.transport_sockets.tls.v3.Secret`.
#[must_use]
pub fn encode_secret(secret: &Secret) -> Vec<u8> {
    let Secret { name, kind } = secret;
    let kind = match kind {
        SecretKind::Certificate(certificate) => Type::TlsCertificate(wire_certificate(certificate)),
        SecretKind::Validation(validation) => Type::ValidationContext(wire_validation(validation)),
        SecretKind::Generic { secret, secrets } => Type::GenericSecret(wire::GenericSecret {
            secret: secret.as_ref().map(|secret| wire_data(&secret.0)),
            secrets: secrets.iter().map(|(name, secret)| (name.to_string(), wire_data(&secret.0))).collect(),
        }),
    };
    wire::Secret { name: name.to_string(), r#type: Some(kind) }.encode_to_vec()
}

fn generic(report: &mut Report, wire: &wire::GenericSecret) -> Result<SecretKind, Error> {
    let wire::GenericSecret { secret, secrets } = wire;
    let secret = secret.as_ref().map(|secret| sensitive(report, "secret", secret)).transpose()?;
    Ok(SecretKind::Generic { secret, secrets: named(report, secrets)? })
}

fn named<C: FromIterator<(Text, mesh_core::tls::Sensitive)>>(
    report: &mut Report,
    secrets: &HashMap<String, envoy_types::pb::envoy::config::core::v3::DataSource>,
) -> Result<C, Error> {
    // In order, so that the same resource gives the same first error.
    let secrets: BTreeMap<_, _> = secrets.iter().collect();
    let one = |(name, source): (&String, _)| {
        Ok((name.as_str().into(), sensitive(report, &format!("secrets[{name}]"), source)?))
    };
    secrets.into_iter().map(one).collect()
}

/// A certificate with its private key.
pub(super) fn certificate(report: &mut Report, wire: &wire::TlsCertificate) -> Result<Certificate, Error> {
    let wire::TlsCertificate {
        certificate_chain,
        private_key,
        pkcs12,
        watched_directory,
        private_key_provider,
        password,
        ocsp_staple,
        signed_certificate_timestamp,
        tls_params,
    } = wire;
    report.refused("pkcs12", pkcs12)?;
    report.refused("private_key_provider", private_key_provider)?;
    report.refused("password", password)?;
    report.refused("tls_params", tls_params)?;
    report.ignored("watched_directory", watched_directory);
    report.ignored("signed_certificate_timestamp", signed_certificate_timestamp);
    let chain = report.required("certificate_chain", certificate_chain.as_ref())?;
    let key = report.required("private_key", private_key.as_ref())?;
    Ok(Certificate {
        chain: data(report, "certificate_chain", chain)?,
        key: sensitive(report, "private_key", key)?,
        ocsp_staple: optional_data(report, "ocsp_staple", ocsp_staple.as_ref())?,
    })
}

pub(super) fn wire_certificate(certificate: &Certificate) -> wire::TlsCertificate {
    let Certificate { chain, key, ocsp_staple } = certificate;
    wire::TlsCertificate {
        certificate_chain: Some(wire_data(chain)),
        private_key: Some(wire_data(&key.0)),
        ocsp_staple: ocsp_staple.as_ref().map(wire_data),
        ..wire::TlsCertificate::default()
    }
}

/// The name of a secret that the same server has.
pub(super) fn reference(report: &mut Report, wire: &wire::SdsSecretConfig) -> Result<Text, Error> {
    let wire::SdsSecretConfig { name, sds_config } = wire;
    if name.is_empty() {
        return Err(Error::Missing { field: report.at("name") });
    }
    same_server(report, "sds_config", sds_config.as_ref())?;
    Ok(name.as_str().into())
}

pub(super) fn wire_reference(name: &Text) -> wire::SdsSecretConfig {
    wire::SdsSecretConfig { name: name.to_string(), sds_config: Some(wire_same_server()) }
}
