use mesh_identity::keys::{KeySet, KeySetError, Skipped};
use mesh_identity::limits::{MAX_KEY_SET_BYTES, MAX_KEY_SET_KEYS};

use super::signer::b64;
use super::*;

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
