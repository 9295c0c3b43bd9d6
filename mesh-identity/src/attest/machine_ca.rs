use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::AttestError;
use crate::crypto::web_provider;
use crate::hex::hex;

/// Authorities that certify machines, or parts of them. They have no part in SPIFFE.
pub(super) struct MachineCa {
    authorities: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl MachineCa {
    /// Reads certificates of authorities in PEM.
    pub(super) fn new(pem: &[u8]) -> Result<Self, AttestError> {
        let unusable = |error: &dyn fmt::Display| AttestError::Unavailable(error.to_string());
        let (mut authorities, mut anchors) = (Vec::new(), Vec::new());
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| unusable(&"the CA is not PEM"))?;
            let parsed = crate::svid::parse(&der).map_err(|error| unusable(&error))?;
            crate::svid::signing(&parsed).map_err(|error| unusable(&error))?;
            anchors.push(webpki::anchor_from_trusted_cert(&der).map_err(|error| unusable(&error))?.to_owned());
            authorities.push(der);
        }
        if anchors.is_empty() {
            return Err(unusable(&"no CA"));
        }
        Ok(Self { authorities, anchors })
    }

    /// The issuers on the way from a leaf to one of these. What else was sent proves nothing.
    pub(super) fn path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, AttestError> {
        let invalid = |error: webpki::Error| AttestError::Evidence(error.to_string());
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let leaf = EndEntityCert::try_from(leaf).map_err(invalid)?;
        let (algorithms, time) =
            (web_provider().signature_verification_algorithms.all, UnixTime::since_unix_epoch(since));
        let path = leaf.verify_for_usage(algorithms, &self.anchors, intermediates, time, usage, None, None);
        let path = path.map_err(invalid)?;
        let mut issuers: Vec<_> = path.intermediate_certificates().map(|issuer| issuer.der().into_owned()).collect();
        let anchor = self.anchors.iter().position(|anchor| anchor == path.anchor());
        issuers.extend(anchor.and_then(|index| self.authorities.get(index)).cloned());
        Ok(issuers)
    }
}

impl fmt::Debug for MachineCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineCa").field("authorities", &self.authorities.len()).finish()
    }
}

/// SHA-1 of a certificate, by which SPIRE names machines and their CAs.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref())
}
