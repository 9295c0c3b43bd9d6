use std::sync::Arc;

use super::*;
use crate::string_match::Pattern;

fn exact(kind: SanKind, text: &str) -> SanMatcher {
    SanMatcher { kind, pattern: Pattern::exact(text) }
}

fn bundle(path: &str) -> Option<TrustedCa> {
    Some(TrustedCa::Bundle(DataSource::File(path.into())))
}

#[test]
fn a_name_is_matched_by_its_kind_only() {
    let names = [San::Email("x.y"), San::Dns("x.y"), San::Uri("x.y")];
    for (kind, wanted) in [(SanKind::Email, 0), (SanKind::Dns, 1), (SanKind::Uri, 2)] {
        let matches = names.map(|name| exact(kind, "x.y").is_match(&name));
        assert_eq!(matches.iter().position(|yes| *yes), Some(wanted));
        assert_eq!(matches.iter().filter(|yes| **yes).count(), 1);
    }
    let address = San::Ip("10.0.0.1".parse().unwrap());
    assert!(exact(SanKind::Ip, "10.0.0.1").is_match(&address));
    assert!(!exact(SanKind::Dns, "10.0.0.1").is_match(&address));
}

#[test]
fn wildcards_of_certificates_stand_for_one_label() {
    for (certificate, host, yes) in [
        ("a.example.com", "A.Example.com", true),
        ("*.example.com", "a.example.com", true),
        ("*.Example.com", "a.example.COM", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false),
        ("*.example.com", "a.b.example.com", false),
        ("a*.example.com", "ab.example.com", false),
        ("*.com", "example.com", false),
        ("*", "example", false),
        ("b.example.com", "a.example.com", false),
    ] {
        assert_eq!(exact(SanKind::Dns, host).is_match(&San::Dns(certificate)), yes, "{certificate} for {host}");
    }
    // Not for other kinds, and not for patterns that are not exact.
    assert!(!exact(SanKind::Uri, "a.example.com").is_match(&San::Uri("*.example.com")));
    let prefix = SanMatcher { kind: SanKind::Dns, pattern: Pattern::prefix("a.") };
    assert!(!prefix.is_match(&San::Dns("*.example.com")));
}

#[test]
fn any_name_and_any_pin_is_enough_and_none_asked_is_no_condition() {
    let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
    let open = Validation::default();
    assert!(open.accepts_names([]) && open.accepts_pins(&a, &b));

    let names = vec![exact(SanKind::Dns, "x.y"), exact(SanKind::Uri, "spiffe://d/w")];
    let strict = Validation { names, certificate_pins: vec![a], key_pins: vec![b], ..Validation::default() };
    assert!(strict.accepts_names([San::Dns("other.y"), San::Uri("spiffe://d/w")]));
    assert!(!strict.accepts_names([San::Dns("other.y")]) && !strict.accepts_names([]));
    assert!(strict.accepts_pins(&a, &c) && strict.accepts_pins(&c, &b));
    assert!(!strict.accepts_pins(&b, &a));
}

#[test]
fn a_secret_lies_over_the_default() {
    let default = Validation {
        trusted_ca: bundle("/default"),
        names: vec![exact(SanKind::Dns, "a.x")],
        certificate_pins: vec![[1; 32]],
        key_pins: vec![[2; 32]],
        crl: Some(DataSource::File("/default.crl".into())),
        revocation: Revocation::Leaf,
        max_depth: Some(1),
    };
    assert_eq!(default.overlaid(&Validation::default()), default);
    assert_eq!(Validation::default().overlaid(&default), default);

    let secret = Validation {
        trusted_ca: bundle("/secret"),
        names: vec![exact(SanKind::Dns, "b.x")],
        certificate_pins: vec![[3; 32]],
        key_pins: vec![[4; 32]],
        crl: Some(DataSource::File("/secret.crl".into())),
        revocation: Revocation::Chain,
        max_depth: Some(2),
    };
    let whole = default.overlaid(&secret);
    assert_eq!(whole.trusted_ca, secret.trusted_ca);
    assert_eq!(whole.names, [default.names.clone(), secret.names.clone()].concat());
    assert_eq!(whole.certificate_pins, [[1; 32], [3; 32]]);
    assert_eq!(whole.key_pins, [[2; 32], [4; 32]]);
    assert_eq!((whole.crl, whole.revocation, whole.max_depth), (secret.crl.clone(), Revocation::Leaf, Some(2)));
}

#[test]
fn nothing_is_verified_that_believes_in_nobody() {
    let good = Validation { trusted_ca: bundle("/ca"), ..Validation::default() };
    let half = Validation::default();
    let missing = Err(ValidationError::SecretMissing("s".into()));

    assert_eq!(ValidationSource::Inline(good.clone()).resolve(None), Ok(good.clone()));
    assert_eq!(ValidationSource::Inline(half.clone()).resolve(Some(&good)), Err(ValidationError::NobodyTrusted));
    let source = ValidationSource::Secret("s".into());
    assert_eq!(source.resolve(None), missing);
    assert_eq!(source.resolve(Some(&half)), Err(ValidationError::NobodyTrusted));
    assert_eq!(source.resolve(Some(&good)), Ok(good.clone()));
    let combined = |default: &Validation| ValidationSource::Combined { default: default.clone(), secret: "s".into() };
    assert_eq!(combined(&good).resolve(None), missing);
    assert_eq!(combined(&half).resolve(Some(&half)), Err(ValidationError::NobodyTrusted));
    assert_eq!(combined(&half).resolve(Some(&good)), Ok(good.clone()));
    assert_eq!(combined(&good).resolve(Some(&half)), Ok(good));
}

#[test]
fn keys_are_not_shown() {
    let key = |text: &str| Sensitive(DataSource::Inline(Arc::from(text.as_bytes())));
    let chain = DataSource::Inline(Arc::from(&b"chain"[..]));
    let certificate = Certificate { chain, key: key("0123"), ocsp_staple: None };
    let secrets = [("a".into(), key("0123"))].into();
    for kind in [SecretKind::Certificate(certificate), SecretKind::Generic { secret: Some(key("0123")), secrets }] {
        let shown = format!("{:?}", Secret { name: "s".into(), kind });
        assert!(shown.contains("Inline(..)") && !shown.contains("48, 49") && !shown.contains("0123"), "{shown}");
    }
}

#[test]
fn secrets_that_are_waited_for() {
    let mut upstream = UpstreamTls::new(ValidationSource::Secret("roots".into()));
    upstream.certificate = Some(CertificateSource::Secret("own".into()));
    assert_eq!(upstream.secrets().map(|name| name.as_str()).collect::<Vec<_>>(), ["own", "roots"]);

    let provider = ProviderInstance { instance: "p".into(), certificate: "".into() };
    let mut downstream =
        DownstreamTls::new(vec![CertificateSource::Secret("own".into()), CertificateSource::Provider(provider)]);
    assert_eq!(downstream.secrets().map(|name| name.as_str()).collect::<Vec<_>>(), ["own"]);
    downstream.client = ClientCertificate::Required(ValidationSource::Secret("roots".into()));
    assert_eq!(downstream.secrets().map(|name| name.as_str()).collect::<Vec<_>>(), ["own", "roots"]);
}

#[test]
fn names_of_parameters_are_read_back() {
    for suite in CipherSuite::ALL {
        assert_eq!(CipherSuite::parse(suite.as_str()), Some(*suite));
    }
    for group in Group::ALL {
        assert_eq!(Group::parse(group.as_str()), Some(*group));
    }
    assert_eq!(CipherSuite::parse("AES128-SHA"), None);
}
