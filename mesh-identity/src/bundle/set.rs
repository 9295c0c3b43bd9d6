use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::name::TrustDomain;

use super::{Bundle, Revocations};

/// The bundles that are trusted, by trust domain, and the certificates that are not any more. Immutable and cheap to
/// clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleSet {
    bundles: Arc<BTreeMap<TrustDomain, Arc<Bundle>>>,
    revocations: Revocations,
}

impl BundleSet {
    /// The bundle of a trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.get(trust_domain)
    }

    /// All bundles, by name of their trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    /// The revocation lists in force.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// This set with one bundle added or replaced.
    #[must_use]
    pub fn with(&self, bundle: Bundle) -> Self {
        let mut bundles = BTreeMap::clone(&self.bundles);
        bundles.insert(bundle.trust_domain().clone(), Arc::new(bundle));
        Self { bundles: Arc::new(bundles), revocations: self.revocations.clone() }
    }

    /// This set without a trust domain: from now on nobody of it is trusted.
    #[must_use]
    pub fn without(&self, trust_domain: &TrustDomain) -> Self {
        let mut bundles = BTreeMap::clone(&self.bundles);
        bundles.remove(trust_domain);
        Self { bundles: Arc::new(bundles), revocations: self.revocations.clone() }
    }

    /// This set with other revocation lists.
    #[must_use]
    pub fn with_revocations(&self, revocations: Revocations) -> Self {
        Self { bundles: Arc::clone(&self.bundles), revocations }
    }
}

impl FromIterator<Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        let by_domain = bundles.into_iter().map(|bundle| (bundle.trust_domain().clone(), Arc::new(bundle)));
        Self { bundles: Arc::new(by_domain.collect()), revocations: Revocations::default() }
    }
}
