use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Identity;

/// Presents the SVID that is current at the moment of the handshake. An expired one is never presented: the handshake
/// fails instead.
pub(super) struct Resolver(pub(super) Identity);

impl Resolver {
    pub(super) fn current(&self) -> Option<Arc<CertifiedKey>> {
        let svid = self.0.svid();
        if svid.is_none() {
            tracing::warn!(identity = %self.0.id(), "no valid SVID to present: the handshake fails");
        }
        svid.map(|svid| svid.certified_key())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resolver").field(&self.0.id().to_string()).finish()
    }
}
