//! Node attestation: every kind of evidence, right and wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{TrustDomain, parse_trust_domain};
use mesh_identity::attest::*;
use mesh_identity::pem;
use mesh_test_support::pki::{Ca, Leaf, Spec, at};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256};
use serde_json::{Value, json};

fn trust_domain() -> TrustDomain {
    parse_trust_domain("td.test").unwrap()
}

/// Asks an [`Evidence`] and lets a test change what goes back and forth.
struct Asking<'a> {
    node: &'a dyn Evidence,
    asked: Vec<Vec<u8>>,
    change: &'a (dyn Fn(Value) -> Value + Sync),
}

impl Challenges for Asking<'_> {
    fn ask(&mut self, challenge: Vec<u8>) -> Answer<'_> {
        self.asked.push(challenge.clone());
        let answer = self.node.answer(&challenge).map(|answer| {
            let value = (self.change)(serde_json::from_slice(&answer).unwrap());
            serde_json::to_vec(&value).unwrap()
        });
        Box::pin(std::future::ready(answer))
    }
}

/// No challenge is expected.
struct Silent;

impl Challenges for Silent {
    fn ask(&mut self, _challenge: Vec<u8>) -> Answer<'_> {
        panic!("a challenge")
    }
}

async fn run(server: &dyn Attestor, node: &dyn Evidence) -> Result<Attested, AttestError> {
    changed(server, node, &|answer| answer).await
}

async fn changed(
    server: &dyn Attestor,
    node: &dyn Evidence,
    change: &(dyn Fn(Value) -> Value + Sync),
) -> Result<Attested, AttestError> {
    assert_eq!(server.kind(), node.kind());
    let payload = node.payload().await.unwrap();
    let mut asking = Asking { node, asked: Vec::new(), change };
    let trust_domain = trust_domain();
    server.attest(Asked { payload: &payload, trust_domain: &trust_domain, now: at(0) }, &mut asking).await
}

async fn silent(server: &dyn Attestor, payload: &[u8], now: SystemTime) -> Result<Attested, AttestError> {
    let trust_domain = trust_domain();
    server.attest(Asked { payload, trust_domain: &trust_domain, now }, &mut Silent).await
}

fn text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_join_token_lets_one_node_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let tokens = JoinTokens::open(&path).unwrap();
    let life = Duration::from_secs(600);
    let minted = tokens.mint(None, life, Some("/fleet/edge".into()), at(0)).unwrap();
    let late = tokens.mint(None, Duration::from_secs(1), None, at(0)).unwrap();
    let chosen = tokens.mint(Some("chosen-by-operator".into()), life, None, at(0)).unwrap();
    assert_eq!(chosen.token, "chosen-by-operator");

    // At rest there are digests only, and only for the owner.
    let stored = std::fs::read_to_string(&path).unwrap();
    for token in [&minted, &late, &chosen] {
        assert!(!stored.contains(&token.token));
        assert!(!format!("{token:?}").contains(&token.token));
        assert!(!format!("{:?}", JoinTokenEvidence::new(&token.token)).contains(&token.token));
    }

    // They survive a restart.
    let tokens = JoinTokens::open(&path).unwrap();
    let attested = run(&tokens, &JoinTokenEvidence::new(&minted.token)).await.unwrap();
    assert_eq!(attested.path, format!("join_token/{}", minted.token));
    assert_eq!(attested.alias.as_deref(), Some("/fleet/edge"));
    assert!(!attested.reattestable);
    assert!(run(&tokens, &JoinTokenEvidence::new(&minted.token)).await.is_err());

    // Too late is used up all the same.
    let much_later = at(0) + Duration::from_secs(2);
    let error = silent(&tokens, late.token.as_bytes(), much_later).await.unwrap_err();
    assert_eq!(error, AttestError::Evidence("the join token has expired".into()));
    let error = silent(&tokens, late.token.as_bytes(), at(0)).await.unwrap_err();
    assert_eq!(error, AttestError::Evidence("unknown join token".into()));

    // And that a token was used survives a restart too.
    let tokens = JoinTokens::open(&path).unwrap();
    for guess in ["", "guessed", "../../x", "a/b", &minted.token, "\u{e9}"] {
        assert!(silent(&tokens, guess.as_bytes(), at(0)).await.is_err(), "{guess}");
    }
    assert!(silent(&tokens, &[0xff, 0xfe], at(0)).await.is_err());
    assert!(run(&tokens, &JoinTokenEvidence::new("chosen-by-operator")).await.is_ok());
}

