//! Trust bundles: the authorities of one trust domain, and the set of bundles by trust domain.
//!
//! There is no merged root store. A chain is verified against the bundle of its own trust domain and no other, so that
//! one domain's authority cannot speak for another.

mod document;
mod jwt;
mod revocation;
mod set;

use std::time::{Duration, SystemTime};

use mesh_core::name::TrustDomain;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

pub use document::{Document, DocumentError, Skipped, read_map, write_map};
pub use jwt::JwtAuthority;
pub(crate) use revocation::{ListIssuer, Status};
pub use revocation::{MAX_REVOCATION_BYTES, RevocationError, Revocations};
pub use set::{BundleSet, RevocationPolicy, Trusted};

use crate::jose::PublicKey;
use crate::limits::MAX_AUTHORITIES;
use crate::{pem, svid};

/// The authorities of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<Authority>,
    jwt: Vec<JwtAuthority>,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
}

/// One authority: a root certificate and what is read from it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    key_id: Option<Vec<u8>>,
    /// `None` for kinds of keys that a bundle document cannot carry.
    public_key: Option<PublicKey>,
    signs_lists: bool,
    subject: Vec<u8>,
    key_info: Vec<u8>,
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
            authorities.push(Authority::parse(der).map_err(|source| Error::Authority { index, source })?);
        }
        Ok(Self::of(trust_domain, authorities, Vec::new()))
    }

    /// A bundle of authorities that were read before. It may be empty: then nobody of its trust domain is trusted.
    #[must_use]
    pub fn of(trust_domain: TrustDomain, mut authorities: Vec<Authority>, mut jwt: Vec<JwtAuthority>) -> Self {
        authorities.sort_by(|a, b| a.der.as_ref().cmp(b.der.as_ref()));
        authorities.dedup();
        jwt.sort();
        jwt.dedup();
        Self { trust_domain, authorities, jwt, sequence: None, refresh_hint: None }
    }

    /// This bundle with other JWT authorities.
    #[must_use]
    pub fn with_jwt_authorities(self, jwt: Vec<JwtAuthority>) -> Self {
        let (sequence, refresh_hint) = (self.sequence, self.refresh_hint);
        Self { sequence, refresh_hint, ..Self::of(self.trust_domain, self.authorities, jwt) }
    }

    /// This bundle with a sequence number, which grows with every change of content.
    #[must_use]
    pub fn with_sequence(self, sequence: Option<u64>) -> Self {
        Self { sequence, ..self }
    }

    /// This bundle with a hint how often to look for a newer one.
    #[must_use]
    pub fn with_refresh_hint(self, refresh_hint: Option<Duration>) -> Self {
        Self { refresh_hint, ..self }
    }

    /// Reads concatenated DER certificates, as the Workload API carries a bundle.
    ///
    /// # Errors
    /// As [`Bundle::new`], and [`Error::Der`] for bytes that are no sequence of certificates.
    pub fn from_der(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Self, Error> {
        Self::new(trust_domain, svid::split(bytes).ok_or(Error::Der)?)
    }

    /// The root certificates as concatenated DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        self.authorities.iter().flat_map(|authority| authority.der.as_ref()).copied().collect()
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

    /// The keys by which JWT-SVIDs of the trust domain are signed.
    #[must_use]
    pub fn jwt_authorities(&self) -> &[JwtAuthority] {
        &self.jwt
    }

    /// The number that grows with every change, if its publisher counts.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How often its publisher wants to be asked for a newer one.
    #[must_use]
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }

    /// Whether another bundle trusts the same authorities, whatever its number and hint.
    #[must_use]
    pub fn is_same_trust(&self, other: &Self) -> bool {
        (&self.trust_domain, &self.authorities, &self.jwt) == (&other.trust_domain, &other.authorities, &other.jwt)
    }

    /// This bundle with the authorities of another of the same trust domain added.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let authorities = self.authorities.iter().chain(&other.authorities).cloned().collect();
        let jwt = self.jwt.iter().chain(&other.jwt).cloned().collect();
        let (sequence, refresh_hint) = (self.sequence, self.refresh_hint);
        Self { sequence, refresh_hint, ..Self::of(self.trust_domain.clone(), authorities, jwt) }
    }
}

impl Authority {
    /// Reads one root certificate.
    ///
    /// # Errors
    /// [`svid::Error`] when it does not parse or may not sign certificates.
    pub fn parse(der: CertificateDer<'static>) -> Result<Self, svid::Error> {
        let certificate = svid::parse(&der)?;
        svid::signing(&certificate)?;
        let (not_before, not_after) = svid::validity(&certificate)?;
        let key_id = subject_key_id(&certificate);
        let public_key = PublicKey::from_info(certificate.public_key()).ok();
        let signs_lists = svid::signs_lists(&certificate);
        let subject = certificate.subject().as_raw().to_vec();
        let key_info = certificate.public_key().raw.to_vec();
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| svid::Error::Malformed("no trust anchor"))?;
        let anchor = anchor.to_owned();
        Ok(Self { anchor, key_id, public_key, signs_lists, subject, key_info, not_before, not_after, der })
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

    /// Its public key, where it is of a kind that a bundle document can carry.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.public_key.as_ref()
    }

    /// The authority as an issuer of revocation lists.
    pub(crate) fn as_list_issuer(&self) -> ListIssuer<'_> {
        ListIssuer { name: &self.subject, key: &self.key_info, key_id: self.key_id(), signs_lists: self.signs_lists }
    }

    /// End of its certificate.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
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
    /// Not concatenated DER.
    #[error("not concatenated DER certificates")]
    Der,
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
