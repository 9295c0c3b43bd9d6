//! Verification of peers: a chain against the bundle of its own trust domain, then who may be there.
//!
//! One function, [`chain`], decides; the rustls verifiers, the authority and the tests call it. It is pure: the bundles
//! and the time are handed in, so that it can be repeated for a live connection when trust changes: [`still_trusted`] asks
//! the same of a peer whose certificates may have run out since.

mod chain;
mod expected;
mod jwt;
mod rustls_verifier;

use std::time::SystemTime;

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateDer;

pub use chain::{Purpose, chain, still_trusted};
pub use expected::Expected;
pub use jwt::{Audiences, JwtError, jwt};
pub(crate) use rustls_verifier::Judge;
pub use rustls_verifier::{PeerVerifier, Role, is_revoked, rejection};

use crate::bundle::BundleSet;
use crate::limits::{MAX_CERTIFICATE_BYTES, MAX_CHAIN};
use crate::svid;

/// A peer whose chain was verified. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer {
    id: SpiffeId,
    not_after: SystemTime,
    serial: Vec<u8>,
}

impl VerifiedPeer {
    /// Who it is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When its certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The serial number of its certificate, as it stands there.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }
}

/// Verifies the certificates that a peer presented in a handshake.
///
/// # Errors
/// [`Error::NoCertificate`] when it presented none; otherwise as [`chain`].
pub fn peer(
    certificates: Option<&[CertificateDer<'_>]>,
    bundles: &BundleSet,
    purpose: Purpose,
    now: SystemTime,
) -> Result<VerifiedPeer, Error> {
    let (end_entity, intermediates) = certificates.and_then(<[_]>::split_first).ok_or(Error::NoCertificate)?;
    chain(end_entity, intermediates, bundles, purpose, now)
}

/// Why a peer is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It presented no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// Its chain has more than [`MAX_CHAIN`] certificates.
    #[error("a chain of {0} certificates exceeds the limit of {MAX_CHAIN}")]
    ChainTooLong(usize),
    /// An intermediate is larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("a certificate of {0} bytes exceeds the limit of {MAX_CERTIFICATE_BYTES}")]
    CertificateTooLarge(usize),
    /// Its leaf is no X.509-SVID.
    #[error("the peer's certificate is no X.509-SVID")]
    Svid(#[source] svid::Error),
    /// No bundle of its trust domain is known.
    #[error("trust domain `{0}` is not trusted here")]
    UnknownTrustDomain(String),
    /// The bundle of its trust domain holds no authority that is valid now.
    #[error("no authority of trust domain `{0}` is valid now")]
    NoValidAuthority(String),
    /// The bundle of its trust domain has not been confirmed for too long.
    #[error("the bundle of trust domain `{trust_domain}` has not been confirmed for too long")]
    StaleBundle {
        /// The trust domain.
        trust_domain: String,
        /// Since when its bundle does not count any more.
        since: SystemTime,
    },
    /// Its certificate, or an intermediate, has expired.
    #[error("the certificate of `{0}` has expired")]
    Expired(String),
    /// Its certificate, or an intermediate, is not valid yet.
    #[error("the certificate of `{0}` is not valid yet")]
    NotValidYet(String),
    /// It, or an intermediate, stands in a revocation list of its issuer.
    #[error("the certificate of `{0}` was revoked")]
    Revoked(String),
    /// Revocation lists are required for its trust domain, and there is no fresh one of an issuer in its chain.
    #[error("no fresh revocation list tells of the certificate of `{0}`")]
    RevocationUnknown(String),
    /// No path from the leaf to an authority of its trust domain.
    #[error("the chain of `{0}` does not lead to an authority of its trust domain")]
    UnknownIssuer(String),
    /// An issuer in the chain must not sign certificates, or names a workload.
    #[error("an issuer in the chain of `{id}` must not issue")]
    Issuer {
        /// The leaf's identity.
        id: String,
        /// The rule that the issuer breaks.
        source: svid::Error,
    },
    /// Any other break of RFC 5280 in the chain.
    #[error("the chain of `{id}` is not valid: {reason}")]
    Path {
        /// The leaf's identity.
        id: String,
        /// What path validation said.
        reason: String,
    },
    /// No path from the leaf to an authority that a configuration trusts.
    #[error("the chain of `{0}` does not lead to a trusted authority")]
    UnknownAuthority(String),
    /// The certificate holds none of the names that a configuration wants.
    #[error("the certificate is that of `{0}`, who is not expected")]
    Name(String),
    /// The certificate is none of those that a configuration names by their fingerprints.
    #[error("the certificate of `{0}` is none of those that are pinned")]
    Pin(String),
    /// It is somebody else than expected.
    #[error("the peer is `{presented}`, expected {expected}")]
    Unexpected {
        /// Who it is.
        presented: String,
        /// Who it should be.
        expected: Expected,
    },
}