#[tokio::test]
async fn a_join_token_waits_for_the_file_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let tokens = JoinTokens::open(&path).unwrap();
    let minted = tokens.mint(None, Duration::from_secs(600), None, at(0)).unwrap();
    let lock = mesh_identity::file::lock(&dir.path().join("tokens.json.lock")).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(lock);
    });
    let evidence = JoinTokenEvidence::new(&minted.token);
    let mut others = 0;
    let mut attesting = std::pin::pin!(run(&tokens, &evidence));
    loop {
        tokio::select! {
            biased;
            attested = &mut attesting => {
                attested.unwrap();
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => others += 1,
        }
    }
    assert!(others > 0);
    holder.join().unwrap();
}

fn machine(ca: &Ca, edit: impl FnOnce(&mut Spec)) -> Leaf {
    let mut spec = Spec::new("x509pop://td.test/rack/7");
    spec.uris.push("x509pop://other.test/rack/8".into());
    edit(&mut spec);
    ca.leaf(&spec)
}

fn evidence(leaf: &Leaf) -> X509PopEvidence {
    let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    X509PopEvidence::from_pem(chain.as_bytes(), pem::encode("PRIVATE KEY", leaf.key.secret_der()).as_bytes()).unwrap()
}

fn pop(ca: &Ca) -> X509Pop {
    X509Pop::new(pem::encode("CERTIFICATE", &ca.certificate).as_bytes()).unwrap()
}

#[tokio::test]
async fn a_machine_shows_its_certificate_and_its_key() {
    let root = Ca::root("machines.test");
    let below = root.intermediate("factory", "spiffe://machines.test", true);
    let server = pop(&root);
    let leaf = machine(&below, |_| {});
    let attested = run(&server, &evidence(&leaf)).await.unwrap();
    assert!(attested.path.starts_with("x509pop/") && attested.path.len() == "x509pop/".len() + 40);
    assert!(attested.reattestable);
    assert!(attested.selectors.contains(&"san:rack:7".to_owned()), "{:?}", attested.selectors);
    assert!(!attested.selectors.iter().any(|selector| selector.contains('8') && selector.starts_with("san")));
    // The issuers on the verified path, and no others that were sent.
    let authorities = |attested: &Attested| attested.selectors.iter().filter(|s| s.starts_with("ca:")).count();
    assert_eq!(authorities(&attested), 2);
    let mut stuffed = machine(&below, |_| {});
    stuffed.chain.push(Ca::root("unrelated.test").certificate);
    assert_eq!(authorities(&run(&server, &evidence(&stuffed)).await.unwrap()), 2);

    // The same machine is the same node again.
    assert_eq!(run(&server, &evidence(&leaf)).await.unwrap(), attested);
}

#[tokio::test]
async fn certificates_of_machines_that_are_refused() {
    let root = Ca::root("machines.test");
    let server = pop(&root);
    let cases: [(&str, Leaf); 5] = [
        ("expired", machine(&root, |spec| spec.validity = (-100, -10))),
        ("not yet valid", machine(&root, |spec| spec.validity = (100, 1000))),
        ("another CA", machine(&Ca::root("machines.test"), |_| {})),
        ("not for signing", machine(&root, |spec| spec.usages = vec![KeyUsagePurpose::KeyAgreement])),
        ("an authority", machine(&root, |spec| spec.ca = true)),
    ];
    for (what, leaf) in &cases {
        assert!(matches!(run(&server, &evidence(leaf)).await, Err(AttestError::Evidence(_))), "{what}");
    }
    let leaf = machine(&root, |_| {});
    let payload = |certificates: Vec<String>| serde_json::to_vec(&json!({ "certificates": certificates })).unwrap();
    let one = text(&leaf.chain[0]);
    let bad = [
        payload(vec![]),
        payload(vec![one.clone(); 6]),
        payload(vec!["!".into()]),
        payload(vec![text(b"not a certificate")]),
        payload(vec![one.clone(), text(&vec![0; 20_000])]),
        format!("{{\"certificates\":[\"{one}\"],\"certificates\":[]}}").into_bytes(),
        b"{}".to_vec(),
        Vec::new(),
        vec![b'['; 60_000],
    ];
    for payload in bad {
        assert!(matches!(silent(&server, &payload, at(0)).await, Err(AttestError::Evidence(_))));
    }
}

