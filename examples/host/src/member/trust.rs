use std::sync::Arc;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::parse_trust_domain;
use mesh_identity::authority::{Authority, Rules};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::source::Cache;

use super::roots::Roots;
use super::{Error, Settings};

/// Whom we trust at the start.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: Roots,
    pub(super) bundles: BundleSet,
    pub(super) cache: Option<Cache>,
    pub(super) authority: Option<Arc<Authority>>,
    pub(super) publisher: Arc<Publisher<BundleSet>>,
}

impl Trust {
    pub(super) async fn load(settings: &Settings) -> Result<Self, Error> {
        let domain = parse_trust_domain(&settings.trust_domain)?;
        let cache =
            settings.state_dir.as_ref().map(|directory| Cache::open(&directory.join("identity"))).transpose()?;
        let authority = settings.local_authority.as_ref().map(|directory| {
            Authority::open(directory, domain.clone(), Rules::default(), Arc::new(SystemClock)).map(Arc::new)
        });
        let authority = authority.transpose()?;
        let (roots, bundle) = match (&authority, &settings.trust_bundle) {
            (_, Some(path)) if !settings.control_planes.is_empty() || authority.is_none() => {
                let roots = Roots::load(path).await?;
                let bundle = Bundle::from_pem(domain.clone(), &roots.text())?;
                let both = authority.as_ref().map(|authority| bundle.union(&authority.bundle()));
                (roots, both.unwrap_or(bundle))
            }
            (Some(authority), _) => (Roots::default(), Bundle::clone(&authority.bundle())),
            (None, _) => return Err("no trust: name the roots (trust_bundle) or an authority (local_authority)".into()),
        };
        let known = match cache.as_ref().map(|cache| cache.load_bundle(&domain)) {
            Some(Ok(Some(cached))) => bundle.union(&cached),
            _ => bundle,
        };
        let bundles = BundleSet::default().with(known);
        let publisher = Arc::new(Publisher::new(bundles.clone()).0);
        Ok(Self { roots, bundles, cache, authority, publisher })
    }

    /// What the channel to the issuer trusts: it follows what is learned over it.
    pub(super) fn live(&self) -> Live<BundleSet> {
        self.publisher.live()
    }
}
