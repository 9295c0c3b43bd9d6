use std::cell::RefCell;
use std::time::SystemTime;

use mesh_core::name::SpiffeId;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    VerifiedPath,
};
use x509_parser::extensions::ParsedExtension;

use super::{Error, VerifiedPeer};
use crate::bundle::{Bundle, BundleSet, Revocations};
use crate::limits::{MAX_CERTIFICATE_BYTES, MAX_CHAIN};
use crate::svid;
use crate::tls::provider;

/// In which role the peer presented its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It connected to us.
    Client,
    /// We connected to it.
    Server,
}

/// Verifies a chain: the leaf by the X509-SVID rules, then the path (RFC 5280) to an authority of the leaf's own trust
/// domain. Host names and SNI play no part.
///
/// Chains under a CA with URI name constraints are refused: path validation here does not understand them, and so fails
/// closed.
///
/// # Errors
/// [`Error`] with the reason; the text names the identity that was claimed.
pub fn chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundles: &BundleSet,
    purpose: Purpose,
    now: SystemTime,
) -> Result<VerifiedPeer, Error> {
    if intermediates.len() >= MAX_CHAIN {
        return Err(Error::ChainTooLong(intermediates.len() + 1));
    }
    if let Some(large) = intermediates.iter().find(|certificate| certificate.len() > MAX_CERTIFICATE_BYTES) {
        return Err(Error::CertificateTooLarge(large.len()));
    }
    let leaf = svid::parse(end_entity).map_err(Error::Svid)?;
    let id = svid::leaf_id(&leaf).map_err(Error::Svid)?;
    let (_, not_after) = svid::validity(&leaf).map_err(Error::Svid)?;

    let domain = id.trust_domain();
    let bundle = bundles.get(domain).ok_or_else(|| Error::UnknownTrustDomain(domain.to_string()))?;
    let anchors = anchors(bundle, &authority_key_ids(end_entity, intermediates), now);
    if anchors.is_empty() {
        return Err(Error::NoValidAuthority(domain.to_string()));
    }
    path(&id, end_entity, intermediates, &anchors, bundles.revocations(), purpose, now)?;
    Ok(VerifiedPeer { id, not_after })
}

/// The anchors that are valid now, those first whose key a certificate of the chain names as its issuer's.
///
/// Path building matches issuers by subject name and stops after a number of signature checks. Authorities that share
/// one subject, as SPIRE's older ones do, would use that number up; the key ids put the right one in front.
fn anchors(bundle: &Bundle, key_ids: &[Vec<u8>], now: SystemTime) -> Vec<TrustAnchor<'static>> {
    let mut valid: Vec<_> = bundle.authorities().iter().filter(|authority| authority.is_valid_at(now)).collect();
    valid.sort_by_key(|authority| !authority.key_id().is_some_and(|own| key_ids.iter().any(|wanted| wanted == own)));
    valid.into_iter().map(|authority| authority.anchor().clone()).collect()
}

fn authority_key_ids(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    let certificates = std::iter::once(end_entity).chain(intermediates);
    let parsed = certificates.filter_map(|der| svid::parse(der).ok());
    let ids = parsed.filter_map(|certificate| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        })
    });
    ids.collect()
}

fn path(
    id: &SpiffeId,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'static>],
    revocations: &Revocations,
    purpose: Purpose,
    now: SystemTime,
) -> Result<(), Error> {
    let invalid = |reason: &dyn std::fmt::Display| Error::Path { id: id.to_string(), reason: reason.to_string() };
    let certificate = EndEntityCert::try_from(end_entity).map_err(|error| invalid(&error))?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| invalid(&"the clock shows a time before 1970"))?;
    let usage = match purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server => KeyUsage::server_auth(),
    };
    // What webpki leaves to its caller is checked per candidate path, so that a bad path does not hide a good one.
    let broken_rule = RefCell::new(None);
    let issuers = |path: &VerifiedPath<'_>| {
        for issuer in path.intermediate_certificates() {
            if let Err(error) = may_issue(&issuer.der()) {
                *broken_rule.borrow_mut() = Some(error);
                return Err(webpki::Error::UnknownIssuer);
            }
        }
        Ok(())
    };
    let algorithms = provider().signature_verification_algorithms.all;
    let time = UnixTime::since_unix_epoch(now);
    let lists = revocations.lists();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        let options = options.with_depth(RevocationCheckDepth::Chain);
        let options = options.with_status_policy(UnknownStatusPolicy::Allow);
        options.with_expiration_policy(ExpirationPolicy::Ignore).build()
    });
    let verified =
        certificate.verify_for_usage(algorithms, anchors, intermediates, time, usage, revocation, Some(&issuers));
    let Err(error) = verified else { return Ok(()) };
    if let Some(source) = broken_rule.take() {
        return Err(Error::Issuer { id: id.to_string(), source });
    }
    Err(match error {
        webpki::Error::CertExpired { .. } => Error::Expired(id.to_string()),
        webpki::Error::CertNotValidYet { .. } => Error::NotValidYet(id.to_string()),
        webpki::Error::CertRevoked => Error::Revoked(id.to_string()),
        // An authority of the same name and another key is another authority.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            Error::UnknownIssuer(id.to_string())
        }
        other => invalid(&other),
    })
}

/// An intermediate has keyCertSign, and a SPIFFE ID on it names no workload (X509-SVID section 3.2).
fn may_issue(der: &CertificateDer<'_>) -> Result<(), svid::Error> {
    let certificate = svid::parse(der)?;
    svid::signing(&certificate)?;
    match svid::spiffe_id(&certificate) {
        Ok(id) if !id.path().is_empty() => Err(svid::Error::NotAuthority),
        // An issuer needs no SPIFFE ID; names of other kinds are none of our business.
        _ => Ok(()),
    }
}