#[tokio::test]
async fn answers_of_machines_that_are_refused() {
    let root = Ca::root("machines.test");
    let server = pop(&root);
    let node = evidence(&machine(&root, |_| {}));
    let earlier = std::sync::Mutex::new(None);
    run(&server, &node).await.unwrap();
    let set = |answer: &Value, member: &str, value: Value| {
        let mut answer = answer.clone();
        answer["ecdsa_signature"][member] = value;
        answer
    };
    type Change<'a> = Box<dyn Fn(Value) -> Value + Sync + 'a>;
    let changes: [(&str, Change<'_>); 7] = [
        ("another nonce", Box::new(|answer| set(&answer, "nonce", json!(text(&[7; 32]))))),
        ("a short nonce", Box::new(|answer| set(&answer, "nonce", json!(text(&[7; 31]))))),
        ("r absent", Box::new(|answer| set(&answer, "r", Value::Null))),
        ("r and s zero", Box::new(|answer| set(&set(&answer, "r", json!(text(&[0]))), "s", json!(text(&[0]))))),
        ("r endless", Box::new(|answer| set(&answer, "r", json!(text(&[1; 4096]))))),
        ("as RSA", Box::new(|answer| json!({ "rsa_signature": answer["ecdsa_signature"] }))),
        ("nothing", Box::new(|_| json!({}))),
    ];
    for (what, change) in changes {
        let error = changed(&server, &node, &*change).await.unwrap_err();
        assert!(matches!(error, AttestError::Challenge(_)), "{what}: {error}");
    }
    // An answer to another challenge.
    let keep = |answer: Value| {
        let mut earlier = earlier.lock().unwrap();
        earlier.replace(answer.clone()).unwrap_or(answer)
    };
    changed(&server, &node, &keep).await.unwrap();
    assert!(matches!(changed(&server, &node, &keep).await, Err(AttestError::Challenge(_))));
    // Somebody else's key under this certificate.
    let (mut mixed, other) = (machine(&root, |_| {}), machine(&root, |_| {}));
    mixed.key = other.key;
    assert!(matches!(run(&server, &evidence(&mixed)).await, Err(AttestError::Challenge(_))));
    // The node's own nonce is the server's: nothing of its own was added.
    struct Mirror;
    impl std::fmt::Debug for Mirror {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Mirror")
        }
    }
    impl Challenges for Mirror {
        fn ask(&mut self, challenge: Vec<u8>) -> Answer<'_> {
            let challenge: Value = serde_json::from_slice(&challenge).unwrap();
            let nonce = &challenge["ecdsa_signature"]["nonce"];
            let answer = json!({ "ecdsa_signature": { "nonce": nonce, "r": text(&[1]), "s": text(&[1]) } });
            Box::pin(std::future::ready(Ok(serde_json::to_vec(&answer).unwrap())))
        }
    }
    let payload = node.payload().await.unwrap();
    let domain = trust_domain();
    let asked = Asked { payload: &payload, trust_domain: &domain, now: at(0) };
    let error = server.attest(asked, &mut Mirror).await.unwrap_err();
    assert_eq!(error, AttestError::Challenge("the answer repeats the challenge's nonce".into()));
}

