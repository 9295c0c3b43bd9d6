use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use mesh_core::tls::{CipherSuite, Group, Parameters, Version};

use crate::envoy::error::{Error, Report};

pub(super) fn parameters(report: &mut Report, wire: &wire::TlsParameters) -> Result<Parameters, Error> {
    let wire::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = wire;
    report.refused("signature_algorithms", signature_algorithms)?;
    report.refused("compliance_policies", compliance_policies)?;
    let minimum = version(report, "tls_minimum_protocol_version", *tls_minimum_protocol_version, Version::Tls12)?;
    let maximum = version(report, "tls_maximum_protocol_version", *tls_maximum_protocol_version, Version::Tls13)?;
    if minimum > maximum {
        return Err(report.invalid("tls_maximum_protocol_version", "is below the minimum"));
    }
    Ok(Parameters {
        minimum,
        maximum,
        cipher_suites: known(report, "cipher_suites", cipher_suites, CipherSuite::parse)?,
        groups: known(report, "ecdh_curves", ecdh_curves, Group::parse)?,
    })
}

fn known<T>(report: &Report, field: &str, names: &[String], parse: fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
    let unknown = |name: &String| report.invalid(field, format_args!("`{name}` is not supported"));
    names.iter().map(|name| parse(name).ok_or_else(|| unknown(name))).collect()
}

fn version(report: &Report, field: &str, value: i32, automatic: Version) -> Result<Version, Error> {
    match TlsProtocol::try_from(value) {
        Ok(TlsProtocol::TlsAuto) => Ok(automatic),
        Ok(TlsProtocol::TlSv12) => Ok(Version::Tls12),
        Ok(TlsProtocol::TlSv13) => Ok(Version::Tls13),
        Ok(old @ (TlsProtocol::TlSv10 | TlsProtocol::TlSv11)) => {
            Err(report.invalid(field, format_args!("{} is not supported", old.as_str_name())))
        }
        Err(_) => Err(report.invalid(field, format_args!("{value} is no version"))),
    }
}

pub(super) fn wire_parameters(parameters: &Parameters) -> wire::TlsParameters {
    let Parameters { minimum, maximum, cipher_suites, groups } = parameters;
    wire::TlsParameters {
        tls_minimum_protocol_version: wire_version(*minimum).into(),
        tls_maximum_protocol_version: wire_version(*maximum).into(),
        cipher_suites: cipher_suites.iter().map(|suite| suite.as_str().to_owned()).collect(),
        ecdh_curves: groups.iter().map(|group| group.as_str().to_owned()).collect(),
        ..wire::TlsParameters::default()
    }
}

fn wire_version(version: Version) -> TlsProtocol {
    match version {
        Version::Tls12 => TlsProtocol::TlSv12,
        Version::Tls13 => TlsProtocol::TlSv13,
    }
}
