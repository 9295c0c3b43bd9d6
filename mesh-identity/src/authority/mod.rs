//! The certificate authority of a trust domain: its root or a plugged-in intermediate, what it issues and to whom.

mod issue;
mod load;
mod request;
mod rule;
mod serve;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::TrustDomain;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

pub use issue::Names;
pub use rule::Rules;
pub use serve::{Caller, CallerPolicy, CertificateService, Refusal};

use crate::bundle::{self, Bundle};
use crate::clock::Clock;
use crate::limits::MAX_REQUEST_BYTES;
use crate::{file, svid, verify};

/// The authority of one trust domain: signs with its root, or with an intermediate below it.
pub struct Authority {
    trust_domain: TrustDomain,
    key: KeyPair,
    /// The signing certificate, then every certificate between it and the root.
    chain: Vec<CertificateDer<'static>>,
    /// The signing certificate's subject, byte for byte: it must stand so in what it issues.
    subject: Vec<u8>,
    key_id: Vec<u8>,
    not_after: std::time::SystemTime,
    self_signed: bool,
    bundle: Bundle,
    rules: Rules,
    clock: Arc<dyn Clock>,
}

impl Authority {
    /// The trust domain that it speaks for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots that whoever trusts this trust domain must hold.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Limits of what it issues.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain.to_string())
            .field("self_signed", &self.self_signed)
            .field("not_after", &self.not_after)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The authority cannot be set up, or refuses to issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("a file of the authority failed")]
    File(#[from] file::Error),
    /// The directory holds some files of an authority but not all.
    #[error("the authority's directory lacks `{0}`")]
    FileMissing(&'static str),
    /// A file does not hold what its name says.
    #[error("`{file}` holds no {what}")]
    FileContent {
        /// The file.
        file: &'static str,
        /// What should be in it.
        what: &'static str,
    },
    /// The signing certificate may not sign, or cannot be read.
    #[error("the signing certificate cannot be used")]
    Signing(#[source] svid::Error),
    /// The roots are no bundle.
    #[error("the roots cannot be used")]
    Bundle(#[source] bundle::Error),
    /// The private key is not that of the signing certificate.
    #[error("the private key does not belong to the signing certificate")]
    KeyMismatch,
    /// The signing certificate has expired or is not valid yet.
    #[error("the signing certificate is not valid now")]
    NotValidNow,
    /// The chain does not lead from the signing certificate to a root, or what would be issued is not valid under it.
    #[error("what the authority issues does not verify against its own roots")]
    Verify(#[source] verify::Error),
    /// The cryptography library failed.
    #[error("the cryptography library failed")]
    Crypto(#[source] rcgen::Error),
    /// The request is larger than [`MAX_REQUEST_BYTES`].
    #[error("a certificate request of {0} bytes exceeds the limit of {MAX_REQUEST_BYTES}")]
    RequestTooLarge(usize),
    /// Not a PKCS#10 request in PEM.
    #[error("not a PKCS#10 certificate request in PEM")]
    RequestMalformed,
    /// The request is not signed by the key that it is for.
    #[error("the certificate request is not signed by its own key")]
    RequestSignature,
    /// A key of a kind or size that is not certified.
    #[error("keys of this kind are not certified: {0}; P-256, P-384 and RSA of 2048 to 4096 bits are")]
    RequestKey(String),
    /// The request carries another SPIFFE ID than the caller may have.
    #[error("the certificate request names `{requested}`, the caller may have `{granted}`")]
    RequestIdentity {
        /// In the request.
        requested: String,
        /// By the rules.
        granted: String,
    },
    /// An identity that this authority does not issue.
    #[error("`{0}` is no workload of this trust domain")]
    Identity(String),
    /// The life asked for is longer than allowed.
    #[error("a life of {} s exceeds the limit of {} s", asked.as_secs(), limit.as_secs())]
    LifeTooLong {
        /// Asked for.
        asked: Duration,
        /// Allowed.
        limit: Duration,
    },
    /// What is left of the signing certificate's own life, or what was asked for, is too short to issue under.
    #[error("a life of {} s is below the least of {} s", left.as_secs(), least.as_secs())]
    LifeTooShort {
        /// Left.
        left: Duration,
        /// The least.
        least: Duration,
    },
}

#[cfg(test)]
mod tests;
