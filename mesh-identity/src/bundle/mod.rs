//! Trust bundles: the authorities of one trust domain, and the set of bundles by trust domain.
//!
//! There is no merged root store. A chain is verified against the bundle of its own trust domain and no other, so that
//! one domain's authority cannot speak for another.

mod revocation;
mod set;

use std::time::SystemTime;

use mesh_core::name::TrustDomain;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

pub use revocation::{MAX_REVOCATION_BYTES, RevocationError, Revocations};
pub use set::BundleSet;

use crate::limits::MAX_AUTHORITIES;
use crate::{pem, svid};

/// The X.509 authorities of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<Authority>,
}

/// One authority: a root certificate and what is read from it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    key_id: Option<Vec<u8>>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Bundle {
    /// A bundle of root certificates in DER. Equal certificates count once; order does not matter.
    ///
    /// # Errors
    /// [`Error`] for an empty bundle, and for a certificate that does not parse or is no authority. `rustls-webpki`
    /// checks neither on a trust anchor, so what passes here must be fit to be one.
    pub fn new(trust_domain: TrustDomain, roots: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        if roots.is_empty() {
            return Err(Error::Empty(trust_domain.to_string()));
        }
        if roots.len() > MAX_AUTHORITIES {
            return Err(Error::TooMany(roots.len()));
        }
        let mut authorities = Vec::with_capacity(roots.len());
        for (index, der) in roots.into_iter().enumerate() {
            let authority = Authority::parse(der).map_err(|source| Error::Authority { index, source })?;
            if !authorities.contains(&authority) {
                authorities.push(authority);
            }
        }
        authorities.sort_by(|a, b| a.der.as_ref().cmp(b.der.as_ref()));
        Ok(Self { trust_domain, authorities })
    }

    /// Reads a PEM text of root certificates.
    ///
    /// # Errors
    /// As [`Bundle::new`], and when the text is no PEM.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, Error> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        Self::new(trust_domain, roots.map_err(|error| Error::Pem(error.to_string()))?)
    }

    /// The root certificates as PEM. Equal bundles give equal texts.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.authorities.iter().map(|authority| pem::encode("CERTIFICATE", &authority.der)).collect()
    }

    /// The trust domain that these authorities speak for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// This bundle with the authorities of another of the same trust domain added.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut authorities = self.authorities.clone();
        let new = other.authorities.iter().filter(|authority| !self.authorities.contains(authority));
        authorities.extend(new.cloned());
        authorities.sort_by(|a, b| a.der.as_ref().cmp(b.der.as_ref()));
        Self { trust_domain: self.trust_domain.clone(), authorities }
    }
}

impl Authority {
    fn parse(der: CertificateDer<'static>) -> Result<Self, svid::Error> {
        let certificate = svid::parse(&der)?;
        svid::signing(&certificate)?;
        let (not_before, not_after) = svid::validity(&certificate)?;
        let key_id = subject_key_id(&certificate);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| svid::Error::Malformed("no trust anchor"))?;
        let anchor = anchor.to_owned();
        Ok(Self { anchor, key_id, not_before, not_after, der })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    pub(crate) fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// Whether the authority's own certificate is valid at a time.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The subject key identifier of a certificate (RFC 5280 section 4.2.1.2).
pub(crate) fn subject_key_id(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

/// What should be a trust bundle is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No authority at all: every SVID of the trust domain would be invalid.
    #[error("the bundle of trust domain `{0}` holds no authority")]
    Empty(String),
    /// More authorities than [`MAX_AUTHORITIES`].
    #[error("{0} authorities exceed the limit of {MAX_AUTHORITIES}")]
    TooMany(usize),
    /// Not PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// One of the certificates cannot be an authority.
    #[error("certificate {index} of the bundle cannot be an authority")]
    Authority {
        /// Its place, counted from 0.
        index: usize,
        /// Why not.
        source: svid::Error,
    },
}
