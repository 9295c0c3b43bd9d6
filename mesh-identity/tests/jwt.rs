//! Verification of JWT-SVIDs: the matrix of the JWT-SVID document, rows named by what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod signer;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_core::name::parse_trust_domain;
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::jose::{Algorithm, JwsError};
use mesh_identity::svid::JwtSvid;
use mesh_identity::verify::{Audiences, JwtError, jwt};
use proptest::prelude::*;
use serde_json::{Value, json};
use signer::{Signer, b64};

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn trust_of(domain: &str, keys: &[Value]) -> BundleSet {
    let text = json!({ "keys": keys }).to_string();
    let read = Bundle::from_document(parse_trust_domain(domain).unwrap(), text.as_bytes()).unwrap();
    BundleSet::default().with(read.bundle)
}

fn claims() -> Value {
    json!({"sub": "spiffe://td.test/web", "aud": ["db"], "exp": NOW + 300, "iat": NOW})
}

fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => {
                base.as_object_mut().unwrap().remove(name);
            }
            value => base[name] = value.clone(),
        }
    }
    base
}

fn check(token: &str, bundles: &BundleSet) -> Result<JwtSvid, JwtError> {
    jwt(token, bundles, &Audiences::new(["db"]).unwrap(), now())
}

#[test]
fn all_nine_algorithms() {
    for algorithm in Algorithm::SVID {
        let signer = Signer::new(algorithm);
        let bundles = trust_of("td.test", &[signer.jwk()]);
        let token = signer.token(&json!({"alg": algorithm.name(), "kid": "k1", "typ": "JWT"}), &claims());
        let svid = check(&token, &bundles).unwrap_or_else(|error| panic!("{algorithm}: {error:?}"));
        assert_eq!(svid.id().to_string(), "spiffe://td.test/web");
        assert_eq!(svid.audience(), ["db"]);
        assert!(!format!("{svid:?}").contains(&token[..20]), "a token never reaches a log");
        // Without `kid`, the keys that fit are tried (J12).
        assert!(check(&signer.token(&json!({"alg": algorithm.name()}), &claims()), &bundles).is_ok());
        // The same key under another algorithm (J14).
        for other in Algorithm::SVID.into_iter().filter(|other| *other != algorithm) {
            let token = signer.token(&json!({"alg": other.name(), "kid": "k1"}), &claims());
            assert!(check(&token, &bundles).is_err(), "{algorithm} passed as {other}");
        }
    }
}

#[test]
fn headers() {
    let signer = Signer::new(Algorithm::ES256);
    let bundles = trust_of("td.test", &[signer.jwk()]);
    let check_header = |header: &str| check(&signer.raw(header, &claims().to_string()), &bundles);
    for bad in ["null", "\"none\"", "\"None\"", "\"HS256\"", "\"EdDSA\"", "\"ES256K\"", "\"es256\"", "7"] {
        let refused = check_header(&format!("{{\"alg\":{bad},\"kid\":\"k1\"}}"));
        assert!(matches!(refused, Err(JwtError::Token(JwsError::Algorithm(_)))), "{bad}: {refused:?}");
    }
    assert!(matches!(check_header("{}"), Err(JwtError::Token(JwsError::Algorithm(_)))));
    for typ in ["\"jwt\"", "\"at+jwt\"", "\"wit+jwt\"", "1"] {
        let refused = check_header(&format!("{{\"alg\":\"ES256\",\"typ\":{typ}}}"));
        assert_eq!(refused, Err(JwtError::Header("typ".into())), "{typ}");
    }
    assert!(check_header("{\"alg\":\"ES256\",\"typ\":\"JOSE\"}").is_ok());
    for member in ["jwk", "jku", "x5c", "x5u", "x5t", "cty", "crit", "b64", "enc", "mine"] {
        let refused = check_header(&format!("{{\"alg\":\"ES256\",\"{member}\":\"x\"}}"));
        assert_eq!(refused, Err(JwtError::Header(member.into())));
    }
    let twice = check_header("{\"alg\":\"ES256\",\"alg\":\"none\"}");
    assert!(matches!(twice, Err(JwtError::Token(JwsError::Json("header", _)))));
    assert!(matches!(check_header("[]"), Err(JwtError::Token(JwsError::NoObject("header")))));
    let refused = check_header("{\"alg\":\"ES256\",\"kid\":\"k2\"}");
    assert!(matches!(refused, Err(JwtError::UnknownKey { .. })), "{refused:?}");
}

