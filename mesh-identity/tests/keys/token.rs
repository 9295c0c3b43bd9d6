use mesh_core::authn::Part;
use mesh_identity::keys::KeySet;
use mesh_identity::limits::MAX_TOKEN_BYTES;
use proptest::prelude::*;

use super::signer::b64;
use super::*;

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
