//! What identity costs: SVIDs issued beside the bare signature, chains verified with one, ten and a thousand trust domains
//! known, and verified while a thousand bundles change; tokens of requests verified and remembered. Each ratio is of one
//! run, interleaved.
//!
//! `cargo bench -p mesh-benches --bench identity [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_core::authn::{
    Authenticate, Authentication, Demand, KeySource, Provider, Requirement, Rule, Verification, Verifier as _,
};
use mesh_core::filter::{Connection, Exchange, Filter as _, Step};
use mesh_core::live::Live;
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_core::route::{PathMatch, RouteMatch};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::keys::{KeySet, TokenVerifier};
use mesh_identity::source::{LocalSource, SvidSource as _};
use mesh_identity::svid::X509Svid;
use mesh_identity::trust::{Source, TrustStore};
use mesh_identity::verify::{self, Purpose};

/// Rounds in which the things that are compared take turns.
const ROUNDS: usize = 5;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let span = if short { Duration::from_millis(50) } else { Duration::from_millis(600) };
    issuing(span);
    trust_domains(span);
    tokens(span);
    changing(if short { Duration::from_millis(300) } else { Duration::from_secs(5) });
}

/// How often something can be done per second, for so long.
fn rate(span: Duration, mut once: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < span {
        for _ in 0..16 {
            once();
        }
        count += 16;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn authority(name: &str) -> Arc<Authority> {
    Arc::new(Authority::ephemeral(parse_trust_domain(name).unwrap(), Rules::default(), Arc::new(SystemClock)).unwrap())
}

fn issuing(span: Duration) {
    let authority = authority("td.test");
    let id = parse_spiffe_id("spiffe://td.test/ns/shop/sa/web").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let (random, message) = (SystemRandom::new(), vec![7; 500]);
    let signature = pair.sign(&random, &message).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref().to_vec());
    // As a library does it that makes certificates: no policy, nothing verified.
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
    let mut leaf = rcgen::CertificateParams::default();
    leaf.subject_alt_names = vec![rcgen::SanType::URI(id.to_string().try_into().unwrap())];

    let mut all: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        all[0].push(rate(span, || {
            let _ = black_box(pair.sign(&random, &message).unwrap());
        }));
        all[1].push(rate(span, || {
            // The request's own signature, ours, and ours verified: what the rules demand.
            public.verify(&message, signature.as_ref()).unwrap();
            let _ = black_box(pair.sign(&random, &message).unwrap());
            public.verify(&message, signature.as_ref()).unwrap();
        }));
        all[2].push(rate(span, || drop(black_box(leaf.signed_by(&key, &issuer).unwrap()))));
        all[3].push(rate(span, || {
            drop(black_box(authority.issue_to_key(&request, &id, None, &Names::default()).unwrap()));
        }));
    }
    let [bare, demanded, library, issued] = all.map(median);
    println!("SVIDs per second and core (P-256)");
    println!("    bare signature                          {bare:9.0}");
    println!("    request verified, signed, verified      {demanded:9.0}");
    println!("    certificate by rcgen, nothing verified  {library:9.0}");
    println!(
        "    issue                                   {issued:9.0}   {:.2} of the bare signature, {:.2} of the \
         signatures that the rules demand, {:.2} of rcgen",
        issued / bare,
        issued / demanded,
        issued / library
    );
}