#[tokio::test]
async fn machines_with_rsa_keys() {
    let (ca, authority) = rsa_ca();
    let server = X509Pop::new(ca.as_bytes()).unwrap();
    let node = authority;
    let attested = run(&server, &node).await.unwrap();
    assert!(attested.path.starts_with("x509pop/"));
    // Junk instead of a signature.
    let junk = |answer: Value| {
        let nonce = &answer["rsa_signature"]["nonce"];
        json!({ "rsa_signature": { "nonce": nonce, "signature": text(&[1; 256]) } })
    };
    assert!(matches!(changed(&server, &node, &junk).await, Err(AttestError::Challenge(_))));
}

fn rsa_ca() -> (String, X509PopEvidence) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "machine");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&leaf_key, &issuer).unwrap();
    let leaf = Leaf {
        chain: vec![leaf.der().clone()],
        key: rustls_pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
    };
    (pem::encode("CERTIFICATE", ca.der()), evidence(&leaf))
}

const DOCUMENT: &str = include_str!("evidence/aws/document.json");

fn aws() -> AwsIdentityDocument {
    let keys = AwsRegions::parse(include_str!("evidence/aws/keys.pem")).unwrap();
    AwsIdentityDocument::new(AwsRegions::published().unwrap().with(keys), ["123456789012"])
}

fn iid(document: &str, rsa2048: &str) -> Vec<u8> {
    serde_json::to_vec(&json!({ "document": document, "signature": "", "rsa2048": rsa2048 })).unwrap()
}

/// A minute after the instance started.
fn started() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000 + 60)
}

#[tokio::test]
async fn an_instance_shows_its_document() {
    for signed in [
        include_str!("evidence/aws/signed.txt"),
        include_str!("evidence/aws/signed-indefinite.txt"),
        include_str!("evidence/aws/signed-without-attributes.txt"),
    ] {
        let attested = silent(&aws(), &iid(DOCUMENT, signed), started()).await.unwrap();
        assert_eq!(attested.path, "aws_iid/123456789012/us-east-1/i-1234567890abcdef0");
        assert!(!attested.reattestable);
        assert_eq!(
            attested.selectors,
            [
                "account_id:123456789012",
                "az:us-east-1a",
                "image:id:ami-5fb8c835",
                "instance:id:i-1234567890abcdef0",
                "region:us-east-1",
            ]
        );
    }
}

#[tokio::test]
async fn documents_that_are_refused() {
    let good = include_str!("evidence/aws/signed.txt");
    let flipped = DOCUMENT.replace("t2.micro", "t2.Micro");
    let moved = DOCUMENT.replace("us-east-1", "eu-central-1");
    let twice = DOCUMENT.replacen('{', "{ \"accountId\" : \"999999999999\",", 1);
    let cases = [
        ("one byte changed", &*flipped, good),
        ("another region's key", &*moved, good),
        ("a member twice", &*twice, good),
        ("another document", DOCUMENT, include_str!("evidence/aws/signed-of-other.txt")),
        ("another key", DOCUMENT, include_str!("evidence/aws/signed-by-other.txt")),
        ("the key's certificate in the bag", DOCUMENT, include_str!("evidence/aws/signed-by-other-region-in-bag.txt")),
        ("two signers", DOCUMENT, include_str!("evidence/aws/signed-twice.txt")),
        ("nobody signed", DOCUMENT, include_str!("evidence/aws/unsigned.txt")),
        ("no content", DOCUMENT, include_str!("evidence/aws/signed-detached.txt")),
        ("SHA-1", DOCUMENT, include_str!("evidence/aws/signed-sha1.txt")),
        ("no signature", DOCUMENT, ""),
        ("not base64", DOCUMENT, "%%%"),
        ("not PKCS#7", DOCUMENT, "AAAA"),
        ("no document", "{}", good),
    ];
    for (what, document, signed) in cases {
        let error = silent(&aws(), &iid(document, signed), started()).await.unwrap_err();
        assert!(matches!(error, AttestError::Evidence(_)), "{what}: {error}");
    }
    let other_account =
        AwsIdentityDocument::new(AwsRegions::parse(include_str!("evidence/aws/keys.pem")).unwrap(), ["999999999999"]);
    let payload = iid(DOCUMENT, good);
    for (server, now) in [
        (other_account, started()),
        (aws().in_regions(["eu-central-1"]), started()),
        (aws(), started() + Duration::from_secs(601)),
        (aws(), started() - Duration::from_secs(180)),
        (aws().within(Duration::from_secs(30)), started()),
    ] {
        assert!(matches!(silent(&server, &payload, now).await, Err(AttestError::Evidence(_))));
    }
    // Every cut is refused, and nothing panics.
    let bare: String = good.split_whitespace().collect();
    let signed = STANDARD.decode(bare).unwrap();
    for cut in (0..signed.len()).step_by(7) {
        assert!(silent(&aws(), &iid(DOCUMENT, &text(&signed[..cut])), started()).await.is_err());
    }
    let nested = [0x30, 0x80].repeat(20_000);
    assert!(silent(&aws(), &iid(DOCUMENT, &text(&nested)), started()).await.is_err());
}

