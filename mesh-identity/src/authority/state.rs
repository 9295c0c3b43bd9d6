use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::TrustDomain;
use rustls_pki_types::CertificateDer;

use super::Error;
use super::Rules;
use super::rotate::Life;
use super::signer::Signer;
use crate::bundle::{self, Bundle, JwtAuthority};
use crate::jose::SigningKey;

/// Everything that changes in an authority. Immutable; a change makes a new one, which is stored before it is published.
#[derive(Clone)]
pub(super) struct State {
    pub(super) signing: Slots<Signer>,
    pub(super) tokens: Slots<TokenKey>,
    /// When the next signer of a plugged-in authority was published, with a root that nobody knew.
    pub(super) announced: Option<SystemTime>,
    /// Authorities that sign no more, and until when what they signed is still believed.
    pub(super) retired: Vec<(bundle::Authority, SystemTime)>,
    pub(super) retired_tokens: Vec<(JwtAuthority, SystemTime)>,
    /// Signers that sign no certificates any more, but lists of what they signed, until that has ended.
    pub(super) former: Vec<(Arc<Signer>, SystemTime)>,
    pub(super) revoked: Vec<Revoked>,
    /// Number of the revocation list; it grows with each.
    pub(super) list_number: u64,
    /// Sequence of the bundle; it grows with each change.
    pub(super) sequence: u64,
}

/// A key in use and, in good time, the one that follows.
pub(super) struct Slots<T> {
    pub(super) current: Arc<T>,
    pub(super) next: Option<Arc<T>>,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current), next: self.next.clone() }
    }
}

/// A key that signs tokens.
pub(super) struct TokenKey {
    pub(super) key: SigningKey,
    pub(super) key_id: String,
    pub(super) life: Life,
}

impl TokenKey {
    pub(super) fn generate(now: SystemTime, life: Duration) -> Result<Self, Error> {
        let key = SigningKey::generate().map_err(|_| Error::Crypto(rcgen::Error::RingUnspecified))?;
        let key_id = crate::hex::hex(&super::signer::random_serial()?);
        Ok(Self { key, key_id, life: Life { begin: now, end: now + life } })
    }

    pub(super) fn public(&self) -> JwtAuthority {
        JwtAuthority::new(&self.key_id, self.key.public())
    }
}

/// A certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) serial: Vec<u8>,
    pub(super) at: SystemTime,
    pub(super) not_after: SystemTime,
}

impl State {
    pub(super) fn new(signer: Signer, tokens: TokenKey) -> Self {
        Self {
            signing: Slots { current: Arc::new(signer), next: None },
            tokens: Slots { current: Arc::new(tokens), next: None },
            announced: None,
            retired: Vec::new(),
            retired_tokens: Vec::new(),
            former: Vec::new(),
            revoked: Vec::new(),
            list_number: 0,
            sequence: 1,
        }
    }

    /// What whoever trusts this trust domain must hold: current, next and retired authorities.
    pub(super) fn bundle(&self, trust_domain: &TrustDomain, refresh_hint: Duration) -> Bundle {
        let signers = std::iter::once(&self.signing.current).chain(&self.signing.next);
        let roots = signers.flat_map(|signer| signer.root_authorities()).cloned();
        let retired = self.retired.iter().map(|(authority, _)| authority.clone());
        let tokens = std::iter::once(&self.tokens.current).chain(&self.tokens.next).map(|key| key.public());
        let retired_tokens = self.retired_tokens.iter().map(|(authority, _)| authority.clone());
        Bundle::of(trust_domain.clone(), roots.chain(retired).collect(), tokens.chain(retired_tokens).collect())
            .with_sequence(Some(self.sequence))
            .with_refresh_hint(Some(refresh_hint))
    }

    /// Signs with the next key from now on. What the current one signed lives for `max_life` at most.
    pub(super) fn activate(&mut self, now: SystemTime, max_life: Duration) {
        if let Some(next) = self.signing.next.take() {
            self.announced = None;
            let old = std::mem::replace(&mut self.signing.current, next);
            let until = old.life.retired_after(now, max_life);
            self.retire(old.root_authorities(), until);
            self.former.push((old, until));
        }
    }

