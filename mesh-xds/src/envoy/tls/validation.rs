use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::SystemRootCerts;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use mesh_core::tls::{Fingerprint, ProviderInstance, Revocation, SanKind, SanMatcher, TrustedCa, Validation};

use super::data::{data, optional_data, wire_data};
use crate::envoy::error::{Error, Report};
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::uint32;

/// What the certificate of a peer must be; perhaps only a half, see [`mesh_core::tls::ValidationSource`].
pub(super) fn validation(report: &mut Report, wire: &wire::CertificateValidationContext) -> Result<Validation, Error> {
    let wire::CertificateValidationContext {
        trusted_ca: bundle,
        ca_certificate_provider_instance,
        system_root_certs,
        watched_directory,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        allow_expired_certificate,
        trust_chain_verification,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
        suppress_client_ca_list,
    } = wire;
    let no_timestamp = require_signed_certificate_timestamp.filter(|required| required.value);
    report.refused("require_signed_certificate_timestamp", &no_timestamp)?;
    report.refused("allow_expired_certificate", allow_expired_certificate)?;
    report.refused("trust_chain_verification", trust_chain_verification)?;
    report.refused("custom_validator_config", custom_validator_config)?;
    report.ignored("watched_directory", watched_directory);
    report.ignored("suppress_client_ca_list", suppress_client_ca_list);

    let trusted_ca = match (bundle, ca_certificate_provider_instance, system_root_certs) {
        (Some(_), Some(_), _) => {
            return Err(report.invalid("ca_certificate_provider_instance", "stands beside `trusted_ca`"));
        }
        (Some(bundle), None, _) => Some(TrustedCa::Bundle(data(report, "trusted_ca", bundle)?)),
        (None, Some(instance), _) => {
            Some(TrustedCa::Provider(provider(report, "ca_certificate_provider_instance", instance)?))
        }
        (None, None, Some(SystemRootCerts {})) => Some(TrustedCa::System),
        (None, None, None) => None,
    };
    let mut names = report.each("match_typed_subject_alt_names", match_typed_subject_alt_names, san)?;
    names.extend(report.each("match_subject_alt_names", match_subject_alt_names, any_san)?.into_iter().flatten());
    Ok(Validation {
        trusted_ca,
        names,
        certificate_pins: pins(report, "verify_certificate_hash", verify_certificate_hash, parse_hex)?,
        key_pins: pins(report, "verify_certificate_spki", verify_certificate_spki, parse_base64)?,
        crl: optional_data(report, "crl", crl.as_ref())?,
        revocation: if *only_verify_leaf_cert_crl { Revocation::Leaf } else { Revocation::Chain },
        max_depth: max_verify_depth.map(|depth| depth.value),
    })
}

pub(super) fn wire_validation(validation: &Validation) -> wire::CertificateValidationContext {
    let Validation { trusted_ca, names, certificate_pins, key_pins, crl, revocation, max_depth } = validation;
    let mut wire = wire::CertificateValidationContext {
        match_typed_subject_alt_names: names.iter().map(wire_san).collect(),
        verify_certificate_hash: certificate_pins.iter().map(hex).collect(),
        verify_certificate_spki: key_pins.iter().map(|pin| STANDARD.encode(pin)).collect(),
        crl: crl.as_ref().map(wire_data),
        only_verify_leaf_cert_crl: *revocation == Revocation::Leaf,
        max_verify_depth: max_depth.map(uint32),
        ..wire::CertificateValidationContext::default()
    };
    match trusted_ca {
        Some(TrustedCa::Bundle(bundle)) => wire.trusted_ca = Some(wire_data(bundle)),
        Some(TrustedCa::Provider(instance)) => wire.ca_certificate_provider_instance = Some(wire_provider(instance)),
        Some(TrustedCa::System) => wire.system_root_certs = Some(SystemRootCerts {}),
        None => {}
    }
    wire
}

fn san(report: &mut Report, wire: &wire::SubjectAltNameMatcher) -> Result<SanMatcher, Error> {
    let wire::SubjectAltNameMatcher { san_type, matcher, oid } = wire;
    let kind = match SanType::try_from(*san_type) {
        Ok(SanType::Email) => SanKind::Email,
        Ok(SanType::Dns) => SanKind::Dns,
        Ok(SanType::Uri) => SanKind::Uri,
        Ok(SanType::IpAddress) => SanKind::Ip,
        Ok(SanType::Unspecified | SanType::OtherName) | Err(_) => {
            return Err(report.invalid("san_type", format_args!("{san_type} is not supported")));
        }
    };
    report.refused("oid", oid)?;
    let matcher = report.required("matcher", matcher.as_ref())?;
    let pattern = report.within("matcher", |report| pattern(report, matcher))?;
    Ok(SanMatcher { kind, pattern })
}

fn wire_san(matcher: &SanMatcher) -> wire::SubjectAltNameMatcher {
    let SanMatcher { kind, pattern } = matcher;
    let san_type = match kind {
        SanKind::Email => SanType::Email,
        SanKind::Dns => SanType::Dns,
        SanKind::Uri => SanType::Uri,
        SanKind::Ip => SanType::IpAddress,
    };
    wire::SubjectAltNameMatcher { san_type: san_type.into(), matcher: Some(wire_pattern(pattern)), oid: String::new() }
}

/// The older form without a kind means any kind.
fn any_san(report: &mut Report, wire: &StringMatcher) -> Result<[SanMatcher; 4], Error> {
    let pattern = pattern(report, wire)?;
    Ok([SanKind::Email, SanKind::Dns, SanKind::Uri, SanKind::Ip]
        .map(|kind| SanMatcher { kind, pattern: pattern.clone() }))
}

fn pins(
    report: &Report,
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Option<Fingerprint>,
) -> Result<Vec<Fingerprint>, Error> {
    let refuse = |text: &String| report.invalid(field, format_args!("`{text}` is no SHA-256"));
    texts.iter().map(|text| parse(text).ok_or_else(|| refuse(text))).collect()
}

fn parse_base64(text: &str) -> Option<Fingerprint> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// 64 hexadecimal digits, or 32 pairs of them with colons between.
fn parse_hex(text: &str) -> Option<Fingerprint> {
    let joined: String = match text.contains(':') {
        true if text.split(':').all(|pair| pair.len() == 2) => text.split(':').collect(),
        true => return None,
        false => text.to_owned(),
    };
    let digits: Vec<u8> = joined
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

fn hex(pin: &Fingerprint) -> String {
    pin.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn provider(
    report: &mut Report,
    field: &str,
    wire: &wire::CertificateProviderPluginInstance,
) -> Result<ProviderInstance, Error> {
    let wire::CertificateProviderPluginInstance { instance_name, certificate_name } = wire;
    if instance_name.is_empty() {
        return Err(Error::Missing { field: report.at(format_args!("{field}.instance_name")) });
    }
    Ok(ProviderInstance { instance: instance_name.as_str().into(), certificate: certificate_name.as_str().into() })
}

pub(super) fn wire_provider(instance: &ProviderInstance) -> wire::CertificateProviderPluginInstance {
    let ProviderInstance { instance, certificate } = instance;
    wire::CertificateProviderPluginInstance {
        instance_name: instance.to_string(),
        certificate_name: certificate.to_string(),
    }
}
