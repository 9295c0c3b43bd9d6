//! Keys for tokens of requests: what is read as a token and as a key set, whose signature counts, when keys are fetched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod signer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use http::Uri;
use mesh_core::authn::{Failure, KeySource, Keys, Part, RemoteKeys, Token, Verification, Verifier};
use mesh_identity::clock::ManualClock;
use mesh_identity::jose::Algorithm;
use mesh_identity::keys::{Document, Fetch, FetchError, Fetching, KeySet, KeySetError, Skipped, TokenVerifier, Web};
use mesh_identity::limits::{MAX_KEY_SET_BYTES, MAX_KEY_SET_KEYS, MAX_TOKEN_BYTES};
use mesh_identity::pem;
use proptest::prelude::*;
use serde_json::{Value, json};
use signer::{Signer, b64};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NOW: u64 = 1_800_000_000;

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW)))
}

fn verifier() -> TokenVerifier {
    TokenVerifier::fetching(clock(), Arc::new(Nobody))
}

fn claims() -> Value {
    json!({"iss": "i", "sub": "joe", "exp": NOW + 300})
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": "k1"})
}

fn signer(algorithm: Algorithm, kid: &'static str) -> Signer {
    let mut signer = Signer::new(algorithm);
    signer.kid = kid;
    signer
}

fn done(verification: Verification) -> Result<(), Failure> {
    match verification {
        Verification::Done(result) => result,
        Verification::Wait(_) => panic!("it waits"),
    }
}

/// What keys say about a text.
fn judge(keys: &str, text: &str) -> Result<(), Failure> {
    let verifier = verifier();
    let token = verifier.read(text)?;
    done(verifier.keys(&KeySource::Inline(keys.into())).verify(&token))
}

/// Has no documents.
#[derive(Debug)]
struct Nobody;

impl Fetch for Nobody {
    fn fetch<'a>(&'a self, url: &'a Uri, _: &'a RemoteKeys) -> Fetching<'a> {
        Box::pin(async move { Err(FetchError::Url(url.to_string())) })
    }
}

#[test]
fn every_algorithm_by_its_own_key_only() {
    let all = || Algorithm::SVID.into_iter().chain([Algorithm::EdDSA]);
    for algorithm in all() {
        let signer = Signer::new(algorithm);
        let keys = set(&[signer.jwk()]);
        assert_eq!(judge(&keys, &signer.token(&header(algorithm), &claims())), Ok(()), "{algorithm}");
        let nameless = json!({"alg": algorithm.name()});
        assert_eq!(judge(&keys, &signer.token(&nameless, &claims())), Ok(()), "{algorithm}");
        for other in all().filter(|other| *other != algorithm) {
            let refused = judge(&keys, &signer.token(&header(other), &claims()));
            assert!(matches!(refused, Err(Failure::UnknownKey | Failure::Signature)), "{algorithm} as {other}");
        }
        // A key that says by which algorithm it signs signs by no other.
        let mut jwk = signer.jwk();
        jwk["alg"] = algorithm.name().into();
        assert_eq!(judge(&set(&[jwk.clone()]), &signer.token(&header(algorithm), &claims())), Ok(()));
        if algorithm == Algorithm::RS256 {
            let as_pss = signer.token(&header(Algorithm::PS256), &claims());
            assert_eq!(judge(&set(&[jwk]), &as_pss), Err(Failure::UnknownKey));
        }
    }
}

