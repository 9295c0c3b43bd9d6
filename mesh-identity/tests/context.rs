//! TLS as configurations say it: whom it believes, what it shows, and what it refuses.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_core::string_match::Pattern;
use mesh_core::tls::{
    Certificate, CertificateSource, CipherSuite, ClientCertificate, DataSource, DownstreamTls, Group, ProviderInstance,
    SanKind, SanMatcher, Secret, SecretKind, Sensitive, TrustedCa, UpstreamTls, Validation, ValidationError,
    ValidationSource, Version,
};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::{
    ContextError, Credentials, HandshakeError, Identity, Offer, Origination, Secrets, Termination, TlsPeer,
};
use mesh_test_support::pki::{Ca, Leaf, Spec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn inline(text: impl AsRef<[u8]>) -> DataSource {
    DataSource::Inline(text.as_ref().into())
}

fn certificate(leaf: &Leaf) -> Certificate {
    Certificate {
        chain: inline(pem::encode_certificates(&leaf.chain)),
        key: Sensitive(inline(pem::encode("PRIVATE KEY", leaf.key.secret_der()))),
        ocsp_staple: None,
    }
}

fn shown(leaf: &Leaf) -> CertificateSource {
    CertificateSource::Inline(certificate(leaf))
}

fn dns(ca: &Ca, names: &[&str]) -> Leaf {
    ca.leaf(&Spec { uris: vec![], dns: names.iter().map(|name| (*name).to_owned()).collect(), ..Spec::new("") })
}

fn believing(ca: &Ca) -> Validation {
    let roots = inline(pem::encode_certificates(std::slice::from_ref(&ca.certificate)));
    Validation { trusted_ca: Some(TrustedCa::Bundle(roots)), ..Validation::default() }
}

fn name(kind: SanKind, text: &str) -> SanMatcher {
    SanMatcher { kind, pattern: Pattern::exact(text) }
}

fn upstream(validation: Validation) -> UpstreamTls {
    UpstreamTls::new(ValidationSource::Inline(validation))
}

/// What both sides say of a connection over which a byte went each way.
type Outcome = Result<(TlsPeer, Option<Vec<u8>>), HandshakeError>;

async fn connect_by(up: &Origination, down: &Termination, host: &str, offer: &Offer<'_>) -> (Outcome, bool) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let client = async {
        let mut stream = up.connect(near, host, offer).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let exchanged = async {
            stream.write_all(b"?").await?;
            stream.read_u8().await
        };
        // In TLS 1.3 a client hears later that it was refused.
        Ok((alpn, exchanged.await.is_ok()))
    };
    let server = async {
        let (mut stream, peer) = down.accept(far).await?;
        stream.write_all(b"!").await.unwrap();
        let _ = stream.read_u8().await;
        Ok::<_, HandshakeError>(peer)
    };
    let both = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(client, server) }).await.unwrap();
    match both {
        (Ok((alpn, exchanged)), Ok(peer)) => (Ok((peer, alpn)), exchanged),
        (Err(error), _) => (Err(error), false),
        (Ok(_), Err(error)) => (Err(error), false),
    }
}

async fn connect(up: UpstreamTls, down: DownstreamTls) -> Outcome {
    let none = Credentials::default();
    let (up, down) = (Origination::new(up, none.clone()), Termination::new(down, none));
    connect_by(&up, &down, "", &Offer::default()).await.0
}

/// What refused it, in words.
fn refused(outcome: Outcome) -> String {
    mesh_core::report::chain(&outcome.map(drop).unwrap_err())
}

async fn identity(domain: &str) -> Identity {
    let authority =
        Authority::ephemeral(parse_trust_domain(domain).unwrap(), Rules::default(), Arc::new(SystemClock)).unwrap();
    let bundles = BundleSet::default().with(authority.bundle());
    let source = LocalSource::new(Arc::new(authority), Duration::from_secs(3600), Names::default());
    let id = parse_spiffe_id(&format!("spiffe://{domain}/ns/shop/sa/web")).unwrap();
    Identities::builder(Arc::new(source), bundles).build().identity(&id).await.unwrap()
}