#[tokio::test]
async fn an_instance_reads_its_own_document() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let body = if request.starts_with("put /latest/api/token") {
                "session"
            } else if !request.contains("x-aws-ec2-metadata-token: session") {
                ""
            } else if request.contains("/document ") {
                DOCUMENT
            } else if request.contains("/rsa2048 ") {
                include_str!("evidence/aws/signed.txt")
            } else {
                "other"
            };
            let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let payload = AwsEvidence::at(address).payload().await.unwrap();
    silent(&aws(), &payload, started()).await.unwrap();
    let error = AwsEvidence::at("127.0.0.1:1").payload().await.unwrap_err();
    assert!(matches!(error, AttestError::Gather(_)));
}

struct Cluster {
    key: KeyPair,
    keys: Live<ClusterKeys>,
    _keys: Publisher<ClusterKeys>,
}

impl Cluster {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let point = key.public_key_raw();
        let jwks = json!({ "keys": [
            { "kty": "OKP", "kid": "unusable", "crv": "Ed25519", "x": "AAAA" },
            { "kty": "EC", "kid": "k1", "use": "sig", "alg": "ES256", "crv": "P-256",
              "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]) },
        ] });
        let (publisher, keys) = Publisher::new(ClusterKeys::from_jwks(&serde_json::to_vec(&jwks).unwrap()).unwrap());
        Self { key, keys, _keys: publisher }
    }

    fn server(&self) -> K8sPsat {
        let issuer = "https://kubernetes.default.svc.cluster.local";
        K8sPsat::new().cluster("east", self.keys.clone(), issuer, "spire-server", ["spire:agent"])
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let random = aws_lc_rs::rand::SystemRandom::new();
        let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, &self.key.serialize_der()).unwrap();
        let signature = pair.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn claims() -> Value {
    let now = at(0).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local",
        "aud": ["spire-server"],
        "iat": now - 3060, "nbf": now - 3060, "exp": now + 540, "jti": "1",
        "sub": "system:serviceaccount:spire:agent",
        "kubernetes.io": {
            "namespace": "spire",
            "pod": { "name": "agent-x", "uid": "pod-uid" },
            "node": { "name": "node-x", "uid": "node-uid" },
            "serviceaccount": { "name": "agent", "uid": "sa-uid" },
        },
    })
}

#[tokio::test]
async fn a_pod_shows_its_token() {
    let cluster = Cluster::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, cluster.token(&json!({ "alg": "ES256", "kid": "k1" }), &claims()) + "\n").unwrap();
    let attested = run(&cluster.server(), &K8sPsatEvidence::new("east", &path)).await.unwrap();
    assert_eq!(attested.path, "k8s_psat/east/node-uid");
    assert!(attested.reattestable);
    assert_eq!(
        attested.selectors,
        [
            "cluster:east",
            "agent_ns:spire",
            "agent_sa:agent",
            "agent_pod_name:agent-x",
            "agent_pod_uid:pod-uid",
            "agent_node_name:node-x",
            "agent_node_uid:node-uid",
        ]
    );
    assert!(K8sPsatEvidence::new("east", "/nonexistent").payload().await.is_err());
}

