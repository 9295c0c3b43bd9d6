//! Whom this region trusts: its own authority, and the trust domains that it federates with.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_host::follow::follow;
use mesh_host::member::Error;
use mesh_identity::authority::Authority;
use mesh_identity::bundle::{Bundle, RevocationPolicy};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::federation::{BundleEndpoint, Federation, Profile, Relationship, check_all};
use mesh_identity::partition::Survival;
use mesh_identity::task::Tasks;
use mesh_identity::tls::{Identity, named_server};
use mesh_identity::trust::{TrustCache, TrustStore};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::settings::{self, Peer};

/// Begins to follow the authority and the peers. What was learned before a restart counts from the start.
pub(crate) fn begin(
    settings: Option<&settings::Federation>,
    directory: &Path,
    survival: Option<&Survival>,
    authority: &Arc<Authority>,
    tasks: &Tasks,
) -> Result<TrustStore, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut builder = TrustStore::builder(Arc::clone(&clock)).cache(TrustCache::open(&directory.join("trust"))?);
    if let Some(survival) = survival {
        builder = builder.max_age(survival.bundle_max_age);
    }
    let store = builder.build();
    // Before the bundle is taken: one that is published meanwhile must not be missed.
    let mut changes = authority.live_bundle().changes();
    store.own(authority.bundle());
    tasks.spawn(store.clone().keep());
    let followed = store.clone();
    tasks.spawn(async move {
        while let Ok(bundle) = changes.changed().await {
            followed.own(bundle);
        }
    });
    // Without peers too: those of an earlier run end.
    let peers = settings.map_or(&[][..], |settings| &settings.peers);
    let relationships = peers.iter().map(relationship).collect::<Result<Vec<_>, _>>()?;
    check_all(authority.trust_domain(), &relationships)?;
    let federation = Federation::new(store.clone(), clock);
    federation.set(relationships)?;
    // It lives as long as the control plane does.
    tasks.spawn(async move {
        let _federation = federation;
        std::future::pending::<()>().await;
    });
    Ok(store)
}

/// The protocols of a bundle endpoint.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// How often the certificate of the bundle endpoint is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Serves the region's own bundle to whoever federates with it.
pub(crate) async fn publish(
    settings: &settings::Federation,
    own: &Identity,
    authority: &Arc<Authority>,
    tasks: &Tasks,
) -> Result<(), Error> {
    let Some(listen) = settings.listen else { return Ok(()) };
    let tls = match &settings.certificate {
        Some(path) => web_server(path, tasks)?,
        None => own.server_config_without_client_certificates(ALPN)?,
    };
    let listener = crate::listen::listen(listen)?;
    tracing::info!(%listen, profile = if settings.certificate.is_some() { "https_web" } else { "https_spiffe" }, "the trust bundle is served");
    tasks.spawn(BundleEndpoint::new(authority.live_bundle()).serve(listener, tls, tasks.clone()));
    Ok(())
}

/// The certificate that others keep in a file: every handshake presents it as it is then.
struct FromFile(Live<Arc<dyn ResolvesServerCert>>);

impl ResolvesServerCert for FromFile {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().resolve(hello)
    }
}

impl fmt::Debug for FromFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFile(..)")
    }
}

/// TLS of a web server by a certificate and a key in one file, which is followed.
pub(crate) fn web_server(path: &Path, tasks: &Tasks) -> Result<Arc<ServerConfig>, Error> {
    let content = mesh_identity::file::read(path)?;
    let mut config = ServerConfig::clone(&*named_server(&content, ALPN)?);
    let (publisher, live) = Publisher::new(Arc::clone(&config.cert_resolver));
    config.cert_resolver = Arc::new(FromFile(live));
    let take = move |content: &[u8]| {
        named_server(content, ALPN).map(|config| publisher.publish(Arc::clone(&config.cert_resolver)))
    };
    tasks.spawn(follow(path.to_owned(), Some(content), LOOK, take));
    Ok(Arc::new(config))
}

