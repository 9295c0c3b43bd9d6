use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::{OrdMap, OrdSet};
use mesh_core::name::TrustDomain;

use super::age::{Age, Level, age, left_seconds, level};
use super::known::{Known, Source};
use crate::bundle::{Bundle, BundleSet, RevocationPolicy, Revocations};

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
    /// Trust in the domain was ended.
    #[error("trust domain `{0}` is not federated with")]
    Unknown(String),
    /// It is our own trust domain, of which nobody else tells.
    #[error("trust domain `{0}` is our own")]
    Own(String),
}

/// What is kept on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) known: OrdMap<TrustDomain, Known>,
    /// Domains in which trust was ended: no source brings them back.
    pub(super) terminated: OrdSet<TrustDomain>,
}

/// What a store knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) kept: Kept,
    pub(super) revocations: Revocations,
    /// What revocation lists must say, where that is not the default. Domains that are not known yet are among them.
    policies: BTreeMap<TrustDomain, RevocationPolicy>,
    /// When bundles were last shown since the start. What only the cache tells of is not among them.
    shown: BTreeMap<TrustDomain, SystemTime>,
    /// How near their ends the bundles were when that was looked at last.
    levels: BTreeMap<TrustDomain, Level>,
}

impl State {
    pub(super) fn new(kept: Kept) -> Self {
        // Until the configuration says something else, what it said before the restart counts.
        let policies = kept.known.iter().map(|(domain, known)| (domain.clone(), known.revocation)).collect();
        Self { kept, revocations: Revocations::default(), policies, shown: BTreeMap::new(), levels: BTreeMap::new() }
    }

    fn policy(&self, trust_domain: &TrustDomain) -> RevocationPolicy {
        self.policies.get(trust_domain).copied().unwrap_or_default()
    }

    pub(super) fn set_policy(&mut self, trust_domain: &TrustDomain, policy: RevocationPolicy) {
        self.policies.insert(trust_domain.clone(), policy);
        if let Some(known) = self.kept.known.get_mut(trust_domain) {
            known.revocation = policy;
        }
    }

    pub(super) fn own(&mut self, bundle: Arc<Bundle>, now: SystemTime) {
        let domain = bundle.trust_domain().clone();
        self.kept.terminated.remove(&domain);
        self.shown.insert(domain.clone(), now);
        if self.kept.known.get(&domain).is_some_and(|known| known.source == Source::Own && known.bundle == bundle) {
            return;
        }
        let revocation = self.policy(&domain);
        let known = Known { bundle, source: Source::Own, confirmed: now, max_age: None, revocation };
        self.kept.known.insert(domain, known);
    }

    pub(super) fn bootstrap(&mut self, bundle: Arc<Bundle>, now: SystemTime, max_age: Duration) {
        let domain = bundle.trust_domain().clone();
        if self.kept.terminated.contains(&domain) {
            tracing::warn!(trust_domain = %domain, "no bundle is taken from the configuration: trust in the domain was ended");
            return;
        }
        let revocation = self.policy(&domain);
        let first = Known { bundle, source: Source::Bootstrap, confirmed: now, max_age: Some(max_age), revocation };
        let confirmed = self.kept.known.entry(domain.clone()).or_insert(first).confirmed;
        self.shown.entry(domain).or_insert(confirmed);
    }

    pub(super) fn confirm(
        &mut self,
        bundle: Arc<Bundle>,
        source: Source,
        confirmed: SystemTime,
        max_age: Duration,
    ) -> Result<Change, TrustError> {
        let trust_domain = bundle.trust_domain().to_string();
        if self.kept.terminated.contains(bundle.trust_domain()) {
            return Err(TrustError::Unknown(trust_domain));
        }
        let revocation = self.policy(bundle.trust_domain());
        let Some(known) = self.kept.known.get(bundle.trust_domain()) else {
            let known = Known { bundle, source, confirmed, max_age: Some(max_age), revocation };
            self.shown.insert(known.bundle.trust_domain().clone(), confirmed);
            self.kept.known.insert(known.bundle.trust_domain().clone(), known);
            return Ok(Change::New);
        };
        if known.source == Source::Own {
            return Err(TrustError::Own(trust_domain));
        }
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
        self.shown.insert(bundle.trust_domain().clone(), confirmed);
        if known.source != source || known.bundle != bundle || known.is_due(confirmed, max_age) {
            let known = Known { bundle, source, confirmed, max_age: Some(max_age), revocation };
            self.kept.known.insert(known.bundle.trust_domain().clone(), known);
        }
        Ok(if same { Change::Confirmed } else { Change::Changed })
    }

    /// Domains that federation brought in an earlier run, and that nobody named or showed since.
    pub(super) fn unclaimed(&self) -> Vec<TrustDomain> {
        let by_federation = |known: &Known| matches!(known.source, Source::Bootstrap | Source::Endpoint);
        let all =
            self.kept.known.iter().filter(|(domain, known)| by_federation(known) && !self.shown.contains_key(*domain));
        all.map(|(domain, _)| domain.clone()).collect()
    }

    pub(super) fn terminate(&mut self, trust_domain: &TrustDomain) {
        self.kept.known.remove(trust_domain);
        self.kept.terminated.insert(trust_domain.clone());
    }

    pub(super) fn withdraw(&mut self, trust_domain: &TrustDomain, source: Source) -> bool {
        let theirs = self.kept.known.get(trust_domain).is_some_and(|known| known.source == source);
        theirs && self.kept.known.remove(trust_domain).is_some()
    }

    pub(super) fn age(&self, known: &Known, now: SystemTime) -> Age {
        let shown = self.shown.get(known.bundle.trust_domain()).copied();
        age(known, shown.unwrap_or(known.confirmed), now)
    }

    pub(super) fn reset(&mut self, trust_domain: &TrustDomain) {
        if let Some(known) = self.kept.known.get_mut(trust_domain) {
            known.bundle = Arc::new(Bundle::clone(&known.bundle).with_sequence(None));
        }
    }

    /// Looks for bundles that stopped to count, or do again. Says whether there are any.
    pub(super) fn look(&mut self, now: SystemTime) -> bool {
        let known = &self.kept.known;
        let levels: BTreeMap<TrustDomain, Level> =
            known.iter().map(|(domain, known)| (domain.clone(), level(known, now))).collect();
        let before = std::mem::replace(&mut self.levels, levels);
        let mut ended = false;
        for (domain, level) in &self.levels {
            let was = before.get(domain).copied().unwrap_or(Level::Fresh);
            ended |= (was == Level::Ended) != (*level == Level::Ended);
            if *level <= was {
                continue;
            }
            let left_seconds = known.get(domain).and_then(|known| left_seconds(known, now));
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
        ended
    }

    pub(super) fn set(&self) -> BundleSet {
        BundleSet::default()
            .with_all(self.kept.known.values().map(Known::trusted))
            .with_revocations(self.revocations.clone())
    }
}
