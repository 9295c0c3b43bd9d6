//! The rules of a configuration about the certificate of a peer.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::live::Live;
use mesh_core::name::TrustDomain;
use mesh_core::string_match::Pattern;
use mesh_core::tls::{Fingerprint, Revocation, San, SanKind, SanMatcher, Validation};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::bundle::BundleSet;
use crate::crypto::web_provider;
use crate::verify::{Error, Judge, Purpose, chain};

/// How chains are verified.
#[derive(Debug)]
pub(super) enum Path {
    /// As those of all members of the mesh: an SVID, against the bundle of its own trust domain.
    Mesh {
        bundles: Live<BundleSet>,
        /// The one trust domain whose members are accepted; `None` for all that are trusted.
        domain: Option<TrustDomain>,
    },
    /// To one of these authorities (RFC 5280).
    Web { anchors: Vec<TrustAnchor<'static>>, lists: Vec<CertRevocationList<'static>> },
}

/// What the certificate of a peer must be.
#[derive(Debug)]
pub(super) struct Rules {
    path: Path,
    validation: Validation,
    /// Whether it must hold the server name that was sent, in place of the names of the validation.
    holds_server_name: bool,
}

impl Rules {
    pub(super) fn new(path: Path, validation: Validation) -> Self {
        Self { path, validation, holds_server_name: false }
    }

    pub(super) fn holding_server_name(self, holds_server_name: bool) -> Self {
        Self { holds_server_name, ..self }
    }

    fn path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<(), Error> {
        match &self.path {
            Path::Mesh { bundles, domain } => {
                let peer = chain(end_entity, intermediates, &bundles.load(), purpose, now)?;
                match domain {
                    Some(domain) => crate::verify::Expected::TrustDomain(domain.clone()).check(&peer),
                    None => Ok(()),
                }
            }
            Path::Web { anchors, lists } => self.web(end_entity, intermediates, (anchors, lists), purpose, now),
        }
    }

    fn web(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        (anchors, lists): (&[TrustAnchor<'_>], &[CertRevocationList<'_>]),
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<(), Error> {
        let subject = || subject(end_entity);
        let invalid = |reason: &dyn std::fmt::Display| Error::Path { id: subject(), reason: reason.to_string() };
        let certificate = EndEntityCert::try_from(end_entity).map_err(|error| invalid(&error))?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(|_| invalid(&"the clock shows a time before 1970"))?;
        let usage = match purpose {
            Purpose::Client => KeyUsage::client_auth(),
            Purpose::Server => KeyUsage::server_auth(),
        };
        let lists: Vec<_> = lists.iter().collect();
        let depth = match self.validation.revocation {
            Revocation::Chain => RevocationCheckDepth::Chain,
            Revocation::Leaf => RevocationCheckDepth::EndEntity,
        };
        // Without lists there is nothing to look up; with them, what none of them speaks of is refused.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| options.with_depth(depth).build());
        let most = self.validation.max_depth;
        let short = |path: &VerifiedPath<'_>| {
            // The trust anchor counts.
            let above = path.intermediate_certificates().count() + 1;
            let fits = most.is_none_or(|most| above <= most as usize);
            if fits { Ok(()) } else { Err(webpki::Error::MaximumPathDepthExceeded) }
        };
        let algorithms = web_provider().signature_verification_algorithms.all;
        let now = UnixTime::since_unix_epoch(now);
        let verified =
            certificate.verify_for_usage(algorithms, anchors, intermediates, now, usage, revocation, Some(&short));
        verified.map(drop).map_err(|error| match error {
            webpki::Error::CertExpired { .. } => Error::Expired(subject()),
            webpki::Error::CertNotValidYet { .. } => Error::NotValidYet(subject()),
            webpki::Error::CertRevoked => Error::Revoked(subject()),
            webpki::Error::UnknownRevocationStatus => Error::RevocationUnknown(subject()),
            // An authority of the same name and another key is another authority.
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                Error::UnknownAuthority(subject())
            }
            other => invalid(&other),
        })
    }

    fn names(&self, leaf: &X509Certificate<'_>, server_name: Option<&ServerName<'_>>) -> bool {
        let sans = || Sans::of(leaf);
        if !self.holds_server_name {
            return self.validation.accepts_names(sans().all());
        }
        let Some(ServerName::DnsName(sent)) = server_name else { return false };
        let wanted = SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(sent.as_ref()) };
        sans().all().any(|name| wanted.is_match(&name))
    }
}

impl Judge for Rules {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: Option<&ServerName<'_>>,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<(), Error> {
        self.path(end_entity, intermediates, purpose, now)?;
        let (_, leaf) = X509Certificate::from_der(end_entity)
            .map_err(|error| Error::Path { id: String::new(), reason: error.to_string() })?;
        if !self.names(&leaf, server_name) {
            return Err(Error::Name(Sans::of(&leaf).to_string()));
        }
        match self.validation.accepts_pins(&fingerprint(end_entity), &fingerprint(leaf.public_key().raw)) {
            true => Ok(()),
            false => Err(Error::Pin(subject(end_entity))),
        }
    }
}

/// The alternative names of a certificate that configurations may ask for.
pub(super) struct Sans<'a>(Vec<San<'a>>);

impl<'a> Sans<'a> {
    pub(super) fn of(certificate: &'a X509Certificate<'a>) -> Self {
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        Self(names.filter_map(san).collect())
    }

    pub(super) fn all(self) -> impl Iterator<Item = San<'a>> {
        self.0.into_iter()
    }
}

impl std::fmt::Display for Sans<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match name {
                San::Email(text) | San::Dns(text) | San::Uri(text) => f.write_str(text)?,
                San::Ip(address) => write!(f, "{address}")?,
            }
        }
        if self.0.is_empty() { f.write_str("nobody") } else { Ok(()) }
    }
}

fn san<'a>(name: &GeneralName<'a>) -> Option<San<'a>> {
    match name {
        GeneralName::RFC822Name(text) => Some(San::Email(text)),
        GeneralName::DNSName(text) => Some(San::Dns(text)),
        GeneralName::URI(text) => Some(San::Uri(text)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
            v4.or_else(|| <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok()).map(San::Ip)
        }
        _ => None,
    }
}

/// Who a certificate is of, in words for errors.
fn subject(der: &[u8]) -> String {
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, certificate)| Sans::of(&certificate).to_string()).unwrap_or_default()
}

pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, bytes).as_ref());
    fingerprint
}
