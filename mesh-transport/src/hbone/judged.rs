use std::sync::Arc;

use mesh_identity::bundle::BundleSet;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Purpose};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

/// The certificates of whoever is at the other end of a connection, and the trust by which they were judged last.
#[derive(Debug)]
pub(crate) struct Judged {
    chain: Arc<[CertificateDer<'static>]>,
    purpose: Purpose,
    by: Mutex<Arc<BundleSet>>,
}

impl Judged {
    /// A chain that was found good by these bundles, or by ones that came after them.
    pub(crate) fn new(chain: Arc<[CertificateDer<'static>]>, purpose: Purpose, by: Arc<BundleSet>) -> Self {
        Self { chain, purpose, by: Mutex::new(by) }
    }

    pub(crate) fn chain(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.chain
    }

    /// Whether the other end is still trusted: judged again if trust has changed since it was judged last.
    ///
    /// # Errors
    /// As [`verify::still_trusted`], this time and each time until trust comes back.
    pub(crate) fn look(&self, identity: &Identity) -> Result<(), verify::Error> {
        // Held while it is judged: of many streams of one connection, the first judges for all.
        let mut by = self.by.lock();
        let bundles = identity.bundles().snapshot();
        if !Arc::ptr_eq(&by, &bundles) {
            verify::still_trusted(&self.chain, &bundles, self.purpose, identity.now())?;
            *by = bundles;
        }
        Ok(())
    }
}
