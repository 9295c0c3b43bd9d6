//! Federation: relationships, endpoints and fetchers over real sockets, both profiles, and servers that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet, RevocationPolicy};
use mesh_identity::clock::{Clock, ManualClock, SystemClock};
use mesh_identity::federation::{
    BundleEndpoint, Federation, FetchError, Fetched, Fetcher, Profile, Relationship, RelationshipError, check_all,
    interval,
};
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use mesh_identity::trust::{Source, TrustCache, TrustStore};
use mesh_identity::{pem, verify};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

fn td(name: &str) -> TrustDomain {
    parse_trust_domain(name).unwrap()
}

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

fn authority(name: &str) -> Arc<Authority> {
    Arc::new(Authority::ephemeral(td(name), Rules::default(), Arc::new(SystemClock)).unwrap())
}

/// TLS with an SVID.
async fn spiffe_tls(authority: &Arc<Authority>, id: &SpiffeId) -> Arc<rustls::ServerConfig> {
    let source = LocalSource::new(Arc::clone(authority), Duration::from_secs(3600), Names::default());
    let identities = Identities::builder(Arc::new(source), BundleSet::default().with(authority.bundle())).build();
    let identity = identities.identity(id).await.unwrap();
    identity.server_config_without_client_certificates(&[b"h2", b"http/1.1"]).unwrap()
}

/// TLS with a certificate for a host, and its root in PEM.
fn web_tls(host: &str, expired: bool) -> (Arc<rustls::ServerConfig>, Vec<u8>) {
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    if expired {
        params.not_after = mesh_test_support::pki::at(-60).into();
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private.into())
        .unwrap();
    (Arc::new(config), pem::encode("CERTIFICATE", &certificate).into_bytes())
}

async fn endpoint(bundle: Live<Bundle>, tls: Arc<rustls::ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(BundleEndpoint::new(bundle).serve(listener, tls, Tasks::default()));
    address
}

/// A server that answers every request with the next of these bytes, and then closes.
async fn scripted(tls: Arc<rustls::ServerConfig>, answers: Vec<Vec<u8>>) -> SocketAddr {
    overheard(tls, answers).await.0
}

/// As [`scripted`], and tells each request when whoever asked has taken the answer and hung up.
async fn overheard(tls: Arc<rustls::ServerConfig>, answers: Vec<Vec<u8>>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, heard) = mpsc::channel(answers.len().max(1));
    tokio::spawn(async move {
        for answer in answers {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await else { continue };
            let mut request = vec![0; 4096];
            let length = tls.read(&mut request).await.unwrap_or_default();
            let _ = tls.write_all(&answer).await;
            let _ = tls.shutdown().await;
            while tls.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
            let _ = requests.send(String::from_utf8_lossy(&request[..length]).into_owned()).await;
        }
    });
    (address, heard)
}

/// The next poll begins now. Sockets are real, so time stands still only for this moment.
async fn next_poll() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2 * 60 * 60)).await;
    tokio::time::resume();
}

fn spiffe(domain: &str, endpoint_id: &str, address: SocketAddr, bootstrap: Option<&Bundle>) -> Relationship {
    let profile = Profile::Spiffe { endpoint_id: id(endpoint_id), bootstrap: bootstrap.cloned() };
    Relationship::new(td(domain), &format!("https://{address}/"), profile).unwrap()
}

fn fetcher(relationship: Relationship, bundles: &BundleSet) -> Fetcher {
    Fetcher::new(relationship, Live::constant(bundles.clone()), Arc::new(SystemClock)).unwrap()
}

