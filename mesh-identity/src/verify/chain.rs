use std::cell::RefCell;
use std::time::SystemTime;

use mesh_core::name::SpiffeId;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::{Error, VerifiedPeer};
use crate::bundle::{Authority, BundleSet, ListIssuer, RevocationPolicy, Status, Trusted, subject_key_id};
use crate::crypto::provider;
use crate::limits::{MAX_CERTIFICATE_BYTES, MAX_CHAIN};
use crate::svid;

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
    judge(end_entity, intermediates, bundles, purpose, now, Ends::Refused)
}

/// Whether the peer of a connection that stands would still be trusted, were its certificates still in date.
///
/// Certificates that have run out end no connection: the peer has been who it was. So their validity is looked at as of
/// the last time when all of them were in date, which is now as long as they are. Everything else is as it is now: the
/// authorities, the age of the bundle, and the revocation lists, however late they were published.
///
/// # Errors
/// As [`peer`](super::peer).
pub fn still_trusted(
    certificates: &[CertificateDer<'_>],
    bundles: &BundleSet,
    purpose: Purpose,
    now: SystemTime,
) -> Result<VerifiedPeer, Error> {
    let (end_entity, intermediates) = certificates.split_first().ok_or(Error::NoCertificate)?;
    judge(end_entity, intermediates, bundles, purpose, now, Ends::Overlooked)
}

/// What becomes of a chain whose certificates have run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Refused,
    Overlooked,
}

fn judge(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundles: &BundleSet,
    purpose: Purpose,
    now: SystemTime,
    ends: Ends,
) -> Result<VerifiedPeer, Error> {
    if intermediates.len() >= MAX_CHAIN {
        return Err(Error::ChainTooLong(intermediates.len() + 1));
    }
    if let Some(large) = intermediates.iter().find(|certificate| certificate.len() > MAX_CERTIFICATE_BYTES) {
        return Err(Error::CertificateTooLarge(large.len()));
    }
    let leaf = svid::parse(end_entity).map_err(Error::Svid)?;
    let id = svid::leaf_id(&leaf).map_err(Error::Svid)?;
    let (not_before, not_after) = svid::validity(&leaf).map_err(Error::Svid)?;

    let domain = id.trust_domain();
    let trusted = bundles.trusted(domain).ok_or_else(|| Error::UnknownTrustDomain(domain.to_string()))?;
    if let Some(until) = trusted.until.filter(|until| now > *until) {
        return Err(Error::StaleBundle { trust_domain: domain.to_string(), since: until });
    }
    let in_date = match ends {
        Ends::Refused => now,
        Ends::Overlooked => {
            let parsed = intermediates.iter().filter_map(|der| svid::parse(der).ok());
            let ends = parsed.filter_map(|issuer| svid::validity(&issuer).ok()).map(|(_, end)| end);
            // One that had ended before the leaf began has never been part of its path.
            ends.filter(|end| *end >= not_before).fold(now.min(not_after), SystemTime::min)
        }
    };
    let question =
        Question { id: &id, end_entity, leaf: &leaf, intermediates, bundles, trusted, purpose, now, in_date };
    question.answer()?;
    let serial = leaf.raw_serial().to_vec();
    Ok(VerifiedPeer { id, not_after, serial })
}

/// Most authorities that are tried one by one because a certificate of the chain names their key.
const MAX_NAMED: usize = 8;

/// A chain whose leaf is a sound SVID, and everything that decides about it.
struct Question<'a> {
    id: &'a SpiffeId,
    end_entity: &'a CertificateDer<'a>,
    leaf: &'a X509Certificate<'a>,
    intermediates: &'a [CertificateDer<'a>],
    bundles: &'a BundleSet,
    trusted: &'a Trusted,
    purpose: Purpose,
    /// For authorities and revocation lists.
    now: SystemTime,
    /// For the certificates of the path.
    in_date: SystemTime,
}

/// Why there is no path.
enum NoPath {
    /// The search ended, with this for the reason.
    Found(Error),
    /// The search was given up: it took more than any honest chain does.
    Exhausted(Error),
}