fn relationship(peer: &Peer) -> Result<Relationship, Error> {
    let domain = parse_trust_domain(&peer.trust_domain)?;
    let read = |path: &Path| mesh_identity::file::read(path);
    let profile = match (&peer.endpoint_id, &peer.bundle) {
        (Some(id), bundle) => {
            let bootstrap = match bundle {
                Some(path) => Some(Bundle::from_document(domain.clone(), &read(path)?)?.bundle),
                None => None,
            };
            Profile::Spiffe { endpoint_id: parse_spiffe_id(id)?, bootstrap }
        }
        (None, None) => Profile::Web { roots: peer.roots.as_deref().map(read).transpose()? },
        (None, Some(_)) => {
            return Err(format!("federation with {domain}: a bundle needs the endpoint_id that it verifies").into());
        }
    };
    let mut relationship = Relationship::new(domain, &peer.url, profile)?;
    if peer.require_revocation_lists {
        relationship.revocation = RevocationPolicy::Required;
    }
    Ok(relationship)
}

/// How old trust is, for the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Ages {
    age: Family<Domain, Gauge>,
    left: Family<Domain, Gauge>,
    authority: Gauge,
    /// The trust domains that have figures.
    shown: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Domain {
    trust_domain: String,
}

impl Ages {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let ages = Self {
            age: Family::default(),
            left: Family::default(),
            authority: Gauge::default(),
            shown: Arc::default(),
        };
        let what = "Seconds since the bundle of a trust domain was last confirmed";
        registry.register("trust_bundle_age_seconds", what, ages.age.clone());
        let what = "Seconds for which the bundle of a foreign trust domain still counts without being confirmed";
        registry.register("trust_bundle_left_seconds", what, ages.left.clone());
        let what = "Seconds until the end of the certificate that signs";
        registry.register("authority_left_seconds", what, ages.authority.clone());
        ages
    }

    /// Looks anew.
    pub(crate) fn set(&self, store: &TrustStore, authority: &Authority) {
        let number = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let mut shown = self.shown.lock();
        // Trust domains that are gone leave no last figure behind. Those that stay are never without one: somebody else may
        // read meanwhile.
        let mut gone = std::mem::take(&mut *shown);
        for age in store.ages() {
            let label = Domain { trust_domain: age.trust_domain };
            self.age.get_or_create(&label).set(number(age.age_seconds));
            match age.left_seconds {
                Some(left) => {
                    self.left.get_or_create(&label).set(number(left));
                }
                None => {
                    self.left.remove(&label);
                }
            }
            gone.remove(&label.trust_domain);
            shown.insert(label.trust_domain);
        }
        for trust_domain in gone {
            let label = Domain { trust_domain };
            self.age.remove(&label);
            self.left.remove(&label);
        }
        let left = authority.not_after().duration_since(SystemClock.now()).unwrap_or_default();
        self.authority.set(number(left.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use mesh_identity::authority::Rules;
    use mesh_identity::trust::Source;

    use super::*;

    fn authority(name: &str) -> Arc<Authority> {
        let domain = parse_trust_domain(name).unwrap();
        Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::new(SystemClock)).unwrap())
    }

    #[tokio::test]
    async fn peers_end_when_the_section_is_gone() {
        let (dir, own, tasks) = (tempfile::tempdir().unwrap(), authority("a.test"), Tasks::default());
        let cache = TrustCache::open(&dir.path().join("trust")).unwrap();
        let earlier = TrustStore::builder(Arc::new(SystemClock)).cache(cache).build();
        earlier.confirm(authority("b.test").bundle(), Source::Endpoint).unwrap();
        earlier.flush();
        let store = begin(None, dir.path(), None, &own, &tasks).unwrap();
        let known: Vec<_> = store.ages().into_iter().map(|age| age.trust_domain).collect();
        assert_eq!(known, ["a.test"]);
        tasks.stop().await;
    }
}