#[test]
fn claims_that_are_wrong() {
    let signer = Signer::new(Algorithm::ES256);
    let bundles = trust_of("td.test", &[signer.jwk()]);
    let header = json!({"alg": "ES256", "kid": "k1"});
    let checked = |changes: Value| check(&signer.token(&header, &with(claims(), changes)), &bundles).map(|_| ());
    let id = || "spiffe://td.test/web".to_owned();
    let claim = |name| Err(JwtError::Claim(name));
    let rows = [
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": 1}), claim("sub")),
        (json!({"sub": "spiffe://td.test"}), claim("sub")),
        (json!({"sub": "spiffe://other.test/a"}), Err(JwtError::UnknownTrustDomain("other.test".into()))),
        (json!({"aud": null}), claim("aud")),
        (json!({"aud": []}), claim("aud")),
        (json!({"aud": ""}), claim("aud")),
        (json!({"aud": 1}), claim("aud")),
        (json!({"aud": ["db", 1]}), claim("aud")),
        (json!({"aud": "other"}), Err(JwtError::OtherAudience { id: id(), audience: vec!["other".into()] })),
        (json!({"aud": "db"}), Ok(())),
        (json!({"aud": ["other", "db"]}), Ok(())),
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": "1800000300"}), claim("exp")),
        (json!({"exp": -1}), claim("exp")),
        (json!({"exp": 1e300}), claim("exp")),
        (json!({"exp": NOW - 31}), Err(JwtError::Expired(id()))),
        (json!({"exp": NOW - 29}), Ok(())),
        (json!({"exp": 1_800_000_000.5}), Ok(())),
        (json!({"nbf": NOW + 31}), Err(JwtError::NotValidYet(id()))),
        (json!({"iat": NOW + 31}), Err(JwtError::NotValidYet(id()))),
        (json!({"nbf": NOW + 29, "iat": NOW + 29}), Ok(())),
        (json!({"nbf": "now"}), claim("nbf")),
    ];
    for (changes, wanted) in rows {
        assert_eq!(checked(changes.clone()), wanted, "{changes}");
    }
    for sub in
        ["web", "spiffe://TD.test/web", "spiffe://td.test/web/", "https://td.test/web", "spiffe://td.test/../web"]
    {
        assert!(matches!(checked(json!({ "sub": sub })), Err(JwtError::Subject(_))), "{sub}");
    }
    let twice = r#"{"sub":"spiffe://td.test/web","sub":"spiffe://td.test/db","aud":"db","exp":1900000000}"#;
    let refused = check(&signer.raw(&header.to_string(), twice), &bundles);
    assert!(matches!(refused, Err(JwtError::Token(JwsError::Json("payload", _)))));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert!(check(&signer.raw(&header.to_string(), &deep), &bundles).is_err());
    assert_eq!(Audiences::new(Vec::<String>::new()), Err(JwtError::NoAudiences));
    assert_eq!(Audiences::new([""]), Err(JwtError::NoAudiences));
}

