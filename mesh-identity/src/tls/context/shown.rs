//! What is shown of oneself.

use std::fmt;
use std::sync::Arc;

use mesh_core::string_match::Pattern;
use mesh_core::tls::{San, SanKind, SanMatcher};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::rules::Sans;
use crate::tls::Identity;
use crate::tls::resolver::Resolver;

/// A certificate with its key.
#[derive(Clone)]
pub(super) enum Shown {
    /// The own SVID, as it is in the moment of the handshake.
    Own(Identity),
    /// One that stays, and the DNS names that it is for.
    Fixed { certified: Arc<CertifiedKey>, dns_names: Vec<String> },
}

impl Shown {
    pub(super) fn fixed(certified: CertifiedKey) -> Self {
        let leaf = certified.cert.first().map(|der| X509Certificate::from_der(der));
        let names = match &leaf {
            Some(Ok((_, leaf))) => Sans::of(leaf).all().filter_map(dns).collect(),
            _ => Vec::new(),
        };
        Self::Fixed { certified: Arc::new(certified), dns_names: names }
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Own(identity) => Resolver(identity.clone()).current(),
            Self::Fixed { certified, .. } => Some(Arc::clone(certified)),
        }
    }

    fn is_for(&self, server_name: &str) -> bool {
        let wanted = SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(server_name) };
        match self {
            Self::Own(_) => false,
            Self::Fixed { dns_names, .. } => dns_names.iter().any(|name| wanted.is_match(&San::Dns(name))),
        }
    }
}

fn dns(name: San<'_>) -> Option<String> {
    match name {
        San::Dns(name) => Some(name.to_owned()),
        _ => None,
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(identity) => f.debug_tuple("Own").field(&identity.id().to_string()).finish(),
            Self::Fixed { dns_names, .. } => f.debug_tuple("Fixed").field(dns_names).finish(),
        }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified().filter(|certified| certified.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificates of a server: the one that is for the server name and fits what the client can verify is shown, else the
/// first that fits.
#[derive(Debug)]
pub(super) struct ShownByServer {
    pub(super) certificates: Vec<Shown>,
    /// Whether clients that send no server name are refused.
    pub(super) require_sni: bool,
}

impl ResolvesServerCert for ShownByServer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if self.require_sni && name.is_none() {
            return None;
        }
        let fits = |shown: &&Shown| {
            shown.certified().is_some_and(|certified| certified.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let named = |shown: &&Shown| name.is_some_and(|name| shown.is_for(name));
        let found = self.certificates.iter().filter(fits).find(named);
        found.or_else(|| self.certificates.iter().find(fits)).and_then(Shown::certified)
    }
}
