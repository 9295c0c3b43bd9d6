use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::{Live, Publisher};
use mesh_core::name::SpiffeId;
use mesh_core::report::chain;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::rotate::Schedule;
use super::{Cache, Error, Issued, SvidSource, SvidState};
use crate::bundle::{Bundle, BundleSet, Revocations};
use crate::clock::{Clock, SystemClock};
use crate::task::Tasks;
use crate::tls::{Cause, Identity};
use crate::verify::{self, Purpose};

/// Most requests to the issuer at a time; a node that starts with hundreds of identities must not bury it.
const MAX_CONCURRENT_FETCHES: usize = 8;

/// Longest sleep before the wall clock is looked at again: a suspended machine wakes up with timers that lag.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// One live SVID per identity: fetched ahead or on demand, renewed at half of its life, cached on disk.
///
/// Requests for one identity are joined; at most eight run at a time. When a renewal fails the old SVID stays in use to
/// its hard end, and then nothing is presented. Cheap to clone.
#[derive(Clone)]
pub struct Identities {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn SvidSource>,
    clock: Arc<dyn Clock>,
    cache: Option<Cache>,
    bundles: Mutex<Publisher<BundleSet>>,
    live_bundles: Live<BundleSet>,
    entries: Mutex<HashMap<SpiffeId, Entry>>,
    permits: Semaphore,
    tasks: Tasks,
}

struct Entry {
    identity: Identity,
    cancel: CancellationToken,
}

/// Sets up [`Identities`].
#[derive(Debug)]
pub struct IdentitiesBuilder {
    source: Arc<dyn SvidSource>,
    clock: Arc<dyn Clock>,
    cache: Option<Cache>,
    bundles: BundleSet,
}

impl IdentitiesBuilder {
    /// Keeps SVIDs and bundles on disk, and starts from there. Default: memory only.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Judges certificates by another clock. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts. Cached bundles are added to those handed in: an authority that was learned before a restart is still
    /// trusted after it, and one that an operator puts into the bootstrap file is trusted at once.
    #[must_use]
    pub fn build(self) -> Identities {
        let mut bundles = self.bundles;
        if let Some(cache) = &self.cache {
            let domains: Vec<_> = bundles.iter().map(|bundle| bundle.trust_domain().clone()).collect();
            for domain in domains {
                match (cache.load_bundle(&domain), bundles.get(&domain)) {
                    (Ok(Some(cached)), Some(known)) => bundles = bundles.with(known.union(&cached)),
                    (Ok(_), _) => {}
                    (Err(error), _) => {
                        tracing::warn!(trust_domain = %domain, error = chain(&error), "cached bundle ignored")
                    }
                }
            }
        }
        let (publisher, live_bundles) = Publisher::new(bundles);
        let inner = Inner {
            source: self.source,
            clock: self.clock,
            cache: self.cache,
            bundles: Mutex::new(publisher),
            live_bundles,
            entries: Mutex::default(),
            permits: Semaphore::new(MAX_CONCURRENT_FETCHES),
            tasks: Tasks::default(),
        };
        Identities { inner: Arc::new(inner) }
    }
}

impl Identities {
    /// Identities from a source, trusting `bundles` at the start.
    #[must_use]
    pub fn builder(source: Arc<dyn SvidSource>, bundles: BundleSet) -> IdentitiesBuilder {
        IdentitiesBuilder { source, clock: Arc::new(SystemClock), cache: None, bundles }
    }

    /// The identity `id`, with an SVID. Waits for the first one; afterwards it answers at once.
    ///
    /// # Errors
    /// The first failure after the call when no valid SVID is there. Renewal goes on in the background.
    ///
    /// # Cancel safety
    /// Safe: the fetch goes on without its waiter.
    pub async fn identity(&self, id: &SpiffeId) -> Result<Identity, Cause> {
        let identity = self.entry(id)?;
        let mut changes = identity.state().changes();
        loop {
            if identity.svid().is_some() {
                return Ok(identity);
            }
            // A failure from before the call tells nothing about now, unless the back-off is still waiting.
            if let Some(error) = &changes.current().last_error {
                return Err(Arc::clone(error));
            }
            changes.changed().await.map_err(|_| Arc::new(Error::Closed) as Cause)?;
        }
    }

    /// Begins to fetch an SVID without waiting for it.
    pub fn prefetch(&self, id: &SpiffeId) {
        let _ = self.entry(id);
    }

    /// Stops renewing an identity and drops its SVID from memory and disk. Handles on it stay readable to their end.
    pub fn forget(&self, id: &SpiffeId) {
        if let Some(entry) = self.inner.entries.lock().remove(id) {
            entry.cancel.cancel();
            if let Some(cache) = &self.inner.cache {
                cache.forget_svid(id);
            }
        }
    }

    /// Whom all these identities trust.
    #[must_use]
    pub fn bundles(&self) -> Live<BundleSet> {
        self.inner.live_bundles.clone()
    }

    /// Puts other revocation lists in force: from now on nobody in them is trusted.
    pub fn revoke(&self, revocations: Revocations) {
        let publisher = self.inner.bundles.lock();
        let known = self.inner.live_bundles.snapshot();
        if *known.revocations() != revocations {
            tracing::info!(lists = revocations.len(), "revocation lists changed");
            publisher.publish(known.with_revocations(revocations));
        }
    }

    /// What is known of every identity, by id.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let entries = self.inner.entries.lock();
        let mut all: Vec<_> = entries.values().map(|entry| Summary::of(&entry.identity)).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Stops all renewals.
    ///
    /// # Cancel safety
    /// Safe to call again.
    pub async fn shutdown(&self) {
        self.inner.tasks.stop().await;
    }

