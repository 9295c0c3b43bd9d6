use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use mesh_core::live::{Live, Publisher};
use mesh_core::name::TrustDomain;
use mesh_core::report::chain;
use parking_lot::Mutex;

use super::age::{Age, Level, age};
use super::cache::TrustCache;
use super::known::{Known, Source};
use crate::bundle::{Bundle, BundleSet, RevocationPolicy, Revocations};
use crate::clock::Clock;

/// How long a foreign bundle counts by default since it was last confirmed.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often ends that passed are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a confirmation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The trust domain was not known before.
    New,
    /// Other authorities than before.
    Changed,
    /// The same; it counts for longer now.
    Confirmed,
}

/// A bundle is not taken; what was known before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Its number is lower than that of the bundle in force. After a restore of the publisher from a backup that may be
    /// right: an operator then resets the trust domain.
    #[error(
        "the bundle of `{trust_domain}` has number {offered}, and number {known} is known: rolled back, or restored"
    )]
    RolledBack {
        /// The trust domain.
        trust_domain: String,
        /// The number in force.
        known: u64,
        /// The number offered.
        offered: u64,
    },
    /// It has the number of the bundle in force, and other content.
    #[error("the bundle of `{trust_domain}` has number {number} as the known one, and other content")]
    Fork {
        /// The trust domain.
        trust_domain: String,
        /// The number of both.
        number: u64,
    },
    /// The trust domain was terminated.
    #[error("trust domain `{0}` is not federated with")]
    Unknown(String),
}

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
        let known = match self.cache.as_ref().map(TrustCache::load) {
            None | Some(Ok(None)) => OrdMap::new(),
            Some(Ok(Some(known))) => {
                known.into_iter().map(|known| (known.bundle.trust_domain().clone(), known)).collect()
            }
            Some(Err(error)) => {
                tracing::error!(
                    error = chain(&error),
                    "the trust cache cannot be used; only bootstrapped bundles count"
                );
                OrdMap::new()
            }
        };
        let state = State { known, revocations: Revocations::default(), levels: BTreeMap::new() };
        let (publisher, live) = Publisher::new(state.set());
        let (clock, cache, max_age) = (self.clock, self.cache, self.max_age);
        TrustStore { inner: Arc::new(Inner { state: Mutex::new(state), publisher, live, clock, cache, max_age }) }
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
}

struct State {
    known: OrdMap<TrustDomain, Known>,
    revocations: Revocations,
    /// How near their ends the bundles were when that was looked at last.
    levels: BTreeMap<TrustDomain, Level>,
}

impl State {
    fn confirm(
        &mut self,
        bundle: Arc<Bundle>,
        source: Source,
        confirmed: SystemTime,
        max_age: Duration,
    ) -> Result<Change, TrustError> {
        let (trust_domain, max_age) = (bundle.trust_domain().to_string(), Some(max_age));
        let Some(known) = self.known.get_mut(bundle.trust_domain()) else {
            let known = Known { bundle, source, confirmed, max_age, revocation: RevocationPolicy::Soft };
            self.known.insert(known.bundle.trust_domain().clone(), known);
            return Ok(Change::New);
        };
        let same = known.bundle.is_same_trust(&bundle);
        if let (Some(before), Some(offered)) = (known.bundle.sequence(), bundle.sequence()) {
            if offered < before {
                return Err(TrustError::RolledBack { trust_domain, known: before, offered });
            }
            if offered == before && !same {
                // An authenticated endpoint is its domain's own word; stored objects may have been swapped.
                if source != Source::Endpoint {
                    return Err(TrustError::Fork { trust_domain, number: offered });
                }
                tracing::warn!(trust_domain, number = offered, "a bundle changed without a new number");
            }
        }
        *known = Known { bundle, source, confirmed, max_age, revocation: known.revocation };
        Ok(if same { Change::Confirmed } else { Change::Changed })
    }

    fn set(&self) -> BundleSet {
        BundleSet::default()
            .with_all(self.known.values().map(Known::trusted))
            .with_revocations(self.revocations.clone())
    }
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

    /// Takes the bundle of our own trust domain. It has no end: who issues our SVIDs also tells whom to trust for them.
    pub fn own(&self, bundle: impl Into<Arc<Bundle>>) {
        let bundle = bundle.into();
        let confirmed = self.inner.clock.now();
        let known = Known { bundle, source: Source::Own, confirmed, max_age: None, revocation: RevocationPolicy::Soft };
        self.inner.change(|state| {
            state.known.insert(known.bundle.trust_domain().clone(), known);
        });
    }