#[test]
fn what_is_no_token_is_refused_before_any_key_is_asked() {
    let signer = Signer::new(Algorithm::ES256);
    let keys = set(&[signer.jwk()]);
    let payload = claims().to_string();
    let with_header = |header: &str| signer.raw(header, &payload);
    let with_payload = |payload: &str| signer.raw(&header(Algorithm::ES256).to_string(), payload);
    let good = with_payload(&payload);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(judge(&keys, &good), Ok(()));
    for (text, expected) in [
        (String::new(), Failure::Shape),
        ("a.b".into(), Failure::Shape),
        (format!("{good}.x"), Failure::Shape),
        (format!("{signed}."), Failure::Shape),
        (format!(".{signed}"), Failure::Shape),
        (format!("{signed}.{}", "A".repeat(MAX_TOKEN_BYTES)), Failure::TooLarge),
        (format!("{signed}.{signature}="), Failure::Encoding(Part::Signature)),
        (format!("e+.{}.{signature}", b64(&payload)), Failure::Encoding(Part::Header)),
        (format!("{}.e/.{signature}", b64(header(Algorithm::ES256).to_string())), Failure::Encoding(Part::Payload)),
        (with_header("null"), Failure::Json(Part::Header)),
        (with_header("{\"alg\":\"ES256\",\"alg\":\"none\"}"), Failure::Json(Part::Header)),
        (with_header("{\"alg\":\"ES256\"} "), Failure::UnknownKey),
        (with_header("{}"), Failure::NoAlgorithm),
        (with_header("{\"alg\":\"none\"}"), Failure::Algorithm),
        (with_header("{\"alg\":\"nOnE\"}"), Failure::Algorithm),
        (with_header("{\"alg\":\"HS256\"}"), Failure::Algorithm),
        (with_header("{\"alg\":\"es256\"}"), Failure::Algorithm),
        (with_header("{\"alg\":[\"ES256\"]}"), Failure::Algorithm),
        (with_header("{\"alg\":\"ES256\",\"crit\":[]}"), Failure::Header("crit")),
        (with_header("{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}"), Failure::Header("crit")),
        (with_header("{\"alg\":\"ES256\",\"b64\":false}"), Failure::Header("b64")),
        (with_header("{\"alg\":\"ES256\",\"kid\":null}"), Failure::KeyId),
        (with_payload("[]"), Failure::Json(Part::Payload)),
        (with_payload("{\"sub\":\"a\",\"sub\":\"b\"}"), Failure::Json(Part::Payload)),
        (with_payload("{\"a\":{\"b\":1,\"b\":2}}"), Failure::Json(Part::Payload)),
        (with_payload("{\"iss\":7}"), Failure::Claim { claim: "iss", wanted: "a string" }),
    ] {
        let got = judge(&keys, &text);
        if expected == Failure::UnknownKey {
            assert_eq!(got, Ok(()), "white space is JSON");
        } else {
            assert_eq!(got, Err(expected), "{text:.80}");
        }
    }
}

#[test]
fn no_part_of_a_token_says_by_which_key_it_is_verified_but_a_name() {
    let (trusted, other) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::ES256, "k2"));
    let keys = set(&[trusted.jwk()]);
    let own_key = json!({"alg": "ES256", "kid": "k1", "jwk": other.jwk(), "jku": "https://evil/keys", "x5c": ["x"]});
    assert_eq!(judge(&keys, &other.token(&own_key, &claims())), Err(Failure::Signature));
    for kid in ["k2", "../../dev/null", "k1\u{0}", "K1", "https://evil/keys", "' or 1=1"] {
        let named = json!({"alg": "ES256", "kid": kid});
        assert_eq!(judge(&keys, &trusted.token(&named, &claims())), Err(Failure::UnknownKey), "{kid}");
    }
    // An empty name is none.
    assert_eq!(judge(&keys, &trusted.token(&json!({"alg": "ES256", "kid": ""}), &claims())), Ok(()));
    // Of several keys the named one counts, and nothing else.
    let both = set(&[other.jwk(), trusted.jwk()]);
    assert_eq!(judge(&both, &trusted.token(&json!({"alg": "ES256", "kid": "k2"}), &claims())), Err(Failure::Signature));
    assert_eq!(judge(&both, &trusted.token(&json!({"alg": "ES256", "kid": "k1"}), &claims())), Ok(()));
    assert_eq!(judge(&both, &trusted.token(&json!({"alg": "ES256"}), &claims())), Ok(()));
    // A key without a name is tried for every name.
    let mut nameless = trusted.jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    assert_eq!(
        judge(&set(&[other.jwk(), nameless]), &trusted.token(&json!({"alg": "ES256", "kid": "x"}), &claims())),
        Ok(())
    );
    // A signature counts for the whole of what is signed.
    let good = trusted.token(&header(Algorithm::ES256), &claims());
    let parts: Vec<_> = good.split('.').collect();
    let admin = b64(json!({"iss": "i", "sub": "admin"}).to_string());
    assert_eq!(judge(&keys, &format!("{}.{admin}.{}", parts[0], parts[2])), Err(Failure::Signature));
    // The public key is no secret of a MAC.
    let mac = json!({"keys": [{"kty": "oct", "k": b64("secret"), "kid": "k1"}]}).to_string();
    assert_eq!(judge(&mac, &good), Err(Failure::NoKeys));
}