#[test]
fn relationships_that_cannot_be() {
    let web = |url: &str| Relationship::new(td("b.test"), url, Profile::Web { roots: None }).map(|_| ());
    for url in ["http://b.test/", "https://u:p@b.test/", "https://u@b.test", "https:///x", "b.test", "", "ftp://b.test"]
    {
        assert!(matches!(web(url), Err(RelationshipError::Url { .. })), "{url}");
    }
    assert!(web("https://b.test").is_ok() && web("https://b.test:8443/path?x=1").is_ok());
    let with = |endpoint: &str, bootstrap: Option<&Authority>| {
        let bootstrap = bootstrap.map(|authority| Bundle::clone(&authority.bundle()));
        Relationship::new(td("b.test"), "https://b.test", Profile::Spiffe { endpoint_id: id(endpoint), bootstrap })
    };
    let (b, c) = (authority("b.test"), authority("c.test"));
    assert!(matches!(with("spiffe://b.test/e", None), Err(RelationshipError::NoBootstrap(_))));
    assert!(matches!(with("spiffe://b.test/e", Some(&c)), Err(RelationshipError::ForeignBootstrap(_))));
    assert!(matches!(with("spiffe://b.test", Some(&b)), Err(RelationshipError::EndpointId(_))));
    let good = with("spiffe://b.test/e", Some(&b)).unwrap();

    // Endpoints that verify each other in a circle, and one whose verifier is unknown.
    let by = |domain: &str, endpoint: &str| {
        let profile = Profile::Spiffe { endpoint_id: id(endpoint), bootstrap: None };
        Relationship::new(td(domain), "https://x.test", profile).unwrap()
    };
    let own = td("a.test");
    assert_eq!(check_all(&own, std::slice::from_ref(&good)), Ok(()));
    assert!(matches!(check_all(&own, &[good.clone(), good.clone()]), Err(RelationshipError::Twice(_))));
    assert!(matches!(check_all(&td("b.test"), std::slice::from_ref(&good)), Err(RelationshipError::Twice(_))));
    assert_eq!(check_all(&own, &[good, by("c.test", "spiffe://b.test/e")]), Ok(()));
    let circle = [by("b.test", "spiffe://c.test/e"), by("c.test", "spiffe://b.test/e")];
    assert!(matches!(check_all(&own, &circle), Err(RelationshipError::Circle(_))));
    assert!(matches!(check_all(&own, &circle[..1]), Err(RelationshipError::Unverified { .. })));
    assert_eq!(check_all(&own, &[by("b.test", "spiffe://a.test/e")]), Ok(()));
}

#[test]
fn how_often() {
    let seconds = |hint: Option<u64>, jitter| interval(hint.map(Duration::from_secs), jitter).as_secs();
    assert_eq!([seconds(None, 0.5), seconds(Some(0), 0.5), seconds(Some(u64::MAX), 0.5)], [300, 60, 3600]);
    assert_eq!([seconds(Some(600), 0.0), seconds(Some(600), 1.0), seconds(Some(600), 7.0)], [540, 660, 660]);
}

