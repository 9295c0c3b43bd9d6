//! X.509-SVIDs: parsed and held to the rules of the SPIFFE X509-SVID document.

mod constraint;
mod jwt;
mod request;
mod x509;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use constraint::leaf_id;
pub(crate) use constraint::{signing, signs_lists, spiffe_id};
pub use jwt::JwtSvid;
pub use request::KeyKind;
pub(crate) use request::certificate_request;
pub use x509::X509Svid;
pub(crate) use x509::{time, validity};

use crate::limits::MAX_CERTIFICATE_BYTES;

/// A certificate or key is not what an SVID must be. The rule is named by the section of the X509-SVID document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chain holds no certificate.
    #[error("the chain is empty")]
    EmptyChain,
    /// Longer than [`MAX_CERTIFICATE_BYTES`].
    #[error("a certificate of {0} bytes exceeds the limit of {MAX_CERTIFICATE_BYTES}")]
    TooLarge(usize),
    /// Not strict DER of one X.509 version 3 certificate.
    #[error("not a DER encoded X.509 version 3 certificate: {0}")]
    Malformed(&'static str),
    /// An extension stands twice (RFC 5280 section 4.2).
    #[error("an extension occurs twice")]
    RepeatedExtension,
    /// A critical extension that is not understood (RFC 5280 section 4.2).
    #[error("unknown critical extension {0}")]
    UnknownCriticalExtension(String),
    /// The serial number is zero, negative or longer than 20 octets (RFC 5280 section 4.1.2.2).
    #[error("the serial number is zero, negative or longer than 20 octets")]
    Serial,
    /// The subject is empty, and the subject alternative name is not critical (RFC 5280 section 4.2.1.6).
    #[error("the subject is empty, and the subject alternative name is not critical")]
    NameNotCritical,
    /// No URI subject alternative name (section 2).
    #[error("no URI subject alternative name")]
    NoUri,
    /// More than one URI subject alternative name (section 5.2).
    #[error("{0} URI subject alternative names, exactly one is allowed")]
    ManyUris(usize),
    /// The URI is no canonical SPIFFE ID.
    #[error("the URI subject alternative name is no SPIFFE ID")]
    SpiffeId(#[source] mesh_core::name::Error),
    /// The SPIFFE ID of a leaf has no path (section 5.2).
    #[error("`{0}` has no path, and so names a trust domain, not a workload")]
    NoPath(String),
    /// A leaf is a certificate authority (section 4.1).
    #[error("the leaf is a certificate authority")]
    LeafIsAuthority,
    /// The key usage extension is absent or not critical (section 4.3).
    #[error("the key usage extension is absent or not critical")]
    KeyUsageAbsent,
    /// The key usage of a leaf is not for signing messages, or is for signing certificates or CRLs (section 4.3).
    #[error("the key usage of the leaf must have digitalSignature and neither keyCertSign nor cRLSign")]
    LeafKeyUsage,
    /// The extended key usage lacks client or server authentication (section 4.4).
    #[error("the extended key usage must hold both server and client authentication")]
    ExtendedKeyUsage,
    /// A signing certificate is not a certificate authority with keyCertSign (section 4.1 and 4.3).
    #[error("a signing certificate must be a certificate authority with keyCertSign")]
    NotAuthority,
    /// The private key is malformed or of an unsupported kind.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The private key is not that of the leaf.
    #[error("the private key does not belong to the leaf")]
    KeyMismatch,
    /// A time of the certificate is out of the range of the system's clock.
    #[error("a validity time lies before 1970")]
    Validity,
}

/// Parses one certificate strictly: bounded, version 3, no trailing bytes, no repeated extension.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(Error::TooLarge(der.len()));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Error::Malformed("not DER"))?;
    if !rest.is_empty() {
        return Err(Error::Malformed("trailing bytes"));
    }
    if certificate.version() != x509_parser::x509::X509Version::V3 {
        return Err(Error::Malformed("not version 3"));
    }
    certificate.extensions_map().map_err(|_| Error::RepeatedExtension)?;
    let serial = certificate.raw_serial();
    let negative = serial.first().is_none_or(|first| first & 0x80 != 0);
    if negative || serial.len() > MAX_SERIAL_BYTES || serial.iter().all(|byte| *byte == 0) {
        return Err(Error::Serial);
    }
    Ok(certificate)
}

/// Longest serial number (RFC 5280 section 4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;

/// Takes concatenated DER structures apart, without looking into them.
pub(crate) fn split(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (_, _, rest) = crate::der::take(bytes)?;
        all.push(CertificateDer::from(bytes[..bytes.len() - rest.len()].to_vec()));
        bytes = rest;
    }
    Some(all)
}