fn svid(authority: &Arc<Authority>) -> X509Svid {
    let source = LocalSource::new(Arc::clone(authority), Duration::from_secs(3600), Names::default());
    let id = parse_spiffe_id(&format!("spiffe://{}/web", authority.trust_domain())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(source.fetch(&id)).unwrap().svid
}

/// One bundle for each of so many trust domains. Keys are few and shared: what counts here is how many there are.
fn bundles(count: usize) -> Vec<Arc<Bundle>> {
    let root = authority("some.test").bundle();
    let named = |n: usize| {
        let document = root.to_document();
        let domain = parse_trust_domain(&format!("td-{n}.test")).unwrap();
        Arc::new(Bundle::from_document(domain, document.as_bytes()).unwrap().bundle)
    };
    (0..count).map(named).collect()
}

fn trust_domains(span: Duration) {
    let authority = authority("td.test");
    let svid = svid(&authority);
    let (now, foreign) = (SystemTime::now(), bundles(999));
    let set = |count: usize| {
        let others = foreign.iter().take(count - 1).cloned();
        others.fold(BundleSet::default().with(authority.bundle()), |set, bundle| set.with(bundle))
    };
    let sets = [1, 10, 1_000].map(|count| (count, Live::constant(set(count))));
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((_, set), rates) in sets.iter().zip(&mut rates) {
            rates.push(rate(span, || {
                let _ = black_box(verify::peer(Some(svid.chain()), &set.load(), Purpose::Server, now).unwrap());
            }));
        }
    }
    println!("chains verified per second and core, by trust domains known");
    let first = median(rates[0].clone());
    for ((count, _), rates) in sets.iter().zip(rates) {
        let rate = median(rates);
        println!("    {count:5}  {rate:9.0}   {:.2}", rate / first);
    }
}

/// Tokens of requests, as a filter sees them: the bare signature, a token that was never seen, one that is remembered, and a
/// whole request with that one.
fn tokens(span: Duration) {
    println!("tokens of requests per second and core");
    for name in ["RS256", "ES256"] {
        let (jwk, text, bare) = signed_token(name);
        let verifier = Arc::new(TokenVerifier::new(Arc::new(SystemClock)));
        let text_of_set = serde_json::json!({ "keys": [jwk] }).to_string();
        let set = KeySet::from_jwks(text_of_set.as_bytes()).unwrap();
        let provider = Provider::new("https://i.test", KeySource::Inline(text_of_set.into()));
        let rule = Rule {
            matcher: RouteMatch::new(PathMatch::prefix("/")),
            demand: Demand::Inline(Requirement::provider("p")),
        };
        let config = Authentication {
            providers: [("p".into(), provider.clone())].into(),
            rules: vec![rule],
            ..Authentication::default()
        };
        let forgetful = TokenVerifier::new(Arc::new(SystemClock));
        let filter = Authenticate::new(config, Arc::<TokenVerifier>::clone(&verifier)).unwrap();
        let keys = verifier.keys(&provider.keys);
        let address = "10.0.0.1:1".parse().unwrap();
        let connection = Arc::new(Connection::new(address, address));
        let value = http::HeaderValue::try_from(format!("Bearer {text}")).unwrap();
        let mut all: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            all[0].push(rate(span, &bare));
            all[1].push(rate(span, || set.verify(&forgetful.read(&text).unwrap()).unwrap()));
            all[2].push(rate(span, || {
                let token = verifier.read(&text).unwrap();
                assert!(matches!(keys.verify(&token), Verification::Done(Ok(()))));
            }));
            all[3].push(rate(span, || {
                let mut head = http::Request::new(()).into_parts().0;
                head.headers.insert(http::header::AUTHORIZATION, value.clone());
                let mut exchange = Exchange::new(Arc::clone(&connection));
                assert!(matches!(filter.on_request(&mut head, &mut exchange), Step::Next));
            }));
        }
        let [bare, fresh, known, request] = all.map(median);
        println!("    {name}  bare signature {bare:9.0}   never seen {fresh:9.0} ({:.2} of it)", fresh / bare);
        println!(
            "           remembered {known:13.0} ({:.1} of never seen)   a whole request with it {request:9.0}",
            known / fresh
        );
    }
}

