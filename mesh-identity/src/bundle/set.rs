use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::name::TrustDomain;

use super::Bundle;

/// The bundles that are trusted, by trust domain. Immutable and cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleSet(Arc<BTreeMap<TrustDomain, Arc<Bundle>>>);

impl BundleSet {
    /// The bundle of a trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.0.get(trust_domain)
    }

    /// All bundles, by name of their trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.0.values()
    }

    /// This set with one bundle added or replaced.
    #[must_use]
    pub fn with(&self, bundle: Bundle) -> Self {
        let mut bundles = BTreeMap::clone(&self.0);
        bundles.insert(bundle.trust_domain().clone(), Arc::new(bundle));
        Self(Arc::new(bundles))
    }

    /// This set without a trust domain: from now on nobody of it is trusted.
    #[must_use]
    pub fn without(&self, trust_domain: &TrustDomain) -> Self {
        let mut bundles = BTreeMap::clone(&self.0);
        bundles.remove(trust_domain);
        Self(Arc::new(bundles))
    }
}

impl FromIterator<Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        let by_domain = bundles.into_iter().map(|bundle| (bundle.trust_domain().clone(), Arc::new(bundle)));
        Self(Arc::new(by_domain.collect()))
    }
}
