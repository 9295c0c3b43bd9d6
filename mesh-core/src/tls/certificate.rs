use std::collections::BTreeMap;

use super::data::{DataSource, ProviderInstance, Sensitive};
use super::validation::Validation;
use crate::name::Text;

/// Something that is needed to secure connections and comes by its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name that listeners and clusters use.
    pub name: Text,
    /// What it is.
    pub kind: SecretKind,
}

/// What a [`Secret`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// What one proves oneself with.
    Certificate(Certificate),
    /// What a peer is verified with.
    Validation(Box<Validation>),
    /// Anything else, such as the credentials of a filter.
    Generic {
        /// A secret without a name of its own.
        secret: Option<Sensitive>,
        /// Secrets by name.
        secrets: BTreeMap<Text, Sensitive>,
    },
}

/// A certificate with its private key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The chain in PEM, leaf first.
    pub chain: DataSource,
    /// The private key in PEM, not encrypted.
    pub key: Sensitive,
    /// An OCSP response in DER to send along.
    pub ocsp_staple: Option<DataSource>,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// A [`Secret`] of this name.
    Secret(Text),
    /// It is here.
    Inline(Certificate),
    /// A provider of the client.
    Provider(ProviderInstance),
}

impl CertificateSource {
    /// The secret that must be there first.
    #[must_use]
    pub fn secret(&self) -> Option<&Text> {
        match self {
            Self::Secret(name) => Some(name),
            Self::Inline(_) | Self::Provider(_) => None,
        }
    }
}
