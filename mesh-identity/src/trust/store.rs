use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imbl::ordmap::DiffItem;
use mesh_core::live::{Live, Publisher};
use mesh_core::name::TrustDomain;
use mesh_core::report::chain;
use parking_lot::Mutex;

use super::age::Age;
use super::cache::TrustCache;
use super::known::Source;
use super::state::{Change, Kept, State, TrustError};
use crate::bundle::{Authority, Bundle, BundleSet, RevocationPolicy, Revocations};
use crate::clock::Clock;

/// How long a foreign bundle counts by default since it was last confirmed.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often ends that passed are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Sets up a [`TrustStore`].
#[derive(Debug)]
pub struct TrustStoreBuilder {
    clock: Arc<dyn Clock>,
    cache: Option<TrustCache>,
    max_age: Duration,
}

impl TrustStoreBuilder {
    /// Keeps bundles on disk, and starts from there. Default: memory only.
    #[must_use]
    pub fn cache(self, cache: TrustCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// How long foreign bundles count since they were last confirmed. Default: 7 days.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Starts, with what the cache holds.
    #[must_use]
    pub fn build(self) -> TrustStore {
        let kept = match self.cache.as_ref().map(TrustCache::load) {
            None | Some(Ok(None)) => Kept::default(),
            Some(Ok(Some(kept))) => kept,
            Some(Err(error)) => {
                tracing::error!(
                    error = chain(&error),
                    "the trust cache cannot be used; only bootstrapped bundles count"
                );
                Kept::default()
            }
        };
        let state = State::new(kept);
        let (publisher, live) = Publisher::new(state.set());
        let (clock, cache, max_age) = (self.clock, self.cache, self.max_age);
        let (unsaved, saving) = (AtomicBool::new(false), Mutex::default());
        let state = Mutex::new(state);
        TrustStore { inner: Arc::new(Inner { state, publisher, live, clock, cache, max_age, unsaved, saving }) }
    }
}

/// Whom we trust, from any of several sources, kept on disk. Cheap to clone.
#[derive(Clone)]
pub struct TrustStore {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    publisher: Publisher<BundleSet>,
    live: Live<BundleSet>,
    clock: Arc<dyn Clock>,
    cache: Option<TrustCache>,
    max_age: Duration,
    /// Whether there is something that is not on disk, and somebody who will see to it.
    unsaved: AtomicBool,
    /// Held while the disk is written.
    saving: Mutex<()>,
}

impl TrustStore {
    /// A store that judges ages by a clock.
    #[must_use]
    pub fn builder(clock: Arc<dyn Clock>) -> TrustStoreBuilder {
        TrustStoreBuilder { clock, cache: None, max_age: MAX_AGE }
    }

    /// Whom we trust, as it changes.
    #[must_use]
    pub fn bundles(&self) -> Live<BundleSet> {
        self.inner.live.clone()
    }

    /// Takes the bundle of our own trust domain. It has no end: who issues our SVIDs also tells whom to trust for them. From
    /// then on no other source is believed for this domain. Whoever moves to another trust domain withdraws the former
    /// ([`TrustStore::withdraw`]).
    pub fn own(&self, bundle: impl Into<Arc<Bundle>>) {
        let (bundle, now) = (bundle.into(), self.inner.clock.now());
        self.inner.change(|state| state.own(bundle, now));
    }

    /// Takes a bundle of the configuration, unless the trust domain is known already: what was learned since is newer.
    pub fn bootstrap(&self, bundle: impl Into<Arc<Bundle>>) {
        let (bundle, now, max_age) = (bundle.into(), self.inner.clock.now(), self.inner.max_age);
        self.inner.change(|state| state.bootstrap(bundle, now, max_age));
    }

    /// What revocation lists must say of the certificates of a domain, whichever source tells of it, now and later. Default:
    /// [`RevocationPolicy::Soft`].
    pub fn set_policy(&self, trust_domain: &TrustDomain, policy: RevocationPolicy) {
        self.inner.change(|state| state.set_policy(trust_domain, policy));
    }

    /// Takes a bundle that a source showed, authenticated, just now. Without news, its end moves by a hundredth of its time or
    /// not at all: it may come so much earlier than the last confirmation promises.
    ///
    /// # Errors
    /// [`TrustError`] when it is older than what is known, or contradicts it; when it is of our own trust domain; and when
    /// trust in its domain was ended.
    pub fn confirm(&self, bundle: impl Into<Arc<Bundle>>, source: Source) -> Result<Change, TrustError> {
        let (bundle, now, max_age) = (bundle.into(), self.inner.clock.now(), self.inner.max_age);
        self.inner.change(|state| state.confirm(bundle, source, now, max_age))
    }

    /// Takes many bundles that a source showed together: they are put in force, and kept, at once. Gives for each, in order,
    /// what [`TrustStore::confirm`] would; those that are not taken keep no other back.
    pub fn confirm_all(
        &self,
        bundles: impl IntoIterator<Item = Arc<Bundle>>,
        source: Source,
    ) -> Vec<Result<Change, TrustError>> {
        let (now, max_age) = (self.inner.clock.now(), self.inner.max_age);
        self.inner
            .change(|state| bundles.into_iter().map(|bundle| state.confirm(bundle, source, now, max_age)).collect())
    }

