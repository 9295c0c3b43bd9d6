//! No secret in a log, a `Debug` output or an error: everything is run with all logs on, and what came out is searched.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mesh_core::live::Publisher;
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_core::report::chain;
use mesh_identity::attest::{Attestor, Evidence, JoinTokenEvidence, JoinTokens, X509Pop, X509PopEvidence};
use mesh_identity::authority::{Authority, Names, Rules, SealingKey};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::registry::{Entries, Entry, Selector};
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Cache, Identities, JwtCache, JwtSource, LocalSource, SvidSource, TokenSource};
use mesh_identity::spire::{Joining, Nodes, SpireParts, SpireServer};
use mesh_identity::svid::X509Svid;
use mesh_identity::trust::TrustStore;
use mesh_identity::verify::{self, Audiences};
use mesh_identity::workload_api::{Client, Endpoint, Listener, Parts, UnixAttestor, WorkloadApi};
use mesh_test_support::pki::{Ca, Spec};
use parking_lot::Mutex;

/// Everything that was written.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Said {
    fn debug(&self, what: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{what:?} {what:#?}");
        self.0.lock().extend_from_slice(text.as_bytes());
    }

    fn error(&self, error: &(dyn std::error::Error + 'static)) {
        self.debug(&error);
        self.0.lock().extend_from_slice(chain(error).as_bytes());
    }
}

/// The ways in which bytes can be written down.
fn spellings(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |open: &str, with: &str| {
        let all: Vec<String> = secret.iter().take(12).map(|byte| format!("{open}{byte}")).collect();
        all.join(with)
    };
    vec![
        hex.to_uppercase(),
        hex,
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        list("", ", "),
        list("", ",\n        "),
        String::from_utf8_lossy(secret).into_owned(),
    ]
}

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

/// The part of a private key in PKCS#8 that is secret alone: algorithm and public half are not.
fn scalar(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8.windows(2).position(|two| two == [0x04, 0x20]).unwrap();
    pkcs8[at + 2..at + 34].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_said() {
    let said = Said::default();
    let writer = said.clone();
    let filter = tracing_subscriber::EnvFilter::new("debug,mesh_identity=trace,mesh_core=trace");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).with_ansi(false).init();
    let mut secrets: Vec<(&str, Vec<u8>)> = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);

    // An authority on disk, its keys sealed.
    let sealing = SealingKey::new([0x5a; 32]);
    secrets.push(("sealing key", vec![0x5a; 32]));
    said.debug(&sealing);
    let domain = parse_trust_domain("td.test").unwrap();
    let open = |key: Option<SealingKey>| {
        Authority::open_sealed(
            &dir.path().join("authority"),
            domain.clone(),
            Rules::default(),
            Arc::<SystemClock>::clone(&clock),
            key,
        )
    };
    let authority = Arc::new(open(Some(sealing)).unwrap());
    said.debug(&authority);
    said.error(&open(None).unwrap_err());
    said.error(&open(Some(SealingKey::new([1; 32]))).unwrap_err());

    // SVIDs and tokens of ours.
    let local = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
    let issued = local.fetch(&id("spiffe://td.test/web")).await.unwrap();
    said.debug(&issued);
    secrets.push(("key of an SVID", scalar(issued.svid.key().secret_der())));
    let wrong =
        X509Svid::parse(issued.svid.chain().to_vec(), Ca::root("td.test").leaf(&Spec::new("spiffe://td.test/x")).key);
    said.error(&wrong.unwrap_err());
    let torn = issued.svid.to_pem();
    said.error(&X509Svid::from_pem(&torn.as_bytes()[..torn.len() - 40]).unwrap_err());
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    cache.store_svid(&issued.svid).unwrap();
    let token = authority.fetch_token(&id("spiffe://td.test/web"), &["db".to_owned()], None).await.unwrap();
    said.debug(&token);
    let signature = token.token().rsplit('.').next().unwrap().to_owned();
    secrets.push(("token", signature.into_bytes()));
    let bundles = BundleSet::default().with(authority.bundle());
    let cut = &token.token()[..token.token().len() - 4];
    said.error(
        &verify::jwt(cut, &bundles, &Audiences::new(["db"]).unwrap(), std::time::SystemTime::now()).unwrap_err(),
    );
    let other = verify::jwt(token.token(), &bundles, &Audiences::new(["x"]).unwrap(), std::time::SystemTime::now());
    said.error(&other.unwrap_err());
    let bearer = TokenSource::Fixed("bearer-secret-0123456789".to_owned());
    said.debug(&bearer);
    said.debug(&bearer.authorization());
    secrets.push(("bearer token", b"bearer-secret-0123456789".to_vec()));

    // A server of nodes: tokens that wait, that are guessed, that are used by the wrong.
    let tokens = Arc::new(JoinTokens::open(&dir.path().join("tokens.json")).unwrap());
    let now = std::time::SystemTime::now();
    let waiting = tokens.mint(None, Duration::from_secs(600), None, now).unwrap();
    let used = tokens.mint(None, Duration::from_secs(600), None, now).unwrap();
    secrets.push(("join token", waiting.token.clone().into_bytes()));
    said.debug(&(&tokens, &waiting, JoinTokenEvidence::new(&waiting.token)));
    let machines = Ca::root("machines.test");
    let leaf = machines.leaf(&Spec::new("spiffe://machines.test/m"));
    secrets.push(("key of a machine", scalar(leaf.key.secret_der())));
    let texts: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    let key = pem::encode("PRIVATE KEY", leaf.key.secret_der());
    let machine = X509PopEvidence::from_pem(texts.as_bytes(), key.as_bytes()).unwrap();
    said.debug(&machine);
    said.error(&machine.answer(key.as_bytes()).unwrap_err());
    let (entries, live) = Publisher::new(None);
    let (_bundles, live_bundles) = Publisher::new(bundles.clone());
    let x509pop: Arc<dyn Attestor> =
        Arc::new(X509Pop::new(pem::encode("CERTIFICATE", &machines.certificate).as_bytes()).unwrap());
    let server = SpireServer::new(SpireParts {
        authority: Arc::clone(&authority),
        entries: live.clone(),
        bundles: live_bundles.clone(),
        nodes: Arc::new(Nodes::open(&dir.path().join("nodes")).unwrap()),
        tokens: Arc::clone(&tokens),
        attestors: vec![tokens, x509pop],
        administrators: Vec::new(),
        node_life: None,
        clock: Arc::<SystemClock>::clone(&clock),
    });
    said.debug(&server);
    let identities = Identities::builder(Arc::new(local), bundles.clone()).cache(cache).build();
    let own = identities.identity(&id("spiffe://td.test/spire/server")).await.unwrap();
    said.debug(&(&identities, &own));
    secrets.push(("key of the server", scalar(own.svid().unwrap().key().secret_der())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = own.server_config_with_optional_client_certificates(&[b"h2"]).unwrap();
    let incoming = Incoming::new(listener, config, &own);
    said.debug(&incoming);
    let (agent, bundle, entry, svid) = server.services();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(agent)
            .add_service(bundle)
            .add_service(entry)
            .add_service(svid)
            .serve_with_incoming(incoming),
    );
    let joining = |evidence: Arc<dyn Evidence>| {
        let trust = TrustStore::builder(Arc::<SystemClock>::clone(&clock) as _).build();
        trust.own(authority.bundle());
        Joining {
            server: address.clone(),
            trust,
            evidence,
            trust_domain: domain.clone(),
            directory: None,
            clock: Arc::<SystemClock>::clone(&clock) as _,
        }
    };
    let good = joining(Arc::new(machine));
    said.debug(&good);
    let node = good.join().await.unwrap();
    said.debug(&node);
    secrets.push(("key of a node", scalar(node.identity().svid().unwrap().key().secret_der())));
    let me = node.identity().id().clone();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let web = Entry::new("web", id("spiffe://td.test/web"), me, [Selector::new("unix", format!("uid:{uid}"))]);
    entries.publish(Some([web].into_iter().collect::<Entries>()));
    node.sync().await.unwrap();
    node.renew().await.unwrap();
    secrets.push(("new key of a node", scalar(node.identity().svid().unwrap().key().secret_der())));
    // A token is used up, and then shown again.
    joining(Arc::new(JoinTokenEvidence::new(&used.token))).join().await.unwrap();
    said.error(&joining(Arc::new(JoinTokenEvidence::new(&used.token))).join().await.unwrap_err());

    // The Workload API, and a client of it.
    let source = Arc::new(node.source());
    said.debug(&source);
    let socket = dir.path().join("api.sock");
    let api = WorkloadApi::new(Parts {
        entries: node.entries(),
        identities: Identities::builder(Arc::clone(&source) as _, bundles).build(),
        bundles: node.bundles(),
        tokens: Arc::new(JwtCache::new(source, Arc::<SystemClock>::clone(&clock))),
        attestor: Arc::new(UnixAttestor { program: false }),
        clock: Arc::<SystemClock>::clone(&clock),
    });
    said.debug(&api);
    let listening = Listener::bind(&socket).unwrap();
    tokio::spawn(async move { api.serve(listening).await });
    let client = Client::connect(&Endpoint::Unix(socket)).source(clock);
    let identity = client.identity().await.unwrap();
    let svid = identity.svid().unwrap();
    secrets.push(("key of a workload", scalar(svid.key().secret_der())));
    said.debug(&(&client, &identity, &svid, client.context()));
    let token = loop {
        match client.jwt(&["db".to_owned()], None).await {
            Ok(token) => break token,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    secrets.push(("token of a workload", token.token().rsplit('.').next().unwrap().as_bytes().to_vec()));
    said.error(&client.jwt(&[], None).await.unwrap_err());

    let text = String::from_utf8_lossy(&said.0.lock()).into_owned();
    assert!(text.len() > 10_000, "hardly anything was said: {}", text.len());
    assert!(text.contains("certificate issued"));
    for (what, secret) in &secrets {
        for spelling in spellings(secret) {
            if let Some(at) = text.find(&spelling) {
                let from = text.floor_char_boundary(at.saturating_sub(200));
                panic!("{what} was said: …{}…", &text[from..text.ceil_char_boundary(at + 20)]);
            }
        }
    }
    assert!(!text.contains("PRIVATE KEY"));
}