    fn entry(&self, id: &SpiffeId) -> Result<Identity, Cause> {
        if self.inner.tasks.is_stopped() {
            return Err(Arc::new(Error::Closed));
        }
        let mut entries = self.inner.entries.lock();
        if let Some(entry) = entries.get(id) {
            return Ok(entry.identity.clone());
        }
        let (publisher, live) = Publisher::new(SvidState::default());
        let clock = Arc::clone(&self.inner.clock);
        let identity = Identity::new(id.clone(), live, self.inner.live_bundles.clone(), clock);
        let cancel = CancellationToken::new();
        let keeper =
            Keeper { inner: Arc::clone(&self.inner), id: id.clone(), publisher, schedule: Schedule::default() };
        self.inner.tasks.spawn_until(cancel.clone(), keeper.run());
        entries.insert(id.clone(), Entry { identity: identity.clone(), cancel });
        Ok(identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("identities", &self.summaries()).finish_non_exhaustive()
    }
}

/// Keeps one SVID fresh.
struct Keeper {
    inner: Arc<Inner>,
    id: SpiffeId,
    publisher: Publisher<SvidState>,
    schedule: Schedule,
}

impl Keeper {
    async fn run(mut self) {
        self.start_from_cache();
        loop {
            let wait = self.schedule.poll_wait(self.inner.clock.now());
            if wait.is_zero() {
                self.renew().await;
            } else {
                // Then look again: only the wall clock says whether it is time.
                tokio::time::sleep(wait.min(MAX_SLEEP)).await;
            }
        }
    }

    fn start_from_cache(&mut self) {
        let Some(cache) = &self.inner.cache else { return };
        let now = self.inner.clock.now();
        match cache.load_svid(&self.id) {
            Ok(Some(svid)) => {
                match verify::peer(Some(svid.chain()), &self.inner.live_bundles.load(), Purpose::Server, now) {
                    Ok(_) => {
                        // Its age is unknown but for the certificate's own word.
                        self.schedule.handle_issued(svid.not_before(), svid.not_after(), fastrand::f64());
                        let state = SvidState { svid: Some(Arc::new(svid)), ..SvidState::default() };
                        self.publisher.publish(state);
                    }
                    Err(error) => tracing::info!(identity = %self.id, %error, "cached SVID not used"),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(identity = %self.id, error = chain(&error), "cached SVID ignored"),
        }
    }

    async fn renew(&mut self) {
        let Ok(permit) = self.inner.permits.acquire().await else { return };
        let fetched = self.inner.source.fetch(&self.id).await;
        drop(permit);
        let before = self.publisher.live().snapshot();
        match fetched {
            Ok(Issued { svid, bundle }) => {
                tracing::info!(identity = %self.id, serial = svid.serial(), "SVID renewed");
                self.schedule.handle_issued(self.inner.clock.now(), svid.not_after(), fastrand::f64());
                self.inner.learn(bundle);
                if let Some(cache) = &self.inner.cache
                    && let Err(error) = cache.store_svid(&svid)
                {
                    tracing::warn!(identity = %self.id, error = chain(&error), "SVID not cached");
                }
                let rotations = before.rotations + 1;
                self.publisher.publish(SvidState { svid: Some(Arc::new(svid)), last_error: None, rotations });
            }
            Err(error) => {
                tracing::warn!(identity = %self.id, error = chain(&error), "SVID not renewed");
                self.schedule.handle_failure(self.inner.clock.now());
                self.publisher.publish(SvidState { last_error: Some(Arc::new(error)), ..SvidState::clone(&before) });
            }
        }
    }
}

impl Inner {
    /// Takes the authorities that the issuer names now. The channel to it was authenticated by those known before.
    fn learn(&self, bundle: Bundle) {
        let publisher = self.bundles.lock();
        let known = self.live_bundles.snapshot();
        let before = known.get(bundle.trust_domain());
        // Certificate services give roots alone; keys of tokens that came another way stay.
        let tokens = before.map(|known| known.jwt_authorities().to_vec()).unwrap_or_default();
        let bundle = if bundle.jwt_authorities().is_empty() { bundle.with_jwt_authorities(tokens) } else { bundle };
        if before.is_some_and(|known| known.is_same_trust(&bundle)) {
            return;
        }
        if let Some(cache) = &self.cache
            && let Err(error) = cache.store_bundle(&bundle)
        {
            tracing::warn!(error = chain(&error), "bundle not cached");
        }
        tracing::info!(trust_domain = %bundle.trust_domain(), authorities = bundle.authorities().len(), "bundle changed");
        publisher.publish(known.with(bundle));
    }
}

/// What is known of one identity: for dumps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The identity.
    pub id: SpiffeId,
    /// Serial number of its SVID in hexadecimal.
    pub serial: Option<String>,
    /// Begin of its SVID.
    pub not_before: Option<SystemTime>,
    /// End of its SVID.
    pub not_after: Option<SystemTime>,
    /// The SVID's certificates in DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// SVIDs fetched since start.
    pub rotations: u64,
    /// Why the last renewal failed.
    pub last_error: Option<String>,
}

impl Summary {
    fn of(identity: &Identity) -> Self {
        let state = identity.state().snapshot();
        Self {
            id: identity.id().clone(),
            serial: state.svid.as_ref().map(|svid| svid.serial().to_owned()),
            not_before: state.svid.as_ref().map(|svid| svid.not_before()),
            not_after: state.svid.as_ref().map(|svid| svid.not_after()),
            chain: state.svid.as_ref().map(|svid| svid.chain().to_vec()).unwrap_or_default(),
            rotations: state.rotations,
            last_error: state.last_error.as_ref().map(|error| chain(&**error)),
        }
    }
}