    /// Ends trust in a domain: from now on nobody of it is let in, whatever any source shows, and over restarts too, until
    /// the domain is admitted again.
    pub fn terminate(&self, trust_domain: &TrustDomain) {
        tracing::warn!(%trust_domain, "trust ends");
        self.inner.change(|state| state.terminate(trust_domain));
    }

    /// Domains that federation brought in an earlier run, and that nobody named or showed since.
    pub(crate) fn unclaimed(&self) -> Vec<TrustDomain> {
        self.inner.state.lock().unclaimed()
    }

    /// Lets sources show a domain again in which trust was ended. It is trusted from the next bundle on.
    pub fn admit(&self, trust_domain: &TrustDomain) {
        self.inner.change(|state| {
            state.kept.terminated.remove(trust_domain);
        });
    }

    /// A source does not vouch for a domain any more: the bundle that it showed last counts no longer. Another source, or the
    /// same one later, may show the domain again.
    pub fn withdraw(&self, trust_domain: &TrustDomain, source: Source) {
        if self.inner.change(|state| state.withdraw(trust_domain, source)) {
            tracing::warn!(%trust_domain, ?source, "trust ends: its source does not vouch for it any more");
        }
    }

    /// Takes the next bundle of a domain whatever its number: for an operator, after the publisher was restored.
    pub fn reset(&self, trust_domain: &TrustDomain) {
        self.inner.change(|state| state.reset(trust_domain));
    }

    /// Puts revocation lists in force, beside those that are newer ([`Revocations::union`]).
    pub fn revoke(&self, revocations: &Revocations) {
        let set = self.inner.live.snapshot();
        let authorities = set.iter().flat_map(|bundle| bundle.authorities());
        revocations.prove(authorities.map(Authority::as_list_issuer));
        self.inner.change(|state| state.revocations = state.revocations.union(revocations));
    }

    /// Writes to the cache what is not there yet: inside a runtime changes are written a moment later. It blocks.
    pub fn flush(&self) {
        self.inner.save();
    }

    /// How old every bundle is, by trust domain.
    #[must_use]
    pub fn ages(&self) -> Vec<Age> {
        let now = self.inner.clock.now();
        let state = self.inner.state.lock();
        state.kept.known.values().map(|known| state.age(known, now)).collect()
    }

    /// How old a bundle is.
    #[must_use]
    pub fn age(&self, trust_domain: &TrustDomain) -> Option<Age> {
        let now = self.inner.clock.now();
        let state = self.inner.state.lock();
        state.kept.known.get(trust_domain).map(|known| state.age(known, now))
    }

    /// Tells whoever follows when a bundle stops to count, so that connections that rest on it are judged again.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            self.look();
        }
    }

    /// One look for bundles that stopped to count. Half and four fifths of the way there are told too, once each.
    pub fn look(&self) {
        let now = self.inner.clock.now();
        let mut state = self.inner.state.lock();
        if state.look(now) {
            self.inner.publisher.publish(state.set());
        }
    }
}

impl Inner {
    fn change<T>(self: &Arc<Self>, edit: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let (before, lists) = (state.kept.clone(), state.revocations.clone());
        let result = edit(&mut state);
        // Only what changed is looked at and made anew, however many trust domains there are.
        let (mut now, mut gone) = (Vec::new(), Vec::new());
        for difference in before.known.diff(&state.kept.known) {
            match difference {
                DiffItem::Add(_, known) | DiffItem::Update { new: (_, known), .. } => now.push(known.trusted()),
                DiffItem::Remove(domain, _) => gone.push(domain.clone()),
            }
        }
        let trusts = !now.is_empty() || !gone.is_empty();
        let kept = trusts || before.terminated != state.kept.terminated;
        if trusts || lists != state.revocations {
            let mut set = self.live.load().with_all(now).with_revocations(state.revocations.clone());
            for domain in gone {
                set = set.without(&domain);
            }
            self.publisher.publish(set);
        }
        drop(state);
        if kept {
            self.save_soon();
        }
        result
    }

    /// Disks may take their time: inside a runtime it is not one of its workers that waits.
    fn save_soon(self: &Arc<Self>) {
        if self.cache.is_none() || self.unsaved.swap(true, Ordering::SeqCst) {
            return;
        }
        let save = Save(Arc::clone(self));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(save))),
            Err(_) => drop(save),
        }
    }

    fn save(&self) {
        let Some(cache) = &self.cache else { return };
        // One at a time, and each writes what is newest then.
        let _saving = self.saving.lock();
        if !self.unsaved.swap(false, Ordering::SeqCst) {
            return;
        }
        let kept = self.state.lock().kept.clone();
        if let Err(error) = cache.save(&kept) {
            tracing::error!(error = chain(&error), "trust is not kept on disk");
        }
    }
}

/// Saves when it is dropped: also by a runtime that ends before it comes to it.
struct Save(Arc<Inner>);

impl Drop for Save {
    fn drop(&mut self) {
        self.0.save();
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore").field("ages", &self.ages()).finish_non_exhaustive()
    }
}
