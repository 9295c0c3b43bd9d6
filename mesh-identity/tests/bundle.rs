//! Trust bundles in SPIFFE's format: the matrix of the Trust Domain and Bundle document.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mesh_core::name::{TrustDomain, parse_trust_domain};
use mesh_identity::bundle::{Bundle, Document, DocumentError, JwtAuthority, Skipped, read_map, write_map};
use mesh_identity::jose::SigningKey;
use mesh_test_support::pki::{Ca, Spec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn td() -> TrustDomain {
    parse_trust_domain("td.test").unwrap()
}

fn read(text: &str) -> Result<Document, DocumentError> {
    Bundle::from_document(td(), text.as_bytes())
}

fn x509(ca: &Ca) -> Value {
    json!({"kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(&ca.certificate)]})
}

fn bundle() -> Bundle {
    let roots = [Ca::root("td.test"), Ca::root("td.test")].map(|ca| ca.certificate).to_vec();
    let jwt = ["one", "two"].map(|kid| JwtAuthority::new(kid, SigningKey::generate().unwrap().public())).to_vec();
    let bundle = Bundle::new(td(), roots).unwrap().with_jwt_authorities(jwt);
    bundle.with_sequence(Some(7)).with_refresh_hint(Some(Duration::from_secs(300)))
}

#[test]
fn what_is_no_document() {
    for (text, wanted) in [
        ("{}", DocumentError::NoKeys),
        (r#"{"keys":{}}"#, DocumentError::NoKeys),
        ("[]", DocumentError::NoObject),
        (r#"{"keys":[],"spiffe_sequence":-1}"#, DocumentError::Sequence),
        (r#"{"keys":[],"spiffe_sequence":1.5}"#, DocumentError::Sequence),
        (r#"{"keys":[],"spiffe_sequence":"1"}"#, DocumentError::Sequence),
        (r#"{"keys":[],"spiffe_refresh_hint":"1"}"#, DocumentError::RefreshHint),
        (r#"{"keys":[],"spiffe_refresh_hint":1.5}"#, DocumentError::RefreshHint),
    ] {
        assert_eq!(read(text), Err(wanted), "{text}");
    }
    for text in [
        "",
        "keys",
        "{\"keys\":[]",
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[],"spiffe_sequence":1,"spiffe_sequence":2}"#,
    ] {
        assert!(matches!(read(text), Err(DocumentError::Json(_))), "{text}");
    }
    assert!(matches!(Bundle::from_document(td(), b"{\"keys\":[\xff]}"), Err(DocumentError::Json(_))));
    let many = json!({ "keys": vec![json!({}); 1001] }).to_string();
    assert_eq!(read(&many), Err(DocumentError::TooManyKeys(1001)));
    assert!(matches!(read(&" ".repeat(4 * 1024 * 1024 + 1)), Err(DocumentError::TooLarge(_))));
}

#[test]
fn an_empty_bundle_trusts_nothing() {
    let Document { bundle, skipped } = read(r#"{"keys":[],"other":1}"#).unwrap();
    assert!(bundle.authorities().is_empty() && bundle.jwt_authorities().is_empty() && skipped.is_empty());
}

#[test]
fn numbers_are_exact() {
    for sequence in [0, (1_u64 << 53) + 1, 1 << 63, u64::MAX] {
        let read = read(&format!(r#"{{"keys":[],"spiffe_sequence":{sequence}}}"#)).unwrap();
        assert_eq!(read.bundle.sequence(), Some(sequence));
    }
    for (hint, seconds) in
        [("0", 0), ("-5", 0), ("60", 60), ("315360000", 31_536_000), ("18446744073709551615", 31_536_000)]
    {
        let read = read(&format!(r#"{{"keys":[],"spiffe_refresh_hint":{hint}}}"#)).unwrap();
        assert_eq!(read.bundle.refresh_hint(), Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn one_bad_key_spoils_no_bundle() {
    let ca = Ca::root("td.test");
    let other = Ca::root("td.test");
    let good = x509(&ca);
    let leaf = ca.leaf(&Spec::new("spiffe://td.test/a")).chain.remove(0);
    let change = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let signing = SigningKey::generate().unwrap();
    let jwt = Bundle::of(td(), vec![], vec![JwtAuthority::new("one", signing.public())]).to_document();
    let jwt: Value = serde_json::from_str(&jwt).unwrap();
    let jwt = &jwt["keys"][0];
    let mut nameless = jwt.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let mut secret = jwt.clone();
    secret["d"] = json!("AAAA");
    let mut other_key = good.clone();
    for member in ["x", "y", "crv"] {
        other_key[member] = jwt[member].clone();
    }
    type Row = (&'static str, Value, fn(&Skipped) -> bool);
    let rows: Vec<Row> = vec![
        ("B03 kty", change("kty", json!("what")), |reason| matches!(reason, Skipped::Key(_))),
        ("B03 use", change("use", json!("sig")), |reason| matches!(reason, Skipped::Use(_))),
        ("B03 case", change("use", json!("X509-SVID")), |reason| matches!(reason, Skipped::Use(_))),
        ("B03 no use", change("use", Value::Null), |reason| matches!(reason, Skipped::Use(_))),
        ("B04", change("x5c", json!([])), |reason| *reason == Skipped::NoCertificate),
        ("B04 absent", change("x5c", Value::Null), |reason| *reason == Skipped::NoCertificate),
        ("B07 base64url", change("x5c", json!([URL_SAFE_NO_PAD.encode(&ca.certificate)])), |_| true),
        ("B07 lines", change("x5c", json!([format!("{}\n", STANDARD.encode(&ca.certificate))])), |reason| {
            *reason == Skipped::NoCertificate
        }),
        ("B07 trailing", change("x5c", json!([STANDARD.encode([ca.certificate.as_ref(), &[0]].concat())])), |reason| {
            matches!(reason, Skipped::Certificate(_))
        }),
        ("B07 a leaf", change("x5c", json!([STANDARD.encode(&leaf)])), |reason| {
            matches!(reason, Skipped::Certificate(_))
        }),
        ("B07 other key", other_key, |reason| *reason == Skipped::OtherKey),
        ("B08", nameless, |reason| *reason == Skipped::NoKeyId),
        ("B09", secret, |reason| *reason == Skipped::Private),
        ("no object", json!(1), |reason| *reason == Skipped::NoObject),
    ];
    for (row, key, wanted) in rows {
        let text = json!({ "keys": [key, x509(&other)] }).to_string();
        let Document { bundle, skipped } = read(&text).unwrap();
        assert_eq!(bundle.authorities().len(), 1, "{row}");
        assert!(skipped.len() == 1 && skipped[0].0 == 0 && wanted(&skipped[0].1), "{row}: {skipped:?}");
    }
    // B05: the first of two certificates; B06: a name on an X.509 key.
    let two = change("x5c", json!([STANDARD.encode(&ca.certificate), STANDARD.encode(&other.certificate)]));
    let document = read(&json!({ "keys": [two, change("kid", json!("x"))] }).to_string()).unwrap();
    assert_eq!(document.bundle.authorities()[0].certificate(), &ca.certificate);
    assert_eq!(document.bundle.authorities().len(), 1);
    // B08: two of one name, neither is used.
    let twice = read(&json!({ "keys": [jwt, jwt] }).to_string()).unwrap();
    assert!(twice.bundle.jwt_authorities().is_empty());
    assert_eq!(twice.skipped, [(1, Skipped::KeyIdTwice("one".into()))]);
}

#[test]
fn written_and_read_again() {
    let bundle = bundle();
    let text = bundle.to_document();
    let again = read(&text).unwrap();
    assert_eq!(again, Document { bundle: bundle.clone(), skipped: vec![] });
    assert_eq!(again.bundle.to_document(), text);
    // What other implementations refuse a bundle for must not stand in it.
    let value: Value = serde_json::from_str(&text).unwrap();
    for key in value["keys"].as_array().unwrap() {
        match key["use"].as_str().unwrap() {
            "x509-svid" => assert!(key["x5c"].as_array().unwrap().len() == 1 && key.get("kid").is_none()),
            "jwt-svid" => assert!(key["kid"].is_string() && key.get("x5c").is_none()),
            other => panic!("{other}"),
        }
    }
    let jwks = Bundle::from_jwks(td(), bundle.to_jwks().as_bytes()).unwrap();
    assert_eq!(jwks.bundle.jwt_authorities(), bundle.jwt_authorities());
    assert!(jwks.bundle.authorities().is_empty());
    assert_eq!(Bundle::from_der(td(), &bundle.to_der()).unwrap().authorities(), bundle.authorities());
    assert!(Bundle::from_der(td(), &bundle.to_der()[1..]).is_err());
}

#[test]
fn maps() {
    let other =
        Bundle::new(parse_trust_domain("other.test").unwrap(), vec![Ca::root("other.test").certificate]).unwrap();
    let bundle = bundle();
    let text = write_map([&bundle, &other]);
    let read: Vec<Bundle> = read_map(text.as_bytes()).unwrap().into_iter().map(|document| document.bundle).collect();
    assert_eq!(read, [other, bundle]);
    for (bad, wanted) in [
        (r#"{"trust_domains":{"TD.test":{"keys":[]}}}"#, DocumentError::TrustDomain("TD.test".into())),
        (
            r#"{"trust_domains":{"spiffe://td.test":{"keys":[]}}}"#,
            DocumentError::TrustDomain("spiffe://td.test".into()),
        ),
        (r#"{"trust_domains":[]}"#, DocumentError::NoTrustDomains),
        (
            r#"{"trust_domains":{"a":{"keys":[]},"b":{}}}"#,
            DocumentError::Of { trust_domain: "b".into(), source: Box::new(DocumentError::NoKeys) },
        ),
        (
            r#"{"trust_domains":{"a":[]}}"#,
            DocumentError::Of { trust_domain: "a".into(), source: Box::new(DocumentError::NoObject) },
        ),
    ] {
        assert_eq!(read_map(bad.as_bytes()), Err(wanted), "{bad}");
    }
    let twice = r#"{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}"#;
    assert!(matches!(read_map(twice.as_bytes()), Err(DocumentError::Json(_))));
    let large = format!("{text}{}", " ".repeat(4 * 1024 * 1024));
    assert_eq!(read_map(large.as_bytes()), Err(DocumentError::TooLarge(large.len())));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Bundle::from_document(td(), &bytes);
        let _ = read_map(&bytes);
        let _ = Bundle::from_der(td(), &bytes);
    }
}