/// A key as a JWK, a token that it signed, and the verification of the signature alone.
fn signed_token(name: &str) -> (serde_json::Value, String, Box<dyn Fn()>) {
    let (b64, random) = (|bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes), SystemRandom::new());
    let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let payload = serde_json::json!({
        "iss": "https://i.test", "sub": "joe@example.com", "aud": ["shop", "cart"], "exp": expires, "iat": expires - 3600,
        "jti": "3b5f7c1e-7f3e-4f0a-9a41-0a8f5d4f2c11", "scope": "openid profile email",
        "realm_access": {"roles": ["viewer", "editor", "admin"]}
    });
    let header = serde_json::json!({"alg": name, "kid": "k1", "typ": "JWT"});
    let message = format!("{}.{}", b64(header.to_string().as_bytes()), b64(payload.to_string().as_bytes()));
    let (jwk, signature, bare): (_, Vec<u8>, UnparsedPublicKey<Vec<u8>>) = if name == "RS256" {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
        let public = pair.public_key();
        let n = b64(public.modulus().big_endian_without_leading_zero());
        let e = b64(public.exponent().big_endian_without_leading_zero());
        let jwk = serde_json::json!({"kty": "RSA", "n": n, "e": e, "kid": "k1"});
        (jwk, signature, UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref().to_vec()))
    } else {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
        let jwk = serde_json::json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k1"});
        let signature = pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec();
        (jwk, signature, UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))
    };
    let text = format!("{message}.{}", b64(&signature));
    (jwk, text, Box::new(move || bare.verify(message.as_bytes(), &signature).unwrap()))
}

/// Verifies chains for so long; gives how many, the longest time of one in microseconds, and how many took over a millisecond.
fn verifying(set: &Live<BundleSet>, svid: &X509Svid, span: Duration) -> (u64, u64, u64) {
    let (start, now) = (Instant::now(), SystemTime::now());
    let (mut count, mut longest, mut slow) = (0, 0, 0);
    while start.elapsed() < span {
        let one = Instant::now();
        let _ = black_box(verify::peer(Some(svid.chain()), &set.load(), Purpose::Server, now).unwrap());
        let taken = u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX);
        count += 1;
        longest = longest.max(taken);
        slow += u64::from(taken > 1_000);
    }
    (count, longest, slow)
}

fn changing(span: Duration) {
    let authority = authority("td.test");
    let svid = svid(&authority);
    let trust = TrustStore::builder(Arc::new(SystemClock)).build();
    trust.own(authority.bundle());
    let two = [bundles(1_000), bundles(1_000)];
    for bundle in &two[0] {
        trust.confirm(Arc::clone(bundle), Source::Endpoint).unwrap();
    }
    let live = trust.bundles();
    println!(
        "chains verified while the bundles of 1,000 trust domains change, all together ten times a second, and singly"
    );
    let quiet = verifying(&live, &svid, span);
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    // What any busy thread does to this machine, whatever it is busy with.
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sum = vec![1_u8; 64 * 1024];
            while !stop.load(Ordering::Relaxed) {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sum);
                sum[..32].copy_from_slice(hash.as_ref());
            }
        });
        let beside = verifying(&live, &svid, span);
        stop.store(true, Ordering::Relaxed);
        beside
    });
    let update = |at_once: usize, pause: Duration| {
        stop.store(false, Ordering::Relaxed);
        changes.store(0, Ordering::Relaxed);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                let all = (0_usize..).flat_map(|round| two[(round + 1) % 2].chunks(at_once));
                for some in all {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let offered = some.iter().map(|bundle| Arc::new(Bundle::clone(bundle).with_sequence(None)));
                    drop(trust.confirm_all(offered, Source::Endpoint));
                    changes.fetch_add(some.len() as u64, Ordering::Relaxed);
                    std::thread::sleep(pause);
                }
            });
            let seen = verifying(&live, &svid, span);
            stop.store(true, Ordering::Relaxed);
            seen
        });
        (seen, changes.load(Ordering::Relaxed))
    };
    // A thousand endpoints that are asked once a minute make 17 changes per second.
    let (together, all) = update(1_000, Duration::from_millis(100));
    let (single, one_by_one) = update(1, Duration::from_millis(1));
    let show = |name: &str, (count, longest, slow): (u64, u64, u64), changes: u64| {
        let per_second = count as f64 / span.as_secs_f64();
        println!("    {name:9} {per_second:9.0}/s   longest {longest:6} us   over 1 ms: {slow}   changes {changes}");
    };
    show("unchanged", quiet, 0);
    show("hashing", beside, 0);
    show("together", together, all);
    show("single", single, one_by_one);
    println!(
        "    to unchanged: hashing {:.2}, together {:.2}, single {:.2}",
        beside.0 as f64 / quiet.0 as f64,
        together.0 as f64 / quiet.0 as f64,
        single.0 as f64 / quiet.0 as f64
    );
}