    /// Keeps roots in the bundle until what was signed below them has ended, but for those of the current signer.
    pub(super) fn retire(&mut self, roots: &[bundle::Authority], until: SystemTime) {
        let current = self.signing.current.root_authorities();
        let ended = roots.iter().filter(|root| !current.contains(root));
        self.retired.extend(ended.map(|root| (root.clone(), until)));
    }

    /// Signs tokens with the next key from now on.
    pub(super) fn activate_tokens(&mut self) {
        if let Some(next) = self.tokens.next.take() {
            let old = std::mem::replace(&mut self.tokens.current, next);
            self.retired_tokens.push((old.public(), old.life.retired_at()));
        }
    }

    /// Puts keys in the place of those that ended while nobody kept them: the next ones, or new ones where those have ended
    /// too. A new signing key signs at once; of what is trusted nothing is left that could announce it. Says whether there
    /// was anything to do.
    pub(super) fn catch_up(
        &mut self,
        trust_domain: &TrustDomain,
        now: SystemTime,
        rules: &Rules,
    ) -> Result<bool, Error> {
        let life = rules.authority_life;
        let ended = |life: Life| now >= life.end;
        let (signing, tokens) = (ended(self.signing.current.life), ended(self.tokens.current.life));
        if signing {
            let next = self.signing.next.take().filter(|next| !ended(next.life));
            self.signing.next = Some(match next {
                Some(next) => next,
                None => {
                    tracing::warn!(%trust_domain, "the signing key ended without a successor; a new root signs from now on");
                    Arc::new(Signer::root(trust_domain, now, life)?)
                }
            });
            self.activate(now, rules.max_life);
        }
        if tokens {
            let next = self.tokens.next.take().filter(|next| !ended(next.life));
            self.tokens.next = Some(match next {
                Some(next) => next,
                None => Arc::new(TokenKey::generate(now, life)?),
            });
            self.activate_tokens();
        }
        self.prune(now);
        Ok(signing || tokens)
    }

    /// Forgets what ended. Says whether there was anything.
    pub(super) fn prune(&mut self, now: SystemTime) -> bool {
        const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
        let count =
            |state: &Self| [state.retired.len(), state.retired_tokens.len(), state.former.len(), state.revoked.len()];
        let before = count(self);
        self.retired.retain(|(_, until)| now < *until);
        self.retired_tokens.retain(|(_, until)| now < *until);
        self.former.retain(|(_, until)| now < *until);
        self.revoked.retain(|one| one.not_after.checked_add(KEPT).is_none_or(|end| now < end));
        before != count(self)
    }

    /// Drops an authority at once: nothing that it signed is believed any more, wherever this bundle is known.
    pub(super) fn revoke_authority(&mut self, certificate: &CertificateDer<'_>) -> bool {
        let before = self.retired.len();
        self.retired.retain(|(authority, _)| authority.certificate() != certificate);
        let Self { signing, retired, former, .. } = self;
        let signers = std::iter::once(&signing.current).chain(&signing.next);
        let published: Vec<_> =
            signers.flat_map(|signer| signer.root_authorities()).chain(retired.iter().map(|(root, _)| root)).collect();
        former.retain(|(signer, _)| signer.root_authorities().iter().any(|root| published.contains(&root)));
        before != retired.len()
    }

    /// Everyone whose lists count: the one that signs now, the next one, so that whoever demands a list has one when it
    /// begins, and former ones, whose certificates are still about. Of those that share a name and a key, one.
    pub(super) fn list_signers(&self) -> Vec<&Arc<Signer>> {
        let former = self.former.iter().map(|(signer, _)| signer);
        let mut signers: Vec<&Arc<Signer>> = Vec::new();
        for signer in std::iter::once(&self.signing.current).chain(&self.signing.next).chain(former) {
            let is_known = |known: &&Arc<Signer>| (&known.subject, &known.key_id) == (&signer.subject, &signer.key_id);
            if !signers.iter().any(is_known) {
                signers.push(signer);
            }
        }
        signers
    }
}
