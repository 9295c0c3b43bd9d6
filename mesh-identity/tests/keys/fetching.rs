use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_identity::keys::Document;
use mesh_identity::limits::MAX_KEY_SET_BYTES;

use super::*;

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