#[tokio::test]
async fn a_server_must_be_of_a_trusted_authority_and_hold_a_name() {
    let (ca, other) = (Ca::root("td.test"), Ca::root("td.test"));
    let server = || DownstreamTls::new(vec![shown(&dns(&ca, &["a.test", "*.b.test"]))]);
    let named = |names: Vec<SanMatcher>| upstream(Validation { names, ..believing(&ca) });

    connect(upstream(believing(&ca)), server()).await.unwrap();
    connect(named(vec![name(SanKind::Dns, "z.test"), name(SanKind::Dns, "A.test")]), server()).await.unwrap();
    connect(named(vec![name(SanKind::Dns, "x.b.test")]), server()).await.unwrap();
    let wrong = refused(connect(named(vec![name(SanKind::Uri, "a.test")]), server()).await);
    assert!(wrong.contains("that of `a.test, *.b.test`, who is not expected"), "{wrong}");
    let wrong = refused(connect(upstream(believing(&other)), server()).await);
    assert!(wrong.contains("does not lead to a trusted authority"), "{wrong}");

    let late = ca.leaf(&Spec { uris: vec![], dns: vec!["a.test".into()], validity: (-60, -10), ..Spec::new("") });
    connect(upstream(believing(&ca)), DownstreamTls::new(vec![shown(&late)])).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_may_be_pinned_revoked_or_too_deep() {
    let ca = Ca::root("td.test");
    let below = ca.intermediate("below", "spiffe://td.test", true);
    let leaf = dns(&below, &["a.test"]);
    let server = || DownstreamTls::new(vec![shown(&leaf)]);
    let hash = |bytes: &[u8]| <[u8; 32]>::try_from(digest(&SHA256, bytes).as_ref()).unwrap();
    let pinned = |pin| upstream(Validation { certificate_pins: vec![pin], ..believing(&ca) });
    connect(pinned(hash(&leaf.chain[0])), server()).await.unwrap();
    let wrong = refused(connect(pinned([7; 32]), server()).await);
    assert!(wrong.contains("none of those that are pinned"), "{wrong}");

    let deep = |most| upstream(Validation { max_depth: Some(most), ..believing(&ca) });
    connect(deep(2), server()).await.unwrap();
    connect(deep(1), server()).await.unwrap_err();

    let lists = |revoked: &[&Leaf]| {
        let ders: Vec<_> = revoked.iter().map(|leaf| &leaf.chain[0]).collect();
        let text = pem::encode("X509 CRL", &below.revoke(&ders)) + &pem::encode("X509 CRL", &ca.revoke(&[]));
        upstream(Validation { crl: Some(inline(text)), ..believing(&ca) })
    };
    connect(lists(&[]), server()).await.unwrap();
    let error = connect(lists(&[&leaf]), server()).await.unwrap_err();
    let HandshakeError::Handshake(error) = error else { panic!("{error}") };
    assert!(mesh_identity::verify::is_revoked(&error), "{error}");
    // Lists that say nothing of it are no proof.
    let foreign = pem::encode("X509 CRL", &Ca::root("other.test").revoke(&[]));
    let foreign = upstream(Validation { crl: Some(inline(foreign)), ..believing(&ca) });
    assert!(refused(connect(foreign, server()).await).contains("no fresh revocation list"));
}

#[tokio::test]
async fn the_server_name_that_is_sent_chooses_and_is_held_to() {
    let ca = Ca::root("td.test");
    let (a, b) = (dns(&ca, &["a.test"]), dns(&ca, &["b.test", "*.c.test"]));
    let both = DownstreamTls::new(vec![shown(&a), shown(&b)]);
    let sending = |sni: Option<&str>| UpstreamTls {
        sni: sni.map(|sni| mesh_core::name::Hostname::parse(sni).unwrap()),
        validate_sni: true,
        ..upstream(believing(&ca))
    };
    for sni in ["a.test", "b.test", "x.c.test"] {
        let (peer, _) = connect(sending(Some(sni)), both.clone()).await.unwrap();
        assert_eq!(peer.server_name.as_deref(), Some(sni));
    }
    // Nobody here is that: the first is shown, and is not it.
    let wrong = refused(connect(sending(Some("z.test")), both.clone()).await);
    assert!(wrong.contains("that of `a.test`"), "{wrong}");
    let nameless = connect(sending(None), both.clone()).await.unwrap_err();
    assert!(matches!(nameless, HandshakeError::NoServerName), "{nameless}");

    // Of the endpoint, where it has one.
    let of_endpoint = UpstreamTls { sni_from_endpoint: true, ..sending(Some("a.test")) };
    let up = Origination::new(of_endpoint, Credentials::default());
    let down = Termination::new(both.clone(), Credentials::default());
    for (host, sent) in [("b.test", "b.test"), ("", "a.test")] {
        let (outcome, _) = connect_by(&up, &down, host, &Offer::default()).await;
        assert_eq!(outcome.unwrap().0.server_name.as_deref(), Some(sent));
    }

    let strict = DownstreamTls { require_sni: true, ..both };
    connect(sending(Some("b.test")), strict.clone()).await.unwrap();
    connect(upstream(believing(&ca)), strict).await.unwrap_err();
}

#[tokio::test]
async fn clients_are_verified_if_they_are_asked() {
    let (ca, other) = (Ca::root("td.test"), Ca::root("td.test"));
    let server = |client: fn(ValidationSource) -> ClientCertificate| {
        let names = vec![name(SanKind::Uri, "spiffe://td.test/web"), name(SanKind::Dns, "web.test")];
        let validation = ValidationSource::Inline(Validation { names, ..believing(&ca) });
        DownstreamTls { client: client(validation), ..DownstreamTls::new(vec![shown(&dns(&ca, &["a.test"]))]) }
    };
    let showing = |leaf: &Leaf| UpstreamTls { certificate: Some(shown(leaf)), ..upstream(believing(&ca)) };
    let web = ca.leaf(&Spec { dns: vec!["w.test".into()], ..Spec::new("spiffe://td.test/web") });
    let (db, stranger) = (ca.leaf(&Spec::new("spiffe://td.test/db")), other.leaf(&Spec::new("spiffe://td.test/web")));
    for client in [ClientCertificate::Optional, ClientCertificate::Required] {
        let (peer, _) = connect(showing(&web), server(client)).await.unwrap();
        assert_eq!((peer.uris, peer.dns_names), (vec!["spiffe://td.test/web".to_owned()], vec!["w.test".to_owned()]));
        assert_eq!(peer.certificates, web.chain);
        for wrong in [&db, &stranger] {
            connect(showing(wrong), server(client)).await.unwrap_err();
        }
    }
    let (peer, _) = connect(upstream(believing(&ca)), server(ClientCertificate::Optional)).await.unwrap();
    assert!(peer.certificates.is_empty() && peer.uris.is_empty());
    connect(upstream(believing(&ca)), server(ClientCertificate::Required)).await.unwrap_err();
    let (peer, _) = connect(showing(&db), server(|_| ClientCertificate::NotAsked)).await.unwrap();
    assert!(peer.certificates.is_empty());
}

#[tokio::test]
async fn the_own_identity_and_the_trust_of_the_mesh_go_by_their_names() {
    let (own, other) = (identity("td.test").await, identity("td.test").await);
    let id = own.id().to_string();
    let of = |identity: &Identity| Credentials::new(Some(identity.clone()), Live::constant(Secrets::new()));
    let combined = |text: &str, roots: &str| ValidationSource::Combined {
        default: Validation { names: vec![name(SanKind::Uri, text)], ..Validation::default() },
        secret: roots.into(),
    };
    let up = |source: ValidationSource, certificate: &str| UpstreamTls {
        certificate: Some(CertificateSource::Secret(certificate.into())),
        ..UpstreamTls::new(source)
    };
    let down = || DownstreamTls {
        client: ClientCertificate::Required(ValidationSource::Secret("ALL".into())),
        ..DownstreamTls::new(vec![CertificateSource::Secret("default".into())])
    };
    let outcome = async |up: UpstreamTls, client: &Identity| {
        let (up, down) = (Origination::new(up, of(client)), Termination::new(down(), of(&own)));
        connect_by(&up, &down, "", &Offer::default()).await.0
    };
    for roots in ["ROOTCA", "ALL", "spiffe://td.test"] {
        let (peer, _) = outcome(up(combined(&id, roots), "default"), &own).await.unwrap();
        assert_eq!((peer.uris, peer.local), (vec![id.clone()], Some(own.id().clone())));
    }
    outcome(up(ValidationSource::Secret("ROOTCA".into()), &id), &own).await.unwrap();
    let wrong = refused(outcome(up(combined("spiffe://td.test/other", "ROOTCA"), "default"), &own).await);
    assert!(wrong.contains("who is not expected"), "{wrong}");
    // Another mesh of the same name, and a trust domain that is not that of the server.
    refused(outcome(up(combined(&id, "ROOTCA"), "default"), &other).await);
    let wrong = refused(outcome(up(combined(&id, "spiffe://else.test"), "default"), &own).await);
    assert!(wrong.contains("a member of `else.test`"), "{wrong}");
    let nobody = up(combined(&id, "ROOTCA"), "spiffe://td.test/somebody");
    assert!(matches!(
        outcome(nobody, &own).await.unwrap_err(),
        HandshakeError::Context(ContextError::SecretMissing(name)) if name == "spiffe://td.test/somebody"
    ));
}

#[tokio::test]
async fn secrets_count_as_they_are_now() {
    let (old, new) = (Ca::root("td.test"), Ca::root("td.test"));
    let leaf = dns(&new, &["a.test"]);
    let validation = |ca: &Ca| {
        let kind = SecretKind::Validation(Box::new(believing(ca)));
        Secrets::from([("roots".into(), Arc::new(Secret { name: "roots".into(), kind }))])
    };
    let (publisher, secrets) = Publisher::new(Secrets::new());
    let credentials = Credentials::new(None, secrets);
    let up = Origination::new(UpstreamTls::new(ValidationSource::Secret("roots".into())), credentials.clone());
    let down = Termination::new(DownstreamTls::new(vec![shown(&leaf)]), credentials.clone());
    let reached = async || connect_by(&up, &down, "", &Offer::default()).await.0;
    assert!(matches!(reached().await.unwrap_err(), HandshakeError::Context(ContextError::SecretMissing(_))));
    publisher.publish(validation(&old));
    reached().await.unwrap_err();
    publisher.publish(validation(&new));
    reached().await.unwrap();

    // A secret of another kind is not what it should be.
    let wrong = Termination::new(DownstreamTls::new(vec![CertificateSource::Secret("roots".into())]), credentials);
    assert!(matches!(wrong.ready().unwrap_err(), ContextError::SecretKind { wanted: "certificate", .. }));
}

#[tokio::test]
async fn what_cannot_be_honoured_says_so() {
    let ca = Ca::root("td.test");
    let leaf = dns(&ca, &["a.test"]);
    let own = Credentials::new(Some(identity("td.test").await), Live::constant(Secrets::new()));
    let up =
        |validation: Validation| Origination::new(upstream(validation), Credentials::default()).ready().unwrap_err();
    let provider = ProviderInstance { instance: "p".into(), certificate: "".into() };
    let by_provider = Validation { trusted_ca: Some(TrustedCa::Provider(provider)), ..Validation::default() };
    assert!(matches!(up(by_provider), ContextError::Provider(name) if name == "p"));
    assert!(matches!(up(Validation::default()), ContextError::Validation(ValidationError::NobodyTrusted)));
    let bundle = |source| Validation { trusted_ca: Some(TrustedCa::Bundle(source)), ..Validation::default() };
    assert!(
        matches!(up(bundle(DataSource::File("/nowhere/ca.pem".into()))), ContextError::File { path, .. } if path == "/nowhere/ca.pem")
    );
    assert!(matches!(up(bundle(inline("no PEM"))), ContextError::Material { what: "the trusted authorities", .. }));
    let crl = Validation { crl: Some(inline("no list")), ..believing(&ca) };
    assert!(matches!(up(crl), ContextError::Material { what: "the revocation lists", .. }));

    let combined = |default| {
        Origination::new(UpstreamTls::new(ValidationSource::Combined { default, secret: "ROOTCA".into() }), own.clone())
            .ready()
    };
    combined(Validation::default()).unwrap();
    let deep = Validation { max_depth: Some(1), ..Validation::default() };
    assert!(matches!(combined(deep).unwrap_err(), ContextError::Unsupported("max_verify_depth")));
    let listed = Validation { crl: Some(inline("")), ..Validation::default() };
    assert!(matches!(combined(listed).unwrap_err(), ContextError::Unsupported("crl")));

    let down = |certificate: Certificate| {
        let shown = vec![CertificateSource::Inline(certificate)];
        Termination::new(DownstreamTls::new(shown), Credentials::default()).ready().unwrap_err()
    };
    let others = Certificate { key: certificate(&dns(&ca, &["a.test"])).key, ..certificate(&leaf) };
    assert!(matches!(down(others), ContextError::Tls(_)), "a key of another certificate");
    let keyless = Certificate { key: Sensitive(inline("")), ..certificate(&leaf) };
    assert!(matches!(down(keyless), ContextError::Material { what: "the private key", .. }));
    let empty = Certificate { chain: inline(""), ..certificate(&leaf) };
    assert!(matches!(down(empty), ContextError::Material { what: "the certificate", .. }));
}

#[tokio::test]
async fn no_more_is_agreed_on_than_is_allowed() {
    let ca = Ca::root("td.test");
    let server = DownstreamTls::new(vec![shown(&dns(&ca, &["a.test"]))]);
    let mut old = upstream(believing(&ca));
    old.parameters.maximum = Version::Tls12;
    old.parameters.cipher_suites = vec![CipherSuite::EcdheEcdsaAes256Gcm];
    old.parameters.groups = vec![Group::P384];
    connect(old.clone(), server.clone()).await.unwrap();
    let mut new = server.clone();
    new.parameters.minimum = Version::Tls13;
    connect(old.clone(), new).await.unwrap_err();
    let mut other = server.clone();
    other.parameters.groups = vec![Group::X25519];
    connect(old.clone(), other).await.unwrap_err();
    let mut suite = server.clone();
    suite.parameters.cipher_suites = vec![CipherSuite::EcdheEcdsaAes128Gcm];
    connect(old, suite).await.unwrap_err();
}

#[tokio::test]
async fn protocols_are_those_of_the_check_the_settings_or_the_caller() {
    let ca = Ca::root("td.test");
    let mut server = DownstreamTls::new(vec![shown(&dns(&ca, &["a.test"]))]);
    server.alpn = vec!["h2".into(), "http/1.1".into(), "probe".into()];
    let down = Termination::new(server, Credentials::default());
    let settings = UpstreamTls { alpn: vec!["http/1.1".into()], ..upstream(believing(&ca)) };
    let (plain, set) = (upstream(believing(&ca)), settings);
    let probe = ["probe".into()];
    let otherwise: &[&[u8]] = &[b"h2"];
    for (tls, offer, agreed) in [
        (&plain, Offer::default(), None),
        (&plain, Offer { otherwise, ..Offer::default() }, Some(&b"h2"[..])),
        (&set, Offer { otherwise, ..Offer::default() }, Some(b"http/1.1")),
        (&set, Offer { otherwise, instead: &probe }, Some(b"probe")),
    ] {
        let up = Origination::new(tls.clone(), Credentials::default());
        let (outcome, exchanged) = connect_by(&up, &down, "", &offer).await;
        assert_eq!(outcome.unwrap().1.as_deref(), agreed);
        assert!(exchanged);
    }
}