    /// Takes a bundle of the configuration, unless the trust domain is known already: what was learned since is newer.
    pub fn bootstrap(&self, bundle: impl Into<Arc<Bundle>>, revocation: RevocationPolicy) {
        let bundle = bundle.into();
        let (confirmed, max_age) = (self.inner.clock.now(), Some(self.inner.max_age));
        self.inner.change(|state| {
            let domain = bundle.trust_domain().clone();
            let known = state.known.entry(domain);
            known.and_modify(|known| known.revocation = revocation).or_insert(Known {
                bundle,
                source: Source::Bootstrap,
                confirmed,
                max_age,
                revocation,
            });
        });
    }

    /// Takes a bundle that a source showed, authenticated, just now.
    ///
    /// # Errors
    /// [`TrustError`] when it is older than what is known, or contradicts it.
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

    /// A source said that the bundle in force still is the newest.
    ///
    /// # Errors
    /// [`TrustError::Unknown`] when there is none.
    pub fn confirm_unchanged(&self, trust_domain: &TrustDomain) -> Result<(), TrustError> {
        let now = self.inner.clock.now();
        self.inner.change(|state| {
            let known = state.known.get_mut(trust_domain);
            known.ok_or_else(|| TrustError::Unknown(trust_domain.to_string()))?.confirmed = now;
            Ok(())
        })
    }

    /// Ends trust in a domain: from now on nobody of it is let in.
    pub fn terminate(&self, trust_domain: &TrustDomain) {
        tracing::warn!(%trust_domain, "trust ends");
        self.inner.change(|state| {
            state.known.remove(trust_domain);
        });
    }

    /// Takes the next bundle of a domain whatever its number: for an operator, after the publisher was restored.
    pub fn reset(&self, trust_domain: &TrustDomain) {
        self.inner.change(|state| {
            if let Some(known) = state.known.get_mut(trust_domain) {
                known.bundle = Arc::new(Bundle::clone(&known.bundle).with_sequence(None));
            }
        });
    }

    /// Puts revocation lists in force, beside those that are newer.
    pub fn revoke(&self, revocations: &Revocations) {
        self.inner.change(|state| state.revocations = state.revocations.union(revocations));
    }

    /// How old every bundle is, by trust domain.
    #[must_use]
    pub fn ages(&self) -> Vec<Age> {
        let now = self.inner.clock.now();
        self.inner.state.lock().known.values().map(|known| age(known, now)).collect()
    }

    /// How old a bundle is.
    #[must_use]
    pub fn age(&self, trust_domain: &TrustDomain) -> Option<Age> {
        let now = self.inner.clock.now();
        self.inner.state.lock().known.get(trust_domain).map(|known| age(known, now))
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
        let levels: BTreeMap<TrustDomain, Level> =
            state.known.iter().map(|(domain, known)| (domain.clone(), age(known, now).level)).collect();
        let before = std::mem::replace(&mut state.levels, levels);
        let mut ended = false;
        for (domain, level) in &state.levels {
            let was = before.get(domain).copied().unwrap_or(Level::Fresh);
            ended |= (was == Level::Ended) != (*level == Level::Ended);
            if *level <= was {
                continue;
            }
            let left_seconds = state.known.get(domain).and_then(|known| age(known, now).left_seconds);
            match level {
                Level::Fresh => {}
                Level::Ageing => {
                    tracing::warn!(trust_domain = %domain, left_seconds, "half of the time has passed since its bundle was confirmed");
                }
                Level::Critical => {
                    tracing::error!(trust_domain = %domain, left_seconds, "its bundle was not confirmed for four fifths of its time");
                }
                Level::Ended => {
                    tracing::error!(trust_domain = %domain, "its bundle was not confirmed for too long; nobody of it is let in");
                }
            }
        }
        if ended {
            self.inner.publisher.publish(state.set());
        }
    }
}

impl Inner {
    fn change<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let (before, lists) = (state.known.clone(), state.revocations.clone());
        let result = edit(&mut state);
        // Only what changed is looked at and made anew, however many trust domains there are.
        let (mut now, mut gone) = (Vec::new(), Vec::new());
        for difference in before.diff(&state.known) {
            match difference {
                DiffItem::Add(_, known) | DiffItem::Update { new: (_, known), .. } => now.push(known.trusted()),
                DiffItem::Remove(domain, _) => gone.push(domain.clone()),
            }
        }
        let changed = !now.is_empty() || !gone.is_empty();
        let mut set = self.live.load().with_all(now);
        for domain in gone {
            set = set.without(&domain);
        }
        if lists != state.revocations {
            set = set.with_revocations(state.revocations.clone());
        } else if !changed {
            return result;
        }
        if let Some(cache) = &self.cache
            && changed
            && let Err(error) = cache.save(&state.known.values().cloned().collect::<Vec<_>>())
        {
            tracing::error!(error = chain(&error), "trust is not kept on disk");
        }
        self.publisher.publish(set);
        result
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore").field("ages", &self.ages()).finish_non_exhaustive()
    }
}
