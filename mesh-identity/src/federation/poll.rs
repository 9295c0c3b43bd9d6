use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::TrustDomain;
use mesh_core::report::chain;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Fetched, Fetcher};
use super::relationship::Relationship;
use crate::clock::Clock;
use crate::task::Tasks;
use crate::trust::{Change, Level, Source, TrustStore};

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);
const DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Time to the next fetch: the publisher's hint, between a minute and an hour, five minutes without one; give or take a
/// tenth, so that what started together does not ask together. `jitter` is a random number in 0..=1.
#[must_use]
pub fn interval(hint: Option<Duration>, jitter: f64) -> Duration {
    let hint = hint.map_or(DEFAULT, |hint| hint.clamp(SHORTEST, LONGEST));
    hint.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
}

/// Keeps the bundles of foreign trust domains fresh: one task for each, so that a slow endpoint delays no other.
#[derive(Debug)]
pub struct Federation {
    store: TrustStore,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    running: Mutex<HashMap<TrustDomain, (Relationship, CancellationToken)>>,
}

impl Federation {
    /// No relationship yet.
    #[must_use]
    pub fn new(store: TrustStore, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, tasks: Tasks::default(), running: Mutex::default() }
    }

    /// Federates with exactly these: those that are new begin, those that changed begin anew, those that are not there any
    /// more end at once, and nobody of them is trusted from then on, until they are there again
    /// ([`TrustStore::terminate`], [`TrustStore::admit`]). So it is with those that were there before a restart, as far as the
    /// store remembers: federate with none, rather than not at all, where none is configured any more.
    ///
    /// # Errors
    /// [`FetchError::Settings`] with what cannot be begun; everything else has happened.
    pub fn set(&self, all: Vec<Relationship>) -> Result<(), FetchError> {
        let mut running = self.running.lock();
        let mut ended = self.store.unclaimed();
        ended.extend(running.keys().cloned());
        ended.retain(|known| !all.iter().any(|one| one.trust_domain == *known));
        for domain in ended {
            if let Some((_, cancel)) = running.remove(&domain) {
                cancel.cancel();
            }
            self.store.terminate(&domain);
        }
        let mut failed = None;
        for one in all {
            let domain = one.trust_domain.clone();
            if running.get(&domain).is_some_and(|(known, _)| *known == one) {
                continue;
            }
            self.store.admit(&domain);
            self.store.set_policy(&domain, one.revocation);
            if let Some(bundle) = one.bootstrap() {
                self.store.bootstrap(bundle.clone());
            }
            match Fetcher::new(one.clone(), self.store.bundles(), Arc::clone(&self.clock)) {
                Ok(fetcher) => {
                    let cancel = CancellationToken::new();
                    self.tasks.spawn_until(cancel.clone(), follow(fetcher, self.store.clone()));
                    if let Some((_, before)) = running.insert(domain, (one, cancel)) {
                        before.cancel();
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Ends all fetching. What is known stays known.
    ///
    /// # Cancel safety
    /// Safe to call again.
    pub async fn shutdown(&self) {
        self.tasks.stop().await;
    }
}

async fn follow(mut fetcher: Fetcher, store: TrustStore) {
    loop {
        let hint = poll(&mut fetcher, &store).await;
        tokio::time::sleep(interval(hint, fastrand::f64())).await;
    }
}

/// One fetch; gives the hint for the next. A failed one waits as long as one that succeeded: an endpoint in trouble is not
/// hammered.
async fn poll(fetcher: &mut Fetcher, store: &TrustStore) -> Option<Duration> {
    let domain = fetcher.relationship().trust_domain.clone();
    let hint = || store.bundles().load().get(&domain).and_then(|bundle| bundle.refresh_hint());
    let verified_by = fetcher.relationship().verified_by().map(ToString::to_string);
    let fetched = fetcher.fetch().await.map(|fetched| match fetched {
        // Not to be taken for a word on the bundle in force: that may be another one.
        Fetched::Unchanged(bundle) => bundle,
        Fetched::Bundle(bundle, skipped) => {
            for (index, reason) in skipped {
                tracing::warn!(trust_domain = %domain, index, error = chain(&reason), "a key of a bundle is not used");
            }
            bundle
        }
    });
    match fetched {
        Ok(bundle) => {
            let sequence = bundle.sequence();
            match store.confirm(bundle, Source::Endpoint) {
                Ok(Change::Confirmed) => {
                    tracing::debug!(trust_domain = %domain, sequence, verified_by, "bundle confirmed")
                }
                Ok(change) => tracing::info!(trust_domain = %domain, sequence, verified_by, ?change, "bundle taken"),
                Err(error) => tracing::error!(trust_domain = %domain, %error, "bundle not taken; the last one counts"),
            }
        }
        Err(error) => {
            let age = store.age(&domain);
            let left_seconds = age.as_ref().and_then(|age| age.left_seconds);
            let error = chain(&error);
            match age.map(|age| age.level) {
                None | Some(Level::Ended) => {
                    tracing::error!(trust_domain = %domain, error, "bundle not fetched; nobody of the trust domain is let in");
                }
                Some(Level::Critical) => {
                    tracing::error!(trust_domain = %domain, left_seconds, error, "bundle not fetched; the last one ends soon");
                }
                Some(Level::Ageing) => {
                    tracing::warn!(trust_domain = %domain, left_seconds, error, "bundle not fetched; half of the last one's time has passed");
                }
                Some(Level::Fresh) => {
                    tracing::info!(trust_domain = %domain, left_seconds, error, "bundle not fetched; the last one counts")
                }
            }
        }
    }
    hint()
}
