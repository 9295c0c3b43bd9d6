//! Certificates with their keys, and authorities, as listeners and policies refer to them.

use std::sync::LazyLock;

use mesh_core::name::NamespacedName;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::reference::group;
use super::{Read, RefFault, Referrer, is_granted};
use crate::resource::{Kind, ObjectId, ObjectReference, Secret};

/// Key of a ConfigMap or Secret under which authorities stand.
const AUTHORITIES: &str = "ca.crt";

/// What keys are tried by.
static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);

/// Where authorities stand, under the key `ca.crt`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authorities {
    /// In a ConfigMap.
    ConfigMap(NamespacedName),
    /// In a Secret.
    Secret(NamespacedName),
}

/// The Secret that a reference to a certificate means, which holds one with its key.
///
/// # Errors
/// Why it cannot be used.
pub fn certificate(
    read: &impl Read,
    from: Referrer<'_>,
    reference: &ObjectReference,
) -> Result<NamespacedName, RefFault> {
    let kind = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret"));
    let key = permitted(read, from, kind, reference)?;
    if (group(kind.0), kind.1) != ("", "Secret") {
        return Err(RefFault::Kind(named(kind)));
    }
    let called = Kind::Secret.called(&key);
    let Some(secret) = read.secret(&key) else { return Err(RefFault::Missing(called)) };
    fault_of(secret).map_or(Ok(key), |reason| Err(RefFault::Invalid(called, reason)))
}

/// The authorities that a reference of a listener means.
pub(super) fn authorities(
    read: &impl Read,
    from: Referrer<'_>,
    reference: &ObjectReference,
) -> Result<Authorities, RefFault> {
    let kind = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or_default());
    let key = permitted(read, from, kind, reference)?;
    authorities_in(read, kind, key)
}

/// The authorities in an object of a group and kind.
pub(super) fn authorities_in(
    read: &impl Read,
    kind: (&str, &str),
    key: NamespacedName,
) -> Result<Authorities, RefFault> {
    let (found, called, text) = match (group(kind.0), kind.1) {
        ("", "ConfigMap") => {
            let map = read.config_map(&key);
            let text = map.and_then(|map| map.data.get(AUTHORITIES)).map(String::as_bytes);
            (map.is_some(), Kind::ConfigMap.called(&key), text)
        }
        ("", "Secret") => {
            let secret = read.secret(&key);
            (secret.is_some(), Kind::Secret.called(&key), secret.and_then(|secret| secret.get(AUTHORITIES)))
        }
        _ => return Err(RefFault::Kind(named(kind))),
    };
    let text = match (found, text) {
        (false, _) => return Err(RefFault::Missing(called)),
        (true, None) => return Err(RefFault::Invalid(called, format!("has no key `{AUTHORITIES}`"))),
        (true, Some(text)) => text,
    };
    if let Some(reason) = fault_of_authorities(text) {
        return Err(RefFault::Invalid(called, reason));
    }
    Ok(if kind.1 == "Secret" { Authorities::Secret(key) } else { Authorities::ConfigMap(key) })
}

fn named((group, kind): (&str, &str)) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") }
}

fn permitted(
    read: &impl Read,
    from: Referrer<'_>,
    kind: (&str, &str),
    reference: &ObjectReference,
) -> Result<NamespacedName, RefFault> {
    let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
    let key = NamespacedName::new(namespace, reference.name.as_str());
    match is_granted(read, from, kind, namespace, &reference.name) {
        true => Ok(key),
        false => Err(RefFault::NotPermitted(format!("{} {key}", kind.1))),
    }
}

/// Why what a Secret holds cannot be shown to clients. It says nothing of the content.
fn fault_of(secret: &Secret) -> Option<String> {
    let part = |key: &'static str| secret.get(key).ok_or_else(|| format!("has no key `{key}`"));
    let check = || {
        let (chain, key) = (part("tls.crt")?, part("tls.key")?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| "`tls.crt` is no PEM".to_owned())?;
        if chain.is_empty() {
            return Err("`tls.crt` holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "`tls.key` holds no private key".to_owned())?;
        let certified = CertifiedKey::from_der(chain, key, &PROVIDER);
        certified.map(|_| ()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "`tls.key` is not the key of the certificate".to_owned(),
            rustls::Error::InvalidCertificate(_) => "`tls.crt` holds something that is no certificate".to_owned(),
            _ => "`tls.key` is no key that can be used".to_owned(),
        })
    };
    check().err()
}

fn fault_of_authorities(text: &[u8]) -> Option<String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let good = certificate.ok().is_some_and(|certificate| roots.add(certificate).is_ok());
        if !good {
            return Some(format!("`{AUTHORITIES}` holds something that is no certificate"));
        }
    }
    roots.is_empty().then(|| format!("`{AUTHORITIES}` holds no certificate"))
}

impl Authorities {
    /// The object.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        match self {
            Self::ConfigMap(name) => ObjectId { kind: Kind::ConfigMap, name: name.clone() },
            Self::Secret(name) => ObjectId { kind: Kind::Secret, name: name.clone() },
        }
    }
}