impl Question<'_> {
    /// Tries the authorities that are valid now: first those whose key a certificate of the chain names as its issuer's,
    /// then all others.
    ///
    /// Path building matches issuers by subject name and stops after a number of signature checks. Authorities that share
    /// one subject, as SPIRE's older ones do, would use that number up; the key ids put the right one in front.
    fn answer(&self) -> Result<(), Error> {
        let all = self.trusted.bundle.authorities();
        let valid: Vec<&Authority> = all.iter().filter(|authority| authority.is_valid_at(self.now)).collect();
        if valid.is_empty() {
            return Err(Error::NoValidAuthority(self.id.trust_domain().to_string()));
        }
        let key_ids = self.authority_key_ids();
        let (mut named, mut others): (Vec<_>, Vec<_>) = valid
            .into_iter()
            .partition(|authority| authority.key_id().is_some_and(|own| key_ids.iter().any(|wanted| wanted == own)));
        others.extend(named.drain(MAX_NAMED.min(named.len())..));
        let mut candidates: Vec<&[&Authority]> = named.chunks(1).collect();
        if !others.is_empty() {
            candidates.push(&others);
        }
        // That one path is bad says nothing of the others; why it is tells more than that a root did not sign.
        let mut refused = Error::UnknownIssuer(self.id.to_string());
        for authorities in candidates {
            match self.path(authorities) {
                Ok(()) => return Ok(()),
                // A chain that is made to cost much costs it once.
                Err(NoPath::Exhausted(error)) => return Err(error),
                Err(NoPath::Found(Error::UnknownIssuer(_))) => {}
                Err(NoPath::Found(error)) if matches!(refused, Error::UnknownIssuer(_)) => refused = error,
                Err(NoPath::Found(_)) => {}
            }
        }
        Err(refused)
    }

    fn authority_key_ids(&self) -> Vec<Vec<u8>> {
        let intermediates = self.intermediates.iter().filter_map(|der| svid::parse(der).ok());
        let key_id = |certificate: &X509Certificate<'_>| {
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
                _ => None,
            })
        };
        key_id(self.leaf).into_iter().chain(intermediates.filter_map(|certificate| key_id(&certificate))).collect()
    }

    /// Looks for a path to one of some authorities.
    fn path(&self, authorities: &[&Authority]) -> Result<(), NoPath> {
        let anchors: Vec<TrustAnchor<'static>> =
            authorities.iter().map(|authority| authority.anchor().clone()).collect();
        let id = || self.id.to_string();
        let invalid = |reason: &dyn std::fmt::Display| Error::Path { id: id(), reason: reason.to_string() };
        let certificate = EndEntityCert::try_from(self.end_entity).map_err(|error| NoPath::Found(invalid(&error)))?;
        let in_date = self.in_date.duration_since(SystemTime::UNIX_EPOCH);
        let in_date = in_date.map_err(|_| NoPath::Found(invalid(&"the clock shows a time before 1970")))?;
        let usage = match self.purpose {
            Purpose::Client => KeyUsage::client_auth(),
            Purpose::Server => KeyUsage::server_auth(),
        };
        // What webpki leaves to its caller is checked per candidate path, so that a bad path does not hide a good one.
        let broken_rule = RefCell::new(None);
        let check = |path: &VerifiedPath<'_>| {
            let anchor = authorities.iter().find(|authority| authority.anchor() == path.anchor());
            self.rules(path, anchor.copied()).map_err(|error| {
                *broken_rule.borrow_mut() = Some(error);
                webpki::Error::UnknownIssuer
            })
        };
        let algorithms = provider().signature_verification_algorithms.all;
        let time = UnixTime::since_unix_epoch(in_date);
        let verified =
            certificate.verify_for_usage(algorithms, &anchors, self.intermediates, time, usage, None, Some(&check));
        let Err(error) = verified else { return Ok(()) };
        let exhausted = matches!(
            error,
            webpki::Error::MaximumSignatureChecksExceeded | webpki::Error::MaximumPathBuildCallsExceeded
        );
        if exhausted {
            return Err(NoPath::Exhausted(invalid(&error)));
        }
        if let Some(error) = broken_rule.take() {
            return Err(NoPath::Found(error));
        }
        Err(NoPath::Found(match error {
            webpki::Error::CertExpired { .. } => Error::Expired(id()),
            webpki::Error::CertNotValidYet { .. } => Error::NotValidYet(id()),
            // An authority of the same name and another key is another authority.
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => Error::UnknownIssuer(id()),
            other => invalid(&other),
        }))
    }

    /// What path validation leaves to its caller: who may issue, and what was revoked.
    fn rules(&self, path: &VerifiedPath<'_>, anchor: Option<&Authority>) -> Result<(), Error> {
        let id = || self.id.to_string();
        let ders: Vec<_> = path.intermediate_certificates().map(webpki::Cert::der).collect();
        let issuer_error = |source| Error::Issuer { id: id(), source };
        let issuers = ders.iter().map(|der| svid::parse(der)).collect::<Result<Vec<_>, _>>().map_err(issuer_error)?;
        for issuer in &issuers {
            self.may_issue(issuer).map_err(issuer_error)?;
        }
        let lists = self.bundles.revocations();
        let required = self.trusted.revocation == RevocationPolicy::Required;
        if lists.is_empty() && !required {
            return Ok(());
        }
        let Some(anchor) = anchor else { return Err(Error::UnknownIssuer(id())) };
        for (index, certificate) in std::iter::once(self.leaf).chain(&issuers).enumerate() {
            let key_id;
            let issuer = match issuers.get(index) {
                Some(issuer) => {
                    key_id = subject_key_id(issuer);
                    ListIssuer {
                        name: issuer.subject().as_raw(),
                        key: issuer.public_key().raw,
                        key_id: key_id.as_deref(),
                        signs_lists: svid::signs_lists(issuer),
                    }
                }
                None => anchor.as_list_issuer(),
            };
            match lists.status(&issuer, certificate.raw_serial(), index == 0, self.now) {
                Status::Revoked => return Err(Error::Revoked(id())),
                Status::Unknown if required => return Err(Error::RevocationUnknown(id())),
                Status::Unknown | Status::Good => {}
            }
        }
        Ok(())
    }

    /// An intermediate has keyCertSign, and a SPIFFE ID on it names no workload (X509-SVID section 3.2).
    fn may_issue(&self, issuer: &X509Certificate<'_>) -> Result<(), svid::Error> {
        svid::signing(issuer)?;
        match svid::spiffe_id(issuer) {
            Ok(id) if !id.path().is_empty() => Err(svid::Error::NotAuthority),
            Ok(id) if id.trust_domain() != self.id.trust_domain() => {
                // Allowed, though it should not be; whoever runs both domains may want to know.
                tracing::debug!(issuer = %id, peer = %self.id, "an issuer is named for another trust domain");
                Ok(())
            }
            // An issuer needs no SPIFFE ID; names of other kinds are none of our business.
            _ => Ok(()),
        }
    }
}
