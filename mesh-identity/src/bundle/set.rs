use std::sync::Arc;
use std::time::SystemTime;

use imbl::OrdMap;
use mesh_core::name::TrustDomain;

use super::{Bundle, Revocations};

/// The bundles that are trusted, by trust domain, and the certificates that are not any more. Immutable and cheap to
/// clone.
///
/// Versions share what they have in common: with a thousand trust domains, a change costs a few nodes, and so does the end of
/// the version before, which whoever verified by it last pays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleSet {
    trusted: OrdMap<TrustDomain, Trusted>,
    revocations: Revocations,
}

/// One trust domain, as far as it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trusted {
    /// Its authorities.
    pub bundle: Arc<Bundle>,
    /// Until when the bundle counts without having been confirmed: a foreign domain may have withdrawn an authority while
    /// nobody could tell us. `None` for no end, as for one's own domain.
    pub until: Option<SystemTime>,
    /// What revocation lists must say of its certificates.
    pub revocation: RevocationPolicy,
}

/// What revocation lists must say of the certificates of a trust domain. A certificate in a list is refused always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RevocationPolicy {
    /// A certificate of whose issuer no fresh list is known is taken.
    #[default]
    Soft,
    /// It is refused.
    Required,
}

impl Trusted {
    /// A bundle without end and without demands on revocation lists.
    #[must_use]
    pub fn new(bundle: impl Into<Arc<Bundle>>) -> Self {
        Self { bundle: bundle.into(), until: None, revocation: RevocationPolicy::Soft }
    }

    /// Counts until a time only.
    #[must_use]
    pub fn until(self, until: Option<SystemTime>) -> Self {
        Self { until, ..self }
    }

    /// Whether the bundle counts at a time.
    #[must_use]
    pub fn counts_at(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now <= until)
    }

    /// Demands fresh revocation lists, or not.
    #[must_use]
    pub fn revocation(self, revocation: RevocationPolicy) -> Self {
        Self { revocation, ..self }
    }
}

impl BundleSet {
    /// The bundle of a trust domain, however old.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.trusted.get(trust_domain).map(|trusted| &trusted.bundle)
    }

    /// A trust domain, as far as it is trusted.
    #[must_use]
    pub fn trusted(&self, trust_domain: &TrustDomain) -> Option<&Trusted> {
        self.trusted.get(trust_domain)
    }

    /// All bundles, by name of their trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.trusted.values().map(|trusted| &trusted.bundle)
    }

    /// How many trust domains there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.trusted.len()
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// The revocation lists in force.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// This set with one bundle added or replaced, without end.
    #[must_use]
    pub fn with(&self, bundle: impl Into<Arc<Bundle>>) -> Self {
        self.with_all([Trusted::new(bundle)])
    }

    /// This set with trust domains added or replaced.
    #[must_use]
    pub fn with_all(&self, all: impl IntoIterator<Item = Trusted>) -> Self {
        let mut trusted = self.trusted.clone();
        trusted.extend(all.into_iter().map(|one| (one.bundle.trust_domain().clone(), one)));
        Self { trusted, revocations: self.revocations.clone() }
    }

    /// This set without a trust domain: from now on nobody of it is trusted.
    #[must_use]
    pub fn without(&self, trust_domain: &TrustDomain) -> Self {
        Self { trusted: self.trusted.without(trust_domain), revocations: self.revocations.clone() }
    }

    /// This set with other revocation lists.
    #[must_use]
    pub fn with_revocations(&self, revocations: Revocations) -> Self {
        Self { trusted: self.trusted.clone(), revocations }
    }
}

impl<B: Into<Arc<Bundle>>> FromIterator<B> for BundleSet {
    fn from_iter<I: IntoIterator<Item = B>>(bundles: I) -> Self {
        Self::default().with_all(bundles.into_iter().map(Trusted::new))
    }
}
