//! How a plugged-in authority goes on when its files were replaced, while it ran or while it did not.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use super::Error;
use super::rotate::Life;
use super::signer::Signer;
use super::state::{Slots, State};
use crate::bundle::{self, Bundle};
use crate::svid;

/// A signer as it is stored.
pub(super) struct Known {
    /// `None` when the key stands in files of others.
    pub(super) key: Option<KeyPair>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) roots: Bundle,
}

impl Known {
    /// The signer, if its key is at hand.
    pub(super) fn into_signer(self) -> Result<Option<Signer>, Error> {
        let Self { key, chain, roots } = self;
        key.map(|key| Signer::new(key, chain, roots)).transpose()
    }

    fn is(&self, signer: &Signer) -> bool {
        self.chain == signer.chain && self.roots.authorities() == signer.root_authorities()
    }

    fn life(&self) -> Result<Life, Error> {
        let first = self.chain.first().ok_or(Error::Signing(svid::Error::EmptyChain))?;
        let (begin, end) = svid::parse(first).and_then(|first| svid::validity(&first)).map_err(Error::Signing)?;
        Ok(Life { begin, end })
    }
}

/// What a plugged-in authority signs with after a start.
pub(super) struct Resumed {
    pub(super) signing: Slots<Signer>,
    /// Whether what signs next is what was announced before the start.
    pub(super) is_announced: bool,
    /// Roots whose signer is gone, and its life: what it signed is still about.
    pub(super) ended: Option<(Vec<bundle::Authority>, Life)>,
}

/// Goes on from `current` and `next`, as they were stored, with what now stands in the files.
///
/// Where the key that signed is still at hand, it goes on signing, as if the process had run through. Where it was replaced
/// while no process looked, it is gone: the new one has to sign at once.
pub(super) fn resume(current: Option<Known>, next: Option<&Known>, files: Signer) -> Result<Resumed, Error> {
    let is_announced = next.is_some_and(|next| publishes(next.roots.authorities(), &files));
    let files = Arc::new(files);
    let only = |files, ended| Resumed { signing: Slots { current: files, next: None }, is_announced: false, ended };
    let Some(current) = current.filter(|current| !current.is(&files)) else { return Ok(only(files, None)) };
    let (roots, life) = (current.roots.authorities().to_vec(), current.life()?);
    match current.into_signer()? {
        Some(signer) => {
            let signing = Slots { current: Arc::new(signer), next: Some(files) };
            Ok(Resumed { signing, is_announced, ended: None })
        }
        None => {
            tracing::warn!("the plugged-in authority was replaced while no process looked: it signs at once");
            Ok(only(files, Some((roots, life))))
        }
    }
}

impl State {
    /// Since when the roots of a signer are published that is to follow the current one; `None` when they were before
    /// anything was announced, so that it may sign at once.
    pub(super) fn announcement(&self, successor: &Signer, now: SystemTime) -> Option<SystemTime> {
        let retired = self.retired.iter().map(|(root, _)| root);
        let mut published: Vec<_> = self.signing.current.root_authorities().iter().chain(retired).cloned().collect();
        if publishes(&published, successor) {
            return None;
        }
        published.extend(self.signing.next.iter().flat_map(|next| next.root_authorities()).cloned());
        self.announced.filter(|_| publishes(&published, successor)).or(Some(now))
    }
}

/// Whether all roots of a signer are among some.
fn publishes(roots: &[bundle::Authority], signer: &Signer) -> bool {
    signer.root_authorities().iter().all(|root| roots.contains(root))
}