#[tokio::test]
async fn tokens_of_pods_that_are_refused() {
    let cluster = Cluster::new();
    let now = at(0).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "alg": "ES256", "kid": "k1" });
    let with = |pointer: &str, value: Value| {
        let mut claims = claims();
        *claims.pointer_mut(pointer).unwrap() = value;
        cluster.token(&header, &claims)
    };
    let without = |pointer: &str, member: &str| {
        let mut claims = claims();
        claims.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(member).unwrap();
        cluster.token(&header, &claims)
    };
    let at_times = |issued: u64, begin: u64, end: u64| {
        let mut claims = claims();
        for (name, time) in [("iat", issued), ("nbf", begin), ("exp", end)] {
            claims[name] = json!(time);
        }
        cluster.token(&header, &claims)
    };
    let good = cluster.token(&header, &claims());
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
    let cases = [
        ("another audience", with("/aud", json!(["other"]))),
        ("several audiences", with("/aud", json!(["spire-server", "other"]))),
        ("no audience", with("/aud", json!([]))),
        ("another issuer", with("/iss", json!("https://kubernetes.default.svc"))),
        ("expired", with("/exp", json!(now - 60))),
        ("from the future", with("/nbf", json!(now + 60))),
        ("issued in the future", with("/iat", json!(now + 60))),
        ("of long life", with("/iat", json!(now - 8000))),
        ("much left", at_times(now - 100, now - 100, now + 660)),
        ("expires beyond all times", with("/exp", json!(i64::MAX as u64 - 10))),
        ("begins beyond all times", with("/nbf", json!(u64::MAX))),
        ("issued beyond all times", with("/iat", json!(u64::MAX))),
        ("another account", with("/sub", json!("system:serviceaccount:spire:other"))),
        ("no account", with("/sub", json!("spire:agent"))),
        ("contradiction", with("/kubernetes.io/namespace", json!("other"))),
        ("no name of a pod", with("/kubernetes.io/pod/name", json!(""))),
        ("no name of an account", with("/kubernetes.io/serviceaccount/uid", json!(""))),
        ("contradiction", with("/kubernetes.io/serviceaccount/name", json!("other"))),
        ("not bound to a pod", without("/kubernetes.io", "pod")),
        ("not bound to a node", without("/kubernetes.io", "node")),
        ("no claims of Kubernetes", without("", "kubernetes.io")),
        ("empty node", with("/kubernetes.io/node/uid", json!(""))),
        ("unknown key", cluster.token(&json!({ "alg": "ES256", "kid": "k2" }), &claims())),
        ("no key named", cluster.token(&json!({ "alg": "ES256" }), &claims())),
        ("none", cluster.token(&json!({ "alg": "none", "kid": "k1" }), &claims())),
        ("a MAC", cluster.token(&json!({ "alg": "HS256", "kid": "k1" }), &claims())),
        ("another algorithm", cluster.token(&json!({ "alg": "ES384", "kid": "k1" }), &claims())),
        ("no signature", format!("{unsigned}.")),
        ("another cluster's key", Cluster::new().token(&header, &claims())),
        ("nothing", String::new()),
    ];
    let payload = |name: &str, token: &str| serde_json::to_vec(&json!({ "cluster": name, "token": token })).unwrap();
    let server = cluster.server();
    silent(&server, &payload("east", &good), at(0)).await.unwrap();
    for (what, token) in &cases {
        let error = silent(&server, &payload("east", token), at(0)).await.unwrap_err();
        assert!(matches!(error, AttestError::Evidence(_)), "{what}: {error}");
    }
    assert!(silent(&server, &payload("west", &good), at(0)).await.is_err());
    assert!(silent(&server, b"[]", at(0)).await.is_err());
    let much_left = payload("east", &at_times(now - 100, now - 100, now + 3000));
    assert!(silent(&server, &much_left, at(0)).await.is_err());
    silent(&server.with_at_most_left(None), &much_left, at(0)).await.unwrap();

    for bad in [
        "",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":[1]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"AQ\",\"e\":\"AQAB\"}]}",
    ] {
        assert!(ClusterKeys::from_jwks(bad.as_bytes()).is_err(), "{bad}");
    }
}
