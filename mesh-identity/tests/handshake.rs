//! Real TLS handshakes between our own configurations.
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
use mesh_identity::clock::{Clock, ManualClock, SystemClock};
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Expected, Purpose};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn authority(domain: &str, clock: &Arc<dyn Clock>) -> Arc<Authority> {
    let domain = parse_trust_domain(domain).unwrap();
    Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::clone(clock)).unwrap())
}

fn identities(authority: &Arc<Authority>, bundles: BundleSet, clock: &Arc<dyn Clock>) -> Identities {
    let source = LocalSource::new(Arc::clone(authority), Duration::from_secs(3600), Names::default());
    Identities::builder(Arc::new(source), bundles).clock(Arc::clone(clock)).build()
}

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

async fn shake(client: &Identity, server: &Identity, expected: Expected) -> Result<SpiffeId, String> {
    let acceptor = TlsAcceptor::from(server.server_config(&[b"h2"]).unwrap());
    let connector = TlsConnector::from(client.client_config(expected, &[b"h2"]).unwrap());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("ignored.invalid").unwrap();
    let bundles = server.bundles().clone();
    let now = server.now();
    let serve = async move {
        let mut stream = acceptor.accept(far).await.map_err(|error| format!("server: {error}"))?;
        let peer = verify::peer(stream.get_ref().1.peer_certificates(), &bundles.load(), Purpose::Client, now);
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream.write_all(b"ok").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(peer.unwrap().id().clone())
    };
    let call = async move {
        let told =
            |error: std::io::Error| verify::rejection(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let mut stream = connector.connect(name, near).await.map_err(told)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(|error| format!("client: {error}"))?;
        assert_eq!(text, "ok");
        Ok::<_, String>(())
    };
    let (served, called) = tokio::join!(serve, call);
    called.and(served)
}

#[tokio::test]
async fn right_peers_wrong_identity_wrong_and_unknown_trust_domain() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (one, two) = (authority("one.test", &clock), authority("two.test", &clock));
    let both: BundleSet = [one.bundle(), two.bundle()].into_iter().collect();
    let only_one = BundleSet::default().with(one.bundle().clone());

    let ours = identities(&one, only_one.clone(), &clock);
    let (web, db) = (id("spiffe://one.test/ns/a/sa/web"), id("spiffe://one.test/ns/a/sa/db"));
    let (web, db) = (ours.identity(&web).await.unwrap(), ours.identity(&db).await.unwrap());
    assert_eq!(shake(&web, &db, Expected::Ids(vec![db.id().clone()])).await.as_ref(), Ok(web.id()));

    let error = shake(&web, &db, Expected::Ids(vec![web.id().clone()])).await.unwrap_err();
    assert!(
        error.contains("the peer is `spiffe://one.test/ns/a/sa/db`, expected `spiffe://one.test/ns/a/sa/web`"),
        "{error}"
    );
    let error = shake(&web, &db, Expected::Ids(vec![])).await.unwrap_err();
    assert!(error.contains("expected nobody"), "{error}");

    // Federated: each side verifies the other against the bundle of the other's own trust domain.
    let theirs = identities(&two, both.clone(), &clock);
    let ours_federated = identities(&one, both, &clock);
    let far = theirs.identity(&id("spiffe://two.test/ns/b/sa/api")).await.unwrap();
    let near = ours_federated.identity(web.id()).await.unwrap();
    assert_eq!(shake(&near, &far, Expected::Ids(vec![far.id().clone()])).await.as_ref(), Ok(web.id()));
    assert!(shake(&near, &far, Expected::TrustDomain(parse_trust_domain("one.test").unwrap())).await.is_err());

    // A server that does not know the client's trust domain refuses it, and the other way round.
    let error = shake(&far, &db, Expected::Anyone).await.unwrap_err();
    assert!(!error.is_empty());
    let error = shake(&web, &far, Expected::Anyone).await.unwrap_err();
    assert!(error.contains("trust domain `two.test` is not trusted here"), "{error}");
}

#[tokio::test]
async fn one_domains_authority_cannot_speak_for_another() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (honest, rogue) = (authority("one.test", &clock), authority("one.test", &clock));
    let two = authority("two.test", &clock);
    // The rogue's root is trusted, but as two.test's: what it signs in the name of one.test counts for nothing.
    let rogue_root = rogue.bundle().authorities()[0].certificate().clone();
    let bundle = mesh_identity::bundle::Bundle::new(parse_trust_domain("two.test").unwrap(), vec![rogue_root]).unwrap();
    let trusted: BundleSet = [honest.bundle(), bundle.union(&two.bundle()).into()].into_iter().collect();

    let forged = identities(&rogue, trusted.clone(), &clock);
    let forged = forged.identity(&id("spiffe://one.test/ns/a/sa/web")).await.unwrap();
    let error = verify::peer(Some(forged.svid().unwrap().chain()), &trusted, Purpose::Server, clock.now()).unwrap_err();
    assert_eq!(error, verify::Error::UnknownIssuer("spiffe://one.test/ns/a/sa/web".into()));
}

#[tokio::test]
async fn an_expired_svid_is_neither_presented_nor_accepted() {
    let manual = Arc::new(ManualClock::new(SystemClock.now()));
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
    let one = authority("one.test", &clock);
    let all = identities(&one, BundleSet::default().with(one.bundle().clone()), &clock);
    let web = all.identity(&id("spiffe://one.test/ns/a/sa/web")).await.unwrap();
    let chain = web.svid().unwrap().chain().to_vec();
    all.shutdown().await;
    manual.advance(Duration::from_secs(3601));
    assert!(web.svid().is_none());
    let error = verify::peer(Some(&chain), &web.bundles().load(), Purpose::Client, clock.now()).unwrap_err();
    assert_eq!(error, verify::Error::Expired("spiffe://one.test/ns/a/sa/web".into()));
    assert!(shake(&web, &web, Expected::Anyone).await.is_err());
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let one = authority("one.test", &clock);
    let all = identities(&one, BundleSet::default().with(one.bundle().clone()), &clock);
    let server = all.identity(&id("spiffe://one.test/ns/a/sa/db")).await.unwrap();
    let client =
        mesh_identity::tls::server_authenticated_client(all.bundles(), Expected::Anyone, clock, &[b"h2"]).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(server.server_config(&[b"h2"]).unwrap());
    let name = ServerName::try_from("ignored.invalid").unwrap();
    let connector = TlsConnector::from(client);
    let (accepted, _) = tokio::join!(acceptor.accept(far), async {
        let mut stream = connector.connect(name, near).await?;
        stream.read_u8().await
    });
    assert!(accepted.unwrap_err().to_string().contains("peer sent no certificates"));
}
