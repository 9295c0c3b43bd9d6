use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};

/// Largest file of revocation lists that is read, in bytes.
pub const MAX_REVOCATION_BYTES: usize = 64 * 1024 * 1024;

/// Certificate revocation lists (RFC 5280 section 5). Immutable and cheap to clone.
///
/// Every certificate of a chain is asked for. A certificate whose issuer has no list here counts as not revoked, and a list
/// past its `nextUpdate` still counts: revocation is taken as news that is never unlearned by silence.
#[derive(Clone, Default)]
pub struct Revocations(Arc<Lists>);

#[derive(Default)]
struct Lists {
    encoded: Vec<Vec<u8>>,
    parsed: Vec<CertRevocationList<'static>>,
}

impl Revocations {
    /// Reads one DER list, or any number of PEM ones.
    ///
    /// # Errors
    /// [`RevocationError`]; a single bad list makes the whole unusable, as leaving it out would trust what it revokes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevocationError> {
        if bytes.len() > MAX_REVOCATION_BYTES {
            return Err(RevocationError::TooLarge(bytes.len()));
        }
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        let encoded: Vec<Vec<u8>> = if is_pem {
            let lists = CertificateRevocationListDer::pem_slice_iter(bytes);
            let lists: Result<Vec<_>, _> = lists.map(|list| list.map(|list| list.as_ref().to_vec())).collect();
            lists.map_err(|error| RevocationError::Pem(error.to_string()))?
        } else {
            vec![bytes.to_vec()]
        };
        if encoded.is_empty() {
            return Err(RevocationError::Empty);
        }
        let parse = |(index, der): (usize, &Vec<u8>)| {
            let list = OwnedCertRevocationList::from_der(der);
            list.map(CertRevocationList::from).map_err(|error| RevocationError::Der(index, error.to_string()))
        };
        let parsed = encoded.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Lists { encoded, parsed })))
    }

    /// How many lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.parsed.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.parsed.is_empty()
    }

    pub(crate) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.0.parsed.iter().collect()
    }
}

impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.encoded == other.0.encoded
    }
}

impl Eq for Revocations {}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revocations").field(&self.len()).finish()
    }
}

/// Bytes are no revocation lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// More than [`MAX_REVOCATION_BYTES`].
    #[error("revocation lists of {0} bytes exceed the limit of {MAX_REVOCATION_BYTES}")]
    TooLarge(usize),
    /// Broken PEM.
    #[error("malformed PEM: {0}")]
    Pem(String),
    /// No list in it.
    #[error("no revocation list in the file")]
    Empty,
    /// A list is malformed.
    #[error("revocation list {0} is malformed: {1}")]
    Der(usize, String),
}
