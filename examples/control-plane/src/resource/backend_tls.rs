//! `gateway.networking.k8s.io` BackendTLSPolicy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LocalReference, Metadata};

/// `gateway.networking.k8s.io BackendTLSPolicy`: backends are spoken to by TLS.
#[derive(Debug, Clone, Deserialize)]
pub struct BackendTlsPolicy {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    pub spec: BackendTlsSpec,
}

/// Specification of a BackendTLSPolicy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsSpec {
    /// The backends, in its namespace.
    #[serde(default)]
    pub target_refs: Vec<BackendTlsTarget>,
    /// Who they must be.
    pub validation: BackendTlsValidation,
    /// What implementations understand beside.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A backend that is spoken to by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsTarget {
    /// API group; empty for a Service.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Only the port of this name.
    #[serde(default)]
    pub section_name: Option<String>,
}

/// Who a backend must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsValidation {
    /// Who signs its certificate, each in the key `ca.crt` of a ConfigMap.
    pub ca_certificate_refs: Vec<LocalReference>,
    /// `System`: the authorities that the machine believes.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// The server name, which is the name that is verified where `subject_alt_names` is empty.
    pub hostname: String,
    /// Names of which the certificate must have one.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubjectAltName {
    /// `Hostname` or `URI`.
    pub r#type: String,
    /// For the first; a wildcard may be its first label.
    #[serde(default)]
    pub hostname: Option<String>,
    /// For the second.
    #[serde(default)]
    pub uri: Option<String>,
}
