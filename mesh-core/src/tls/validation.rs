use std::net::IpAddr;

use super::data::{DataSource, ProviderInstance};
use crate::name::Text;
use crate::string_match::Pattern;

/// A SHA-256.
pub type Fingerprint = [u8; 32];

/// What the certificate of a peer must be. Everything that is set here must hold. Envoy's `CertificateValidationContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Whom to believe. `None` only in a half of a [`ValidationSource`]: the other half must say it.
    pub trusted_ca: Option<TrustedCa>,
    /// Names of which the certificate must hold one; empty for no condition.
    pub names: Vec<SanMatcher>,
    /// Certificates of which the peer's must be one (SHA-256 of the DER). With `key_pins`, one of either list is enough; both
    /// empty for no condition.
    pub certificate_pins: Vec<Fingerprint>,
    /// Public keys of which the peer's must be one (SHA-256 of the DER of its `SubjectPublicKeyInfo`).
    pub key_pins: Vec<Fingerprint>,
    /// Revocation lists in PEM. When they are there, every certificate that is looked at must have one from its issuer.
    pub crl: Option<DataSource>,
    /// Which certificates are looked up in the lists.
    pub revocation: Revocation,
    /// Most certificates above the peer's, the trust anchor included: 1 allows the peer's and one authority. `None` for the
    /// library's choice.
    pub max_depth: Option<u32>,
}

impl Validation {
    /// This one with another laid over it, as the secret over the default: lists are joined, single values replaced.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let Self { trusted_ca, names, certificate_pins, key_pins, crl, revocation, max_depth } = over;
        Self {
            trusted_ca: trusted_ca.clone().or_else(|| self.trusted_ca.clone()),
            names: joined(&self.names, names),
            certificate_pins: joined(&self.certificate_pins, certificate_pins),
            key_pins: joined(&self.key_pins, key_pins),
            crl: crl.clone().or_else(|| self.crl.clone()),
            revocation: match revocation {
                Revocation::Chain => self.revocation,
                Revocation::Leaf => Revocation::Leaf,
            },
            max_depth: max_depth.or(self.max_depth),
        }
    }

    /// Whether a certificate with these names is good, as far as names go.
    #[must_use]
    pub fn accepts_names<'a>(&self, names: impl IntoIterator<Item = San<'a>>) -> bool {
        self.names.is_empty() || names.into_iter().any(|name| self.names.iter().any(|matcher| matcher.is_match(&name)))
    }

    /// Whether a peer with this certificate and this public key is good, as far as pins go.
    #[must_use]
    pub fn accepts_pins(&self, certificate: &Fingerprint, key: &Fingerprint) -> bool {
        self.certificate_pins.is_empty() && self.key_pins.is_empty()
            || self.certificate_pins.contains(certificate)
            || self.key_pins.contains(key)
    }
}

fn joined<T: Clone>(first: &[T], second: &[T]) -> Vec<T> {
    first.iter().chain(second).cloned().collect()
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TrustedCa {
    /// The authorities in this PEM.
    Bundle(DataSource),
    /// Those of a provider of the client.
    Provider(ProviderInstance),
    /// Those of the operating system.
    System,
}

/// Which certificates are looked up in revocation lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// All of the chain but the root.
    #[default]
    Chain,
    /// Only the peer's.
    Leaf,
}

/// A name that a certificate may have to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SanMatcher {
    /// What kind of name.
    pub kind: SanKind,
    /// What it looks like. An exact DNS name is also matched by a wildcard of the certificate.
    pub pattern: Pattern,
}

impl SanMatcher {
    /// Whether a name of a certificate is the one that is wanted.
    #[must_use]
    pub fn is_match(&self, name: &San<'_>) -> bool {
        match (self.kind, name) {
            (SanKind::Dns, San::Dns(name)) => match &self.pattern {
                Pattern::Exact { text, .. } => covers(name, text.as_str()),
                pattern => pattern.is_match(name),
            },
            (SanKind::Uri, San::Uri(name)) | (SanKind::Email, San::Email(name)) => self.pattern.is_match(name),
            (SanKind::Ip, San::Ip(address)) => self.pattern.is_match(&address.to_string()),
            _ => false,
        }
    }
}

/// Whether a DNS name of a certificate stands for a host. Only a whole first label may be a wildcard (RFC 6125
/// section 6.4.3).
fn covers(name: &str, host: &str) -> bool {
    let below = name.strip_prefix("*.").filter(|below| below.contains('.'));
    let parent = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
    name.eq_ignore_ascii_case(host)
        || below.zip(parent).is_some_and(|(below, parent)| below.eq_ignore_ascii_case(parent))
}

/// A kind of subject alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SanKind {
    /// A mail address.
    Email,
    /// A host name.
    Dns,
    /// A URI, such as a SPIFFE ID.
    Uri,
    /// An address, matched as text.
    Ip,
}

/// A subject alternative name of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum San<'a> {
    /// A mail address.
    Email(&'a str),
    /// A host name, perhaps a wildcard.
    Dns(&'a str),
    /// A URI.
    Uri(&'a str),
    /// An address.
    Ip(IpAddr),
}

/// Where a [`Validation`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidationSource {
    /// It is here.
    Inline(Validation),
    /// A [`Secret`](super::Secret) of this name.
    Secret(Text),
    /// A secret laid over what is here.
    Combined {
        /// What is here.
        default: Validation,
        /// The secret.
        secret: Text,
    },
}

impl ValidationSource {
    /// The secret that must be there first.
    #[must_use]
    pub fn secret(&self) -> Option<&Text> {
        match self {
            Self::Inline(_) => None,
            Self::Secret(name) | Self::Combined { secret: name, .. } => Some(name),
        }
    }

    /// The validation, with the content of the secret if there is to be one.
    ///
    /// # Errors
    /// [`ValidationError`], when the secret is not there yet, or when what there is believes in nobody. Connections are
    /// refused meanwhile.
    pub fn resolve(&self, secret: Option<&Validation>) -> Result<Validation, ValidationError> {
        let missing = |name: &Text| ValidationError::SecretMissing(name.clone());
        let whole = match self {
            Self::Inline(validation) => validation.clone(),
            Self::Secret(name) => secret.ok_or_else(|| missing(name))?.clone(),
            Self::Combined { default, secret: name } => default.overlaid(secret.ok_or_else(|| missing(name))?),
        };
        if whole.trusted_ca.is_some() { Ok(whole) } else { Err(ValidationError::NobodyTrusted) }
    }
}

/// A peer cannot be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// The secret is not there.
    #[error("the secret `{0}` is not there")]
    SecretMissing(Text),
    /// No authority is named.
    #[error("no trusted authority is named")]
    NobodyTrusted,
}