#[test]
fn shapes_and_signatures() {
    let signer = Signer::new(Algorithm::ES256);
    let bundles = trust_of("td.test", &[signer.jwk()]);
    let good = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    assert!(check(&good, &bundles).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = [parts[0], parts[1], parts[2]];
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = as_der(&raw);
    let zero = vec![0; 64];
    for bad in [
        String::new(),
        format!("{header}.{payload}"),
        format!("{good}.x"),
        format!("{good}.x.y"),
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}\n"),
        format!(" {good}"),
        format!("{header}.{}.{signature}", b64(with(claims(), json!({"aud": "db"})).to_string())),
        format!("{}.{payload}.{signature}", b64(r#"{"alg":"ES256","kid":"k1" }"#)),
        format!("{header}.{payload}.{}", b64(&der)),
        format!("{header}.{payload}.{}", b64(&raw[..63])),
        format!("{header}.{payload}.{}", b64([&raw[..], &[0]].concat())),
        format!("{header}.{payload}.{}", b64(&zero)),
        format!("{header}.{payload}.{}", b64([&[0; 32][..], &raw[32..]].concat())),
    ] {
        assert!(check(&bad, &bundles).is_err(), "{bad}");
    }
    assert!(matches!(check(&"a".repeat(16 * 1024 + 1), &bundles), Err(JwtError::Token(JwsError::TooLarge(_)))));

    // Another domain's key of the same name (J11), a key that was removed (J19), a stale bundle.
    let foreign = Signer::new(Algorithm::ES256);
    let both = trust_of("td.test", &[signer.jwk()]);
    let both = both.with(Bundle::clone(trust_of("other.test", &[foreign.jwk()]).iter().next().unwrap()));
    let forged = foreign.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    assert_eq!(check(&forged, &both), Err(JwtError::Signature("spiffe://td.test/web".into())));
    assert!(matches!(check(&good, &trust_of("td.test", &[])), Err(JwtError::UnknownKey { .. })));
    let trusted = bundles.trusted(&parse_trust_domain("td.test").unwrap()).unwrap().clone();
    let stale = BundleSet::default().with_all([trusted.until(Some(now() - Duration::from_secs(1)))]);
    assert_eq!(check(&good, &stale), Err(JwtError::StaleBundle("td.test".into())));
}

/// An ECDSA signature as DER has it, which a token must not.
fn as_der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[2, 33, 0][..], bytes].concat();
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

#[test]
fn keys_that_are_not_for_tokens() {
    let signer = Signer::new(Algorithm::ES256);
    let token = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    for wrong in [json!("x509-svid"), json!("wit-svid"), json!("sig"), Value::Null, json!("JWT-SVID")] {
        let bundles = trust_of("td.test", &[with(signer.jwk(), json!({ "use": wrong }))]);
        assert!(matches!(check(&token, &bundles), Err(JwtError::UnknownKey { .. })), "{wrong}");
    }
    // `alg` of the key (J14), weak and malformed keys (J16).
    let rsa = Signer::new(Algorithm::RS256);
    let limited = trust_of("td.test", &[with(rsa.jwk(), json!({"alg": "PS256"}))]);
    let token = rsa.token(&json!({"alg": "RS256", "kid": "k1"}), &claims());
    assert!(matches!(check(&token, &limited), Err(JwtError::UnknownKey { .. })));
    for weak in [
        with(rsa.jwk(), json!({"e": b64([1])})),
        with(rsa.jwk(), json!({"e": b64([2])})),
        with(rsa.jwk(), json!({"n": b64([0xff; 128])})),
        with(signer.jwk(), json!({"y": b64([7; 32])})),
        with(signer.jwk(), json!({"crv": "P-384"})),
        with(signer.jwk(), json!({"kty": "oct"})),
    ] {
        let text = json!({ "keys": [weak] }).to_string();
        let read = Bundle::from_document(parse_trust_domain("td.test").unwrap(), text.as_bytes()).unwrap();
        assert_eq!(read.bundle.jwt_authorities().len(), 0, "{text}");
        assert_eq!(read.skipped.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn altered_tokens_are_refused_and_never_panic(index in any::<usize>(), change in 1_u8..128) {
        let signer = Signer::new(Algorithm::ES256);
        let bundles = trust_of("td.test", &[signer.jwk()]);
        let good = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
        let mut bytes = good.clone().into_bytes();
        let at = index % bytes.len();
        bytes[at] ^= change;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        prop_assert!(text == good || check(&text, &bundles).is_err());
    }
}
