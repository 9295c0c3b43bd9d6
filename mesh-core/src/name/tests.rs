use proptest::prelude::*;

use super::*;

#[test]
fn hostnames() {
    for (input, want) in [
        ("a", Some("a")),
        ("A.b.", Some("a.b")),
        ("*.b.c", Some("*.b.c")),
        ("my_svc.ns", Some("my_svc.ns")),
        ("", None),
        (".", None),
        ("a..b", None),
        ("-a", None),
        ("a-", None),
        ("a.*.c", None),
        ("*", None),
        ("a b", None),
        ("10.0.0.1", None),
        ("::1", None),
        ("a/b", None),
    ] {
        assert_eq!(Hostname::parse(input).ok().as_ref().map(Hostname::as_str), want, "{input:?}");
    }
    let label = "a".repeat(63);
    assert!(Hostname::parse(&label).is_ok());
    assert!(Hostname::parse(&format!("{label}a")).is_err());
    let long = [label.as_str(); 4].join(".");
    assert_eq!(long.len(), 255);
    assert!(Hostname::parse(&long).is_err());
    assert!(Hostname::parse(&long[2..]).is_ok());
}

#[test]
fn wildcards_from_most_to_least_specific() {
    let host = Hostname::parse("a.b.c").unwrap();
    assert_eq!(host.wildcards().collect::<Vec<_>>(), ["*.b.c", "*.c"]);
}

#[test]
fn spiffe_ids_only_in_canonical_form() {
    for good in ["spiffe://td", "spiffe://td/a", "spiffe://10.0.0.1/x", "spiffe://a_b/...", "spiffe://td/ns/a/sa/b"] {
        assert_eq!(parse_spiffe_id(good).unwrap().to_string(), good);
    }
    for bad in [
        "",
        "spiffe:",
        "spiffe:/",
        "spiffe://",
        "spiffe:///path",
        "td/path",
        "http://td/x",
        " spiffe://td/x",
        "SPIFFE://td/x",
        "spiffe://TD/x",
        "spiffe://user@td/x",
        "spiffe://td:8443/x",
        "spiffe://td:/x",
        "spiffe://t%41/x",
        "spiffe://[::1]/x",
        "spiffe://td/",
        "spiffe://td/a/",
        "spiffe://td//a",
        "spiffe://td/a//b",
        "spiffe://td/.",
        "spiffe://td/../a",
        "spiffe://td/a?",
        "spiffe://td/a#",
        "spiffe://td/a?b=c",
        "spiffe://td/ü",
        "spiffe://td/a%20b",
        "spiffe://td/a\0",
    ] {
        assert_eq!(parse_spiffe_id(bad), Err(Error::SpiffeId(bad.to_owned())), "{bad:?}");
    }
    assert!(parse_trust_domain(&"a".repeat(255)).is_ok());
    assert!(parse_trust_domain(&"a".repeat(256)).is_err());
    assert!(parse_trust_domain("TD").is_err());
    assert!(parse_trust_domain("spiffe://td").is_err());
}

#[test]
fn service_account_of_other_shapes_is_none() {
    for other in
        ["spiffe://td/ns/a/sa/b/c", "spiffe://td/ns/a", "spiffe://td/sa/b/ns/a", "spiffe://td", "spiffe://td/ns/sa/b"]
    {
        assert_eq!(ServiceAccount::from_spiffe_id(&parse_spiffe_id(other).unwrap()), None, "{other}");
    }
}

#[test]
fn service_account_segments_are_bounded() {
    let domain = || parse_trust_domain(&"t".repeat(255)).unwrap();
    let longest = "a".repeat(253);
    let account = ServiceAccount::new(domain(), &longest, &longest).unwrap();
    assert_eq!(account.to_spiffe_id().to_string(), account.to_string());
    for bad in ["", ".", "..", "a/b", "a b", &"a".repeat(254)] {
        assert_eq!(ServiceAccount::new(domain(), bad, "x"), Err(Error::Segment(bad.to_owned())));
    }
}

proptest! {
    #[test]
    fn service_account_round_trip(namespace in "[a-z0-9][a-z0-9-]{0,20}", name in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}") {
        let account = ServiceAccount::new(parse_trust_domain("cluster.local").unwrap(), &namespace, &name).unwrap();
        prop_assert_eq!(ServiceAccount::from_spiffe_id(&account.to_spiffe_id()), Some(account));
    }

    #[test]
    fn names_never_panic(text in ".{0,64}") {
        let _ = Hostname::parse(&text);
        let _ = parse_spiffe_id(&text);
        let _ = parse_trust_domain(&text);
        let _ = text.parse::<NamespacedName>();
        let _ = text.parse::<NamespacedHostname>();
    }

    #[test]
    fn namespaced_hostname_round_trip(text in "[a-z]{1,8}/[a-z]{1,8}(\\.[a-z]{1,8}){0,3}") {
        prop_assert_eq!(text.parse::<NamespacedHostname>().unwrap().to_string(), text);
    }
}
