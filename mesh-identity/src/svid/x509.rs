use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::constraint::{leaf_id, signing};
use super::{Error, parse};
use crate::crypto::provider;
use crate::limits::MAX_CHAIN;
use crate::pem;

/// An X.509-SVID of our own: a chain, leaf first, and the private key of the leaf.
pub struct X509Svid {
    id: SpiffeId,
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
    not_before: SystemTime,
    not_after: SystemTime,
    serial: String,
}

impl X509Svid {
    /// Takes a chain (leaf first, then intermediates) and the leaf's private key.
    ///
    /// # Errors
    /// The first rule of the X509-SVID document that leaf or intermediates break, or a key that is not the leaf's.
    /// Validity and trust are judged at the time of use, not here.
    pub fn parse(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::EmptyChain)?;
        if chain.len() > MAX_CHAIN {
            return Err(Error::Malformed("too many certificates"));
        }
        let leaf = parse(leaf)?;
        let id = leaf_id(&leaf)?;
        for intermediate in intermediates {
            signing(&parse(intermediate)?)?;
        }
        let (not_before, not_after) = validity(&leaf)?;
        let serial = crate::hex::hex(leaf.raw_serial());
        let certified =
            CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => Error::KeyMismatch,
                other => Error::Key(other.to_string()),
            })?;
        Ok(Self { id, key, certified: Arc::new(certified), not_before, not_after, serial })
    }

    /// Reads a PEM text that holds the chain, leaf first, and the private key.
    ///
    /// # Errors
    /// As [`X509Svid::parse`], and when the text is no PEM.
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let chain = chain.map_err(|_| Error::Malformed("not PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| Error::Key(error.to_string()))?;
        Self::parse(chain, key)
    }

    /// Chain and private key as PEM, the key in PKCS#8. Holds a secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        pem::encode_certificates(&self.certified.cert) + &pem::encode(label, self.key.secret_der())
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key of the leaf.
    #[must_use]
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// Begin of validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Hard end: from here on it is not presented any more.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Serial number of the leaf in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Chain and key in the form that rustls presents.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id.to_string())
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A time of a certificate, in seconds since 1970.
pub(crate) fn time(seconds: i64) -> Result<SystemTime, Error> {
    let since = u64::try_from(seconds).map_err(|_| Error::Validity)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since)).ok_or(Error::Validity)
}

/// Begin and end of a certificate's validity.
pub(crate) fn validity(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Result<(SystemTime, SystemTime), Error> {
    let validity = certificate.validity();
    Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}
