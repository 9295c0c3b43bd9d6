//! The certificate authority of a trust domain: its root or a plugged-in intermediate, what it issues and to whom, and
//! how its keys change without a handshake failing.

pub(crate) mod audit;
mod issue;
mod keep;
mod limit;
mod list;
mod load;
mod request;
mod resume;
pub mod rotate;
mod rule;
mod serve;
mod signer;
mod state;
mod store;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::{Live, Publisher};
use mesh_core::name::TrustDomain;
use parking_lot::Mutex;

pub use issue::Names;
pub use limit::RateLimit;
pub use rule::Rules;
pub use serve::{Caller, CallerPolicy, CertificateService, Grant, Outcome, Refusal};
pub use store::SealingKey;

use crate::bundle::{self, Bundle};
use crate::clock::Clock;
use crate::limits::MAX_REQUEST_BYTES;
use crate::{file, svid, verify};
use state::State;
use store::Store;

/// The authority of one trust domain: signs X.509-SVIDs with its root, or with an intermediate below it, and JWT-SVIDs with
/// a key of their own.
///
/// Its keys change by themselves while [`Authority::keep`] runs: the next one is published long before it signs, the last
/// one stays published until what it signed has ended.
pub struct Authority {
    trust_domain: TrustDomain,
    rules: Rules,
    clock: Arc<dyn Clock>,
    origin: Origin,
    store: Option<Store>,
    /// Held while a new state is made, stored and published.
    writer: Mutex<()>,
    publisher: Publisher<State>,
    state: Live<State>,
    bundles: Publisher<Bundle>,
    live_bundle: Live<Bundle>,
}

/// Who makes the signing keys.
#[derive(Debug)]
enum Origin {
    Own,
    Files { directory: PathBuf, names: [&'static str; 4] },
}

impl Authority {
    /// The trust domain that it speaks for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities that whoever trusts this trust domain must hold now.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        self.live_bundle.snapshot()
    }

    /// The bundle as it changes.
    #[must_use]
    pub fn live_bundle(&self) -> Live<Bundle> {
        self.live_bundle.clone()
    }

    /// Limits of what it issues.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// End of the certificate that signs now.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.state.load().signing.current.life.end
    }

    /// Makes a new state of the present one: stored first, then in force.
    fn change(&self, edit: impl FnOnce(&mut State) -> Result<(), Error>) -> Result<(), Error> {
        let _writer = self.writer.lock();
        let mut state = State::clone(&self.state.load());
        edit(&mut state)?;
        let hint = self.rules.refresh_hint;
        let changed = !state.bundle(&self.trust_domain, hint).is_same_trust(&self.bundle());
        state.sequence += u64::from(changed);
        if let Some(store) = &self.store {
            store.save(&state)?;
        }
        if changed {
            self.bundles.publish(state.bundle(&self.trust_domain, hint));
        }
        self.publisher.publish(state);
        Ok(())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain.to_string())
            .field("origin", &self.origin)
            .field("not_after", &self.not_after())
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
    /// The rules contradict each other.
    #[error("{0}")]
    Rules(String),
    /// The stored state cannot be used.
    #[error("`authority.json` {0}")]
    Stored(&'static str),
    /// The stored state is sealed, and not by the key at hand.
    #[error("`authority.json` is sealed by another key, or was changed")]
    Sealed,
    /// The keys of a plugged-in authority are made by others.
    #[error("the keys of a plugged-in authority are made by whoever plugs them in")]
    PluggedIn,
    /// There is no next key.
    #[error("no next key was prepared")]
    NotPrepared,
    /// Only an authority that signs no more can be revoked.
    #[error("only an authority that signs no more can be taken out of the bundle")]
    NotRetired,
    /// The signing certificates may sign no revocation lists.
    #[error("the signing certificates lack cRLSign")]
    NoLists,
    /// A token could not be issued.
    #[error("the token cannot be issued")]
    Token(#[source] verify::JwtError),
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
    /// The life asked for is too short.
    #[error("a life of {} s is below the least of {} s", asked.as_secs(), least.as_secs())]
    LifeTooShort {
        /// Asked for.
        asked: Duration,
        /// The least.
        least: Duration,
    },
    /// What is left of the signing certificate's own life is too short to issue under.
    #[error("the signing certificate ends in {} s, and the least life is {} s", left.as_secs(), least.as_secs())]
    Ending {
        /// Left.
        left: Duration,
        /// The least.
        least: Duration,
    },
}

#[cfg(test)]
mod tests;