#[test]
fn a_key_set_is_read_as_far_as_it_can_be_used() {
    let good = Signer::new(Algorithm::ES256).jwk();
    let with = |member: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[member] = value;
        jwk
    };
    let reason = |jwk: Value| {
        let read = KeySet::from_jwks(set(&[jwk, good.clone()]).as_bytes()).unwrap();
        assert_eq!(read.len() + read.skipped().len(), 2);
        read.skipped().first().map(|(index, reason)| (*index, reason.clone()))
    };
    for member in [
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("alg", json!("ES256")),
        ("kid", json!("")),
        ("x5t", json!(1)),
    ] {
        assert_eq!(reason(with(member.0, member.1)), None);
    }
    for (jwk, expected) in [
        (json!("x"), Skipped::NoObject),
        (with("d", json!("x")), Skipped::Private),
        (with("k", json!("x")), Skipped::Private),
        (with("use", json!("enc")), Skipped::Use("enc".into())),
        (with("use", json!(1)), Skipped::Use(String::new())),
        (with("key_ops", json!(["sign"])), Skipped::Operations),
        (with("alg", json!("HS256")), Skipped::Algorithm("HS256".into())),
        (with("alg", json!("RS256")), Skipped::Algorithm("RS256".into())),
        (with("alg", json!("ES384")), Skipped::Algorithm("ES384".into())),
    ] {
        assert_eq!(reason(jwk.clone()), Some((0, expected)), "{jwk}");
    }
    let x = good["x"].as_str().unwrap();
    for jwk in [
        with("kty", json!("oct")),
        with("kid", json!(1)),
        with("x", json!(format!("{x}="))),
        with("x", json!(b64([0; 32]))),
        with("crv", json!("secp256k1")),
        json!({"kty": "OKP", "crv": "X25519", "x": b64([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": b64([1; 31])}),
        json!({"kty": "RSA", "n": b64([0xff; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": b64([0xff; 256]), "e": "AQ"}),
        json!({}),
    ] {
        assert!(matches!(reason(jwk.clone()), Some((0, Skipped::Key(_)))), "{jwk}");
    }
    let many = set(&vec![good.clone(); MAX_KEY_SET_KEYS + 1]);
    for (text, expected) in [
        ("{\"keys\":{}}".to_owned(), KeySetError::NoKeys),
        ("[]".to_owned(), KeySetError::NoKeys),
        (many, KeySetError::TooMany(MAX_KEY_SET_KEYS + 1)),
        (" ".repeat(MAX_KEY_SET_BYTES + 1), KeySetError::TooLarge(MAX_KEY_SET_BYTES + 1)),
        ("{\"keys\":[]}".to_owned(), KeySetError::NoUsableKey(Vec::new())),
    ] {
        assert_eq!(KeySet::from_jwks(text.as_bytes()).unwrap_err(), expected);
    }
    let twice = format!("{{\"keys\":[{good}],\"keys\":[]}}");
    assert!(matches!(KeySet::from_jwks(twice.as_bytes()), Err(KeySetError::Json(_))));
    assert!(KeySet::from_jwks(set(&vec![good; MAX_KEY_SET_KEYS]).as_bytes()).is_ok());
}

#[test]
fn a_good_token_is_remembered_as_long_as_its_keys_are_the_same() {
    let (one, two) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::ES256, "k2"));
    let verifier = verifier();
    let keys = |signers: &[&Signer]| {
        let list: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        verifier.keys(&KeySource::Inline(set(&list).into()))
    };
    let text = one.token(&json!({"alg": "ES256"}), &claims());
    let forged = two.token(&json!({"alg": "ES256"}), &claims());
    let (first, both, other) = (keys(&[&one]), keys(&[&one, &two]), keys(&[&two]));

    let token = verifier.read(&text).unwrap();
    assert!(!Arc::ptr_eq(&token, &verifier.read(&text).unwrap()), "nothing is remembered of what nobody has verified");
    assert_eq!(done(first.verify(&token)), Ok(()));
    let again = verifier.read(&text).unwrap();
    assert!(Arc::ptr_eq(&token, &again));
    for _ in 0..2 {
        assert_eq!(done(first.verify(&again)), Ok(()));
        assert_eq!(done(other.verify(&again)), Err(Failure::Signature), "what one issuer signed, another did not");
        assert_eq!(done(both.verify(&again)), Ok(()));
    }
    let bad = verifier.read(&forged).unwrap();
    assert_eq!(done(first.verify(&bad)), Err(Failure::Signature));
    assert!(!Arc::ptr_eq(&bad, &verifier.read(&forged).unwrap()));
    // As many as there may be: the oldest make room, and what is asked again is verified again.
    for number in 0..3_000 {
        let text = one.token(&json!({"alg": "ES256"}), &json!({"jti": number.to_string()}));
        if number % 300 == 0 {
            assert_eq!(done(first.verify(&verifier.read(&text).unwrap())), Ok(()));
        }
    }
}

/// Serves what it is told to, after a while, and counts.
#[derive(Debug, Default)]
struct Script {
    calls: AtomicUsize,
    asked: Mutex<Vec<String>>,
    answers: Mutex<Vec<(String, Option<String>)>>,
    max_age: Mutex<Option<Duration>>,
    takes: Mutex<Duration>,
}

impl Script {
    fn serve(&self, url: &str, answer: Option<String>) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(known, _)| known != url);
        answers.push((url.to_owned(), answer));
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Fetch for Script {
    fn fetch<'a>(&'a self, url: &'a Uri, _: &'a RemoteKeys) -> Fetching<'a> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.asked.lock().unwrap().push(url.to_string());
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            let known = self.answers.lock().unwrap().iter().find(|(known, _)| url == known.as_str()).cloned();
            let text = known.and_then(|(_, answer)| answer).ok_or(FetchError::Status(http::StatusCode::NOT_FOUND))?;
            Ok(Document { text: text.into(), max_age: *self.max_age.lock().unwrap() })
        })
    }
}

const URL: &str = "https://i.test/keys";

struct Bench {
    script: Arc<Script>,
    verifier: Arc<TokenVerifier>,
}

impl Bench {
    fn new(answer: Option<String>) -> Self {
        let script = Arc::new(Script::default());
        script.serve(URL, answer);
        *script.takes.lock().unwrap() = Duration::from_millis(100);
        let fetch: Arc<dyn Fetch> = Arc::<Script>::clone(&script);
        Self { script, verifier: Arc::new(TokenVerifier::fetching(clock(), fetch)) }
    }

    fn keys(&self) -> Arc<dyn Keys> {
        let keys = RemoteKeys { life: Duration::from_secs(300), ..RemoteKeys::at(URL) };
        self.verifier.keys(&KeySource::Remote(keys))
    }

    fn token(&self, signer: &Signer) -> Arc<Token> {
        self.verifier.read(&signer.token(&json!({"alg": "ES256", "kid": signer.kid}), &claims())).unwrap()
    }
}

async fn verify(keys: &Arc<dyn Keys>, token: &Arc<Token>) -> Result<(), Failure> {
    match keys.verify(token) {
        Verification::Done(result) => result,
        Verification::Wait(fetching) => fetching.await,
    }
}

fn waits(keys: &Arc<dyn Keys>, token: &Arc<Token>) -> bool {
    matches!(keys.verify(token), Verification::Wait(_))
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_wait_for_one_fetch() {
    let signer = signer(Algorithm::ES256, "k1");
    let bench = Bench::new(Some(set(&[signer.jwk()])));
    let (keys, again) = (bench.keys(), bench.keys());
    let token = bench.token(&signer);
    assert!(waits(&keys, &token) && waits(&again, &token));
    let all = (0..100).map(|_| verify(&keys, &token));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(verify(&again, &token).await, Ok(()));
    assert_eq!(bench.script.calls(), 1);
    assert!(!waits(&keys, &token));
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_before_they_are_old_and_nobody_waits() {
    let (one, two) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::ES256, "k2"));
    let bench = Bench::new(Some(set(&[one.jwk()])));
    let keys = bench.keys();
    let (first, second) = (bench.token(&one), bench.token(&two));
    assert_eq!(verify(&keys, &first).await, Ok(()));
    bench.script.serve(URL, Some(set(&[two.jwk()])));
    pass(239).await;
    assert_eq!(bench.script.calls(), 1);
    assert_eq!(done(keys.verify(&first)), Ok(()));
    pass(40).await;
    assert_eq!(bench.script.calls(), 2);
    assert_eq!(done(keys.verify(&second)), Ok(()));
    // The key that signed it is gone, though it was found good before.
    assert_eq!(verify(&keys, &first).await, Err(Failure::UnknownKey));

    *bench.script.max_age.lock().unwrap() = Some(Duration::from_secs(100));
    pass(300).await;
    let before = bench.script.calls();
    pass(100).await;
    assert!(bench.script.calls() > before, "the server said that they do not last longer");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_known_causes_one_fetch_and_no_more_for_a_while() {
    let (one, two) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::ES256, "k2"));
    let stranger = signer(Algorithm::ES256, "k3");
    let bench = Bench::new(Some(set(&[one.jwk()])));
    let keys = bench.keys();
    assert_eq!(verify(&keys, &bench.token(&one)).await, Ok(()));
    // Just fetched: they are what they are.
    assert_eq!(done(keys.verify(&bench.token(&two))), Err(Failure::UnknownKey));
    pass(11).await;
    bench.script.serve(URL, Some(set(&[one.jwk(), two.jwk()])));
    let (second, unknown) = (bench.token(&two), bench.token(&stranger));
    let first = bench.token(&one);
    let (rotated, strange, known) =
        tokio::join!(verify(&keys, &second), verify(&keys, &unknown), verify(&keys, &first));
    assert_eq!((rotated, strange, known), (Ok(()), Err(Failure::UnknownKey), Ok(())));
    assert_eq!(bench.script.calls(), 2);
    for _ in 0..9 {
        assert_eq!(done(keys.verify(&unknown)), Err(Failure::UnknownKey));
        pass(1).await;
    }
    assert_eq!(bench.script.calls(), 2);
    pass(2).await;
    assert_eq!(verify(&keys, &unknown).await, Err(Failure::UnknownKey));
    assert_eq!(bench.script.calls(), 3);
    // A wrong signature by a known name is nobody's key: nothing is fetched for it.
    pass(20).await;
    let forged = stranger.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    assert_eq!(done(keys.verify(&bench.verifier.read(&forged).unwrap())), Err(Failure::Signature));
    assert_eq!(bench.script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_leaves_the_keys_in_force() {
    let signer = signer(Algorithm::ES256, "k1");
    let bench = Bench::new(Some(set(&[signer.jwk()])));
    let keys = bench.keys();
    let token = bench.token(&signer);
    assert_eq!(verify(&keys, &token).await, Ok(()));
    for broken in [None, Some("{}".to_owned()), Some(set(&[])), Some("x".repeat(MAX_KEY_SET_BYTES + 1))] {
        bench.script.serve(URL, broken);
        let before = bench.script.calls();
        pass(400).await;
        let fetches = bench.script.calls() - before;
        assert!((3..20).contains(&fetches), "{fetches}");
        assert_eq!(done(keys.verify(&token)), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_keys_requests_fail_fast_and_recover() {
    let signer = signer(Algorithm::ES256, "k1");
    let bench = Bench::new(None);
    let keys = bench.keys();
    let token = bench.token(&signer);
    assert_eq!(verify(&keys, &token).await, Err(Failure::KeysUnavailable));
    assert_eq!(done(keys.verify(&token)), Err(Failure::KeysUnavailable), "just tried");
    bench.script.serve(URL, Some(set(&[signer.jwk()])));
    pass(2).await;
    assert_eq!(verify(&keys, &token).await, Ok(()));

    // A server that hangs is given up.
    *bench.script.takes.lock().unwrap() = Duration::from_secs(1_000);
    let hanging = bench.verifier.keys(&KeySource::Remote(RemoteKeys::at("https://other.test/keys")));
    let begun = tokio::time::Instant::now();
    assert_eq!(verify(&hanging, &token).await, Err(Failure::KeysUnavailable));
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_fetches_for_nobody() {
    let signer = signer(Algorithm::ES256, "k1");
    let bench = Bench::new(Some(set(&[signer.jwk()])));
    let keys = bench.keys();
    let token = bench.token(&signer);
    let Verification::Wait(waiting) = keys.verify(&token) else { panic!("nothing is known yet") };
    drop(keys);
    // Who waits keeps the fetch going.
    assert_eq!(waiting.await, Ok(()));
    pass(10_000).await;
    assert_eq!(bench.script.calls(), 1);
    assert!(waits(&bench.keys(), &token));
}

#[tokio::test(start_paused = true)]
async fn an_issuers_configuration_leads_to_its_keys() {
    let signer = signer(Algorithm::ES256, "k1");
    let bench = Bench::new(None);
    let token = bench.token(&signer);
    let configuration = "https://i.test/.well-known/openid-configuration";
    let keys = || bench.verifier.keys(&KeySource::Remote(RemoteKeys::at(configuration)));
    bench.script.serve(configuration, Some(json!({"issuer": "i", "jwks_uri": URL}).to_string()));
    bench.script.serve(URL, Some(set(&[signer.jwk()])));
    assert_eq!(verify(&keys(), &token).await, Ok(()));
    assert_eq!(*bench.script.asked.lock().unwrap(), [configuration, URL]);

    for (leads_to, serves) in [
        ("http://i.test/keys", set(&[signer.jwk()])),
        ("file:///etc/keys", set(&[signer.jwk()])),
        ("https://i.test/loop", json!({"jwks_uri": "https://i.test/loop"}).to_string()),
    ] {
        bench.script.serve(configuration, Some(json!({"jwks_uri": leads_to}).to_string()));
        bench.script.serve(leads_to, Some(serves));
        assert_eq!(verify(&keys(), &token).await, Err(Failure::KeysUnavailable), "{leads_to}");
    }
}

/// Answers each connection with one text, the last one for ever.
async fn server(answers: Vec<String>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let at = counted.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let expected = format!("get /keys http/1.1\r\nhost: {}\r\n", listener.local_addr().unwrap());
            assert!(request.starts_with(&expected), "{request}");
            let _ = stream.write_all(answers[at].as_bytes()).await;
        }
    });
    (url, count)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn keys_come_over_http_and_rotate() {
    let (one, two) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::RS256, "k2"));
    let answers = vec![
        answer("200 OK", &set(&[one.jwk()])),
        answer("500 Internal Server Error", "x"),
        answer("200 OK", &set(&[one.jwk(), two.jwk()])),
    ];
    let (url, count) = server(answers).await;
    // A password in an address is not for the server's ears.
    let url = url.replace("http://", "http://user:secret@");
    let verifier = TokenVerifier::fetching(clock(), Arc::new(Web::new()));
    // Every fetch after the first is due after nearly a second.
    let keys = RemoteKeys { life: Duration::from_secs(1), ..RemoteKeys::at(url) };
    let keys = verifier.keys(&KeySource::Remote(keys));
    let first = verifier.read(&one.token(&header(Algorithm::ES256), &claims())).unwrap();
    let second = verifier.read(&two.token(&json!({"alg": "RS256", "kid": "k2"}), &claims())).unwrap();
    assert_eq!(verify(&keys, &first).await, Ok(()));
    assert_eq!(verify(&keys, &second).await, Err(Failure::UnknownKey));
    let rotated = async {
        while verify(&keys, &second).await.is_err() {
            assert_eq!(verify(&keys, &first).await, Ok(()), "also while fetches fail");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rotated).await.unwrap();
    assert_eq!(verify(&keys, &first).await, Ok(()));
    assert!(count.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn a_server_that_misbehaves_gives_no_keys() {
    let signer = signer(Algorithm::ES256, "k1");
    let good = set(&[signer.jwk()]);
    let verifier = TokenVerifier::fetching(clock(), Arc::new(Web::new()));
    let token = verifier.read(&signer.token(&header(Algorithm::ES256), &claims())).unwrap();
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(MAX_KEY_SET_BYTES));
    for text in [
        answer("200 OK", &large),
        answer("200 OK", "keys"),
        answer("204 No Content", ""),
        format!("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n{good}", good.len()),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len() + 1),
        "SSH-2.0\r\n".to_owned(),
        String::new(),
    ] {
        let (url, _) = server(vec![text.clone()]).await;
        let keys = verifier.keys(&KeySource::Remote(RemoteKeys::at(url)));
        assert_eq!(verify(&keys, &token).await, Err(Failure::KeysUnavailable), "{text:.60}");
    }
    let (url, _) = server(vec![answer("200 OK", &good)]).await;
    assert_eq!(verify(&verifier.keys(&KeySource::Remote(RemoteKeys::at(url))), &token).await, Ok(()));
}

#[tokio::test]
async fn keys_come_over_https_from_who_proves_to_be_the_host() {
    let signer = signer(Algorithm::EdDSA, "k1");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = answer("200 OK", &set(&[signer.jwk()]));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 2048]).await;
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let fetched = async |host: &str, roots: String| {
        let web = Web::with_roots(roots.as_bytes()).unwrap();
        let verifier = TokenVerifier::fetching(clock(), Arc::new(web));
        let token = verifier.read(&signer.token(&header(Algorithm::EdDSA), &claims())).unwrap();
        let keys = verifier.keys(&KeySource::Remote(RemoteKeys::at(format!("https://{host}:{port}/keys"))));
        verify(&keys, &token).await
    };
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert_eq!(fetched("localhost", pem::encode_certificates(&[certified.cert.der()])).await, Ok(()));
    assert_eq!(
        fetched("localhost", pem::encode_certificates(&[stranger.cert.der()])).await,
        Err(Failure::KeysUnavailable)
    );
    assert_eq!(
        fetched("127.0.0.1", pem::encode_certificates(&[certified.cert.der()])).await,
        Err(Failure::KeysUnavailable)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = verifier().read(&text);
        let _ = KeySet::from_jwks(&bytes);
        let _ = KeySet::from_jwks(text.as_bytes());
    }

    #[test]
    fn a_token_that_is_changed_anywhere_is_not_good(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let signer = Signer::new(Algorithm::EdDSA);
        let good = signer.token(&header(Algorithm::EdDSA), &claims());
        let mut changed = good.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(changed) = String::from_utf8(changed) && changed != good {
            prop_assert!(judge(&set(&[signer.jwk()]), &changed).is_err());
        }
    }
}