#[tokio::test]
async fn both_profiles() {
    let remote = authority("b.test");
    let endpoint_id = id("spiffe://b.test/endpoint");
    let address = endpoint(remote.live_bundle(), spiffe_tls(&remote, &endpoint_id).await).await;
    let known = BundleSet::default().with(remote.bundle());
    let mut by_spiffe = fetcher(spiffe("b.test", "spiffe://b.test/endpoint", address, Some(&remote.bundle())), &known);
    let Fetched::Bundle(bundle, skipped) = by_spiffe.fetch().await.unwrap() else { panic!("a bundle") };
    assert_eq!((bundle, skipped.len()), (remote.bundle(), 0));
    let again = by_spiffe.fetch().await.unwrap();
    assert!(matches!(&again, Fetched::Unchanged(bundle) if *bundle == remote.bundle()), "by its tag: {again:?}");
    remote.prepare().unwrap();
    assert!(matches!(by_spiffe.fetch().await.unwrap(), Fetched::Bundle(..)));

    let (tls, root) = web_tls("localhost", false);
    let address = endpoint(remote.live_bundle(), tls).await;
    let url = format!("https://localhost:{}/", address.port());
    let web = |roots: &[u8], url: &str| {
        Relationship::new(td("b.test"), url, Profile::Web { roots: Some(roots.to_vec()) }).unwrap()
    };
    let Fetched::Bundle(bundle, _) = fetcher(web(&root, &url), &BundleSet::default()).fetch().await.unwrap() else {
        panic!("a bundle")
    };
    assert_eq!(bundle, remote.bundle());

    // F03: another host, another root, a certificate of yesterday, an SVID.
    let other_host = format!("https://127.0.0.1:{}/", address.port());
    let (_, other_root) = web_tls("localhost", false);
    let (old, old_root) = web_tls("localhost", true);
    let old = format!("https://localhost:{}/", endpoint(remote.live_bundle(), old).await.port());
    let svid = endpoint(remote.live_bundle(), spiffe_tls(&remote, &endpoint_id).await).await;
    let svid = format!("https://localhost:{}/", svid.port());
    for (roots, url) in
        [(&root, &other_host), (&other_root, &url), (&old_root, &old), (&remote.bundle().to_pem().into_bytes(), &svid)]
    {
        let refused = fetcher(web(roots, url), &BundleSet::default()).fetch().await;
        assert!(matches!(refused, Err(FetchError::Tls(_))), "{url}: {refused:?}");
    }
    // F04: another identity of the right domain, the right one under another authority, a certificate of the Web.
    let (impostor, web_tls) = (authority("b.test"), web_tls("localhost", false).0);
    let known = BundleSet::default().with(remote.bundle());
    for tls in
        [spiffe_tls(&remote, &id("spiffe://b.test/other")).await, spiffe_tls(&impostor, &endpoint_id).await, web_tls]
    {
        let address = endpoint(remote.live_bundle(), tls).await;
        let mut one = fetcher(spiffe("b.test", "spiffe://b.test/endpoint", address, Some(&remote.bundle())), &known);
        let refused = one.fetch().await;
        assert!(
            matches!(
                refused,
                Err(FetchError::Rejected(
                    verify::Error::Unexpected { .. } | verify::Error::UnknownIssuer(_) | verify::Error::Svid(_)
                ))
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn servers_that_misbehave() {
    let (tls, root) = web_tls("localhost", false);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: ";
    let whole = |body: &str| format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes();
    let redirect = |to: &str| {
        format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let gzip = format!("{head}20\r\nContent-Encoding: gzip\r\n\r\n").into_bytes();
    let mut gzip = gzip;
    gzip.extend([0x1f; 20]);
    let large = format!("{head}{}\r\n\r\n{}", 5 << 20, " ".repeat(5 << 20)).into_bytes();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("HTML", whole("<html></html>")),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        ("304 without a tag", b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        ("404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("500", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("cut short", format!("{head}100\r\n\r\n{{\"keys\":[]}}").into_bytes()),
        ("5 MiB", large),
        ("compressed", gzip),
        ("no keys", whole("{}")),
        ("not HTTP", b"SSH-2.0-x\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("redirect", redirect("https://localhost/")),
    ];
    let count = rows.len();
    let (names, answers): (Vec<&str>, Vec<Vec<u8>>) = rows.into_iter().unzip();
    let address = scripted(tls, answers).await;
    let url = format!("https://localhost:{}/", address.port());
    let relationship = Relationship::new(td("b.test"), &url, Profile::Web { roots: Some(root.clone()) }).unwrap();
    let mut one = fetcher(relationship, &BundleSet::default());
    for name in &names {
        let refused = one.fetch().await;
        assert!(refused.is_err(), "{name}: {refused:?}");
    }
    assert_eq!(count, 12);

    // F08 and F09: redirects that are allowed are followed three times, under the same profile, and never remembered.
    let (tls, root) = web_tls("localhost", false);
    let good = format!("{head}11\r\n\r\n{{\"keys\":[]}}").into_bytes();
    for (to, wanted) in [("http://localhost/", false), ("https://u@localhost/", false)] {
        let address = scripted(Arc::clone(&tls), vec![redirect(to)]).await;
        let url = format!("https://localhost:{}/", address.port());
        let mut relationship =
            Relationship::new(td("b.test"), &url, Profile::Web { roots: Some(root.clone()) }).unwrap();
        relationship.follow_redirects = true;
        assert_eq!(fetcher(relationship, &BundleSet::default()).fetch().await.is_ok(), wanted, "{to}");
    }
    for (hops, wanted) in [(3, true), (4, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        drop(listener);
        let address: SocketAddr =
            format!("127.0.0.1:{}", url.rsplit(':').next().unwrap().trim_end_matches('/')).parse().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let mut answers = vec![redirect(&url); hops];
        answers.push(good.clone());
        let tls = Arc::clone(&tls);
        tokio::spawn(async move {
            for answer in answers {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut tls = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await.unwrap();
                let _ = tls.read(&mut [0; 4096]).await;
                let _ = tls.write_all(&answer).await;
                let _ = tls.shutdown().await;
            }
        });
        let mut relationship =
            Relationship::new(td("b.test"), &url, Profile::Web { roots: Some(root.clone()) }).unwrap();
        relationship.follow_redirects = true;
        let fetched = fetcher(relationship, &BundleSet::default()).fetch().await;
        assert_eq!(fetched.is_ok(), wanted, "{hops} redirects: {fetched:?}");
    }
}

#[test]
fn what_an_endpoint_answers() {
    let one = authority("b.test");
    let endpoint = BundleEndpoint::new(one.live_bundle()).at("/bundle");
    let ask = |method: &str, path: &str, tag: Option<&str>| {
        let mut request = http::Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        endpoint.answer(&request.body(()).unwrap())
    };
    let good = ask("GET", "/bundle", None);
    assert_eq!((good.status().as_u16(), good.headers()["content-type"].to_str().unwrap()), (200, "application/json"));
    let tag = good.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask("GET", "/bundle?x=1", Some(&tag)).status(), 304);
    assert_eq!(ask("GET", "/bundle", Some("\"other\"")).status(), 200);
    assert_eq!([ask("POST", "/bundle", None).status(), ask("HEAD", "/bundle", None).status()], [405, 405]);
    assert_eq!([ask("GET", "/", None).status(), ask("GET", "/bundle/x", None).status()], [404, 404]);
    one.prepare().unwrap();
    assert_eq!(ask("GET", "/bundle", Some(&tag)).status(), 200);
}

#[tokio::test]
async fn an_endpoint_of_a_third_domain_makes_nobody_of_it_trusted() {
    let (remote, host) = (authority("b.test"), authority("host.test"));
    let address = endpoint(remote.live_bundle(), spiffe_tls(&host, &id("spiffe://host.test/e")).await).await;
    let mut hosted = spiffe("b.test", "spiffe://host.test/e", address, Some(&host.bundle()));
    hosted.revocation = RevocationPolicy::Required;
    let (tls, root) = web_tls("localhost", false);
    let url = format!("https://localhost:{}/", endpoint(authority("c.test").live_bundle(), tls).await.port());
    let mut web = Relationship::new(td("c.test"), &url, Profile::Web { roots: Some(root) }).unwrap();
    web.revocation = RevocationPolicy::Required;
    let store = TrustStore::builder(Arc::new(SystemClock)).build();
    let federation = Federation::new(store.clone(), Arc::new(SystemClock));
    let mut changes = store.bundles().changes();
    federation.set(vec![hosted, web]).unwrap();
    let fetched = async {
        while store.bundles().load().len() < 2 {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), fetched).await.expect("both bundles");
    let set = store.bundles().snapshot();
    assert!(set.get(&td("host.test")).is_none());
    for name in ["b.test", "c.test"] {
        assert_eq!(set.trusted(&td(name)).unwrap().revocation, RevocationPolicy::Required, "{name}");
    }
    federation.shutdown().await;
}

#[tokio::test]
async fn a_relationship_that_was_removed_during_a_restart_ends() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = || TrustStore::builder(Arc::clone(&clock)).cache(TrustCache::open(dir.path()).unwrap()).build();
    let before = store();
    for (name, source) in [("b.test", Source::Endpoint), ("c.test", Source::Endpoint), ("d.test", Source::Bucket)] {
        before.confirm(authority(name).bundle(), source).unwrap();
    }
    before.bootstrap(authority("e.test").bundle());
    before.own(authority("a.test").bundle());
    before.flush();

    let after = store();
    let named = authority("f.test");
    after.bootstrap(named.bundle());
    let federation = Federation::new(after.clone(), Arc::clone(&clock));
    let kept = Relationship::new(td("c.test"), "https://c.invalid/", Profile::Web { roots: None }).unwrap();
    federation.set(vec![kept]).unwrap();
    let known = |store: &TrustStore| store.ages().into_iter().map(|age| age.trust_domain).collect::<Vec<_>>();
    assert_eq!(known(&after), ["a.test", "c.test", "d.test", "f.test"]);
    assert!(after.confirm(authority("b.test").bundle(), Source::Bucket).is_err());
    federation.shutdown().await;
    after.flush();
    // The configuration names no federation at all.
    let last = store();
    last.bootstrap(named.bundle());
    Federation::new(last.clone(), clock).set(Vec::new()).unwrap();
    assert_eq!(known(&last), ["a.test", "d.test", "f.test"]);
}

#[tokio::test]
async fn what_was_refused_is_not_confirmed_by_its_tag() {
    let clock = Arc::new(ManualClock::new(mesh_test_support::pki::at(0)));
    let store = TrustStore::builder(Arc::<ManualClock>::clone(&clock)).build();
    let (newer, older) = (authority("b.test"), authority("b.test"));
    let numbered = |authority: &Authority, number| Bundle::clone(&authority.bundle()).with_sequence(Some(number));
    store.confirm(numbered(&newer, 5), Source::File).unwrap();
    let older = numbered(&older, 1);
    let document = older.to_document();
    let first = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n{document}", document.len());
    let mut answers = vec![first.into_bytes()];
    answers.extend((0..4).map(|_| b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec()));
    let (tls, root) = web_tls("localhost", false);
    let (address, mut requests) = overheard(tls, answers).await;
    let url = format!("https://localhost:{}/", address.port());
    let relationship = Relationship::new(td("b.test"), &url, Profile::Web { roots: Some(root) }).unwrap();
    let federation = Federation::new(store.clone(), Arc::<ManualClock>::clone(&clock));
    federation.set(vec![relationship]).unwrap();
    clock.advance(Duration::from_secs(24 * 60 * 60));
    assert!(!requests.recv().await.unwrap().contains("if-none-match"));
    for _ in 0..2 {
        next_poll().await;
        assert!(requests.recv().await.unwrap().contains("if-none-match: \"1\""));
    }
    let age = store.age(&td("b.test")).unwrap();
    assert_eq!((age.sequence, age.source, age.age_seconds), (Some(5), Source::File, 24 * 60 * 60));

    // An operator who knows that the publisher was restored lets it in, though it has not changed since.
    let mut changes = store.bundles().changes();
    store.reset(&td("b.test"));
    next_poll().await;
    let taken = async {
        while store.bundles().load().get(&td("b.test")).unwrap().as_ref() != &older {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.expect("the older bundle is taken");
    federation.shutdown().await;
}

#[tokio::test]
async fn a_federation_follows_rotation_and_ends_at_once() {
    let remote = authority("b.test");
    let endpoint_id = id("spiffe://b.test/endpoint");
    let (bundle, live) = Publisher::new(Bundle::clone(&remote.bundle()));
    let address = endpoint(live, spiffe_tls(&remote, &endpoint_id).await).await;
    let store = TrustStore::builder(Arc::new(SystemClock)).build();
    let federation = Federation::new(store.clone(), Arc::new(SystemClock));
    let relationship = spiffe("b.test", "spiffe://b.test/endpoint", address, Some(&remote.bundle()));
    federation.set(vec![relationship]).unwrap();
    assert!(store.bundles().load().get(&td("b.test")).is_some(), "bootstrapped at once");
    let mut changes = store.bundles().changes();
    while store.age(&td("b.test")).unwrap().source != Source::Endpoint {
        changes.changed().await.unwrap();
    }
    // F05: its authority changed; what it announced is taken, and then its new certificate. F12: it ends, all at once.
    remote.prepare().unwrap();
    bundle.publish(Bundle::clone(&remote.bundle()));
    next_poll().await;
    while store.bundles().load().get(&td("b.test")).unwrap().authorities().len() < 2 {
        changes.changed().await.unwrap();
    }
    remote.activate().unwrap();
    let moved = endpoint(remote.live_bundle(), spiffe_tls(&remote, &endpoint_id).await).await;
    let mut under_new = Fetcher::new(
        spiffe("b.test", "spiffe://b.test/endpoint", moved, Some(&remote.bundle())),
        store.bundles(),
        Arc::new(SystemClock),
    )
    .unwrap();
    under_new.fetch().await.unwrap();
    federation.set(Vec::new()).unwrap();
    assert!(store.bundles().load().get(&td("b.test")).is_none());
    federation.shutdown().await;
}
