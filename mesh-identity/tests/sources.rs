//! Where SVIDs come from: files, the Workload API, and one after the other.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::source::{Error, Fallback, FileSource, Identities, LocalSource, SvidSource};
use mesh_test_support::pki::{Ca, Spec};

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

struct Files {
    dir: tempfile::TempDir,
    ca: Ca,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), ca: Ca::root("td.test") }
    }

    fn write(&self, spec: &Spec, with_key: bool) {
        let leaf = self.ca.leaf(spec);
        let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        std::fs::write(self.dir.path().join("svid.pem"), chain).unwrap();
        if with_key {
            std::fs::write(self.dir.path().join("key.pem"), pem::encode("PRIVATE KEY", leaf.key.secret_der())).unwrap();
        }
        let root = pem::encode("CERTIFICATE", &self.ca.certificate);
        std::fs::write(self.dir.path().join("bundle.pem"), root).unwrap();
    }

    fn source(&self) -> FileSource {
        let at = |name| self.dir.path().join(name);
        FileSource::new(&at("svid.pem"), &at("key.pem"), &at("bundle.pem"), Arc::new(SystemClock))
    }
}

#[tokio::test]
async fn files_of_somebody_else() {
    let files = Files::new();
    let web = id("spiffe://td.test/web");
    assert!(matches!(files.source().fetch(&web).await, Err(Error::File(_))));
    files.write(&Spec::new("spiffe://td.test/web"), true);
    let first = files.source().fetch(&web).await.unwrap();
    assert_eq!(first.bundle.authorities().len(), 1);
    assert!(matches!(files.source().fetch(&id("spiffe://td.test/db")).await, Err(Error::OtherIdentity { .. })));
    // In the middle of a change: the new certificate with the old key.
    files.write(&Spec::new("spiffe://td.test/web"), false);
    assert!(matches!(files.source().fetch(&web).await, Err(Error::Svid { .. })));
    files.write(&Spec::new("spiffe://td.test/web"), true);
    let renewed = files.source().fetch(&web).await.unwrap();
    assert_ne!(renewed.svid.serial(), first.svid.serial());
    // Under roots that do not sign it.
    std::fs::write(files.dir.path().join("bundle.pem"), pem::encode("CERTIFICATE", &Ca::root("td.test").certificate))
        .unwrap();
    assert!(matches!(files.source().fetch(&web).await, Err(Error::Verify(_))));
    let mut expired = Spec::new("spiffe://td.test/web");
    expired.validity = (-100, -10);
    files.write(&expired, true);
    assert!(matches!(files.source().fetch(&web).await, Err(Error::Verify(_))));
}

#[tokio::test]
async fn one_after_the_other() {
    let files = Files::new();
    let web = id("spiffe://td.test/web");
    let authority =
        Authority::ephemeral(parse_trust_domain("td.test").unwrap(), Rules::default(), Arc::new(SystemClock)).unwrap();
    let authority = Arc::new(authority);
    let local = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
    let chain = Fallback::new(Arc::new(files.source())).then(Arc::new(local));
    // No files: the authority.
    let issued = chain.fetch(&web).await.unwrap();
    assert_eq!(issued.bundle.authorities(), authority.bundle().authorities());
    // Files: they come first.
    files.write(&Spec::new("spiffe://td.test/web"), true);
    let issued = chain.fetch(&web).await.unwrap();
    assert_ne!(issued.bundle.authorities(), authority.bundle().authorities());
    // Both fail: the last one tells why.
    let foreign = id("spiffe://other.test/web");
    assert!(matches!(chain.fetch(&foreign).await, Err(Error::Authority(_))));
}

#[tokio::test]
async fn the_workload_api_is_a_source() {
    use mesh_core::live::Publisher;
    use mesh_identity::registry::{Entries, Entry, Selector};
    use mesh_identity::source::{JwtCache, JwtSource};
    use mesh_identity::workload_api::{Client, Endpoint, Listener, Parts, UnixAttestor, WorkloadApi};
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let clock = Arc::new(SystemClock);
    let authority = Authority::ephemeral(
        parse_trust_domain("td.test").unwrap(),
        Rules::default(),
        Arc::<SystemClock>::clone(&clock),
    );
    let authority = Arc::new(authority.unwrap());
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let web = id("spiffe://td.test/web");
    let entry = Entry::new("web", web.clone(), id("spiffe://td.test/n"), [Selector::new("unix", format!("uid:{uid}"))]);
    let (_entries, live) = Publisher::new(Some([entry].into_iter().collect::<Entries>()));
    let (_bundles, bundles) = Publisher::new(BundleSet::default().with(authority.bundle()));
    let local = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
    let server = WorkloadApi::new(Parts {
        entries: live,
        identities: Identities::builder(Arc::new(local), bundles.load().clone()).build(),
        bundles,
        tokens: Arc::new(JwtCache::new(Arc::<Authority>::clone(&authority), Arc::<SystemClock>::clone(&clock))),
        attestor: Arc::new(UnixAttestor { program: false }),
        clock: Arc::<SystemClock>::clone(&clock),
    });
    let listener = Listener::bind(&socket).unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    let source = Arc::new(Client::connect(&Endpoint::Unix(socket)).source(clock));
    let identities = Identities::builder(Arc::clone(&source) as _, BundleSet::default()).build();
    let identity = identities.identity(&web).await.unwrap();
    assert_eq!(identity.svid().unwrap().id(), &web);
    assert!(matches!(source.fetch(&id("spiffe://td.test/db")).await, Err(Error::NotGiven(_))));
    // Tokens are verified by keys that come over another stream.
    let token = loop {
        match source.fetch_token(&web, &["db".to_owned()], None).await {
            Ok(token) => break token,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(token.id(), &web);
}
