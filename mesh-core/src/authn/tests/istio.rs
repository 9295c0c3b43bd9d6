use super::*;

#[test]
fn policies_of_istio_let_in_good_tokens_and_none() {
    let rule = |issuer: &str| JwtRule::new(issuer, RuleKeys::Inline(format!("k{issuer}").into()));
    let mut elsewhere = rule("c");
    elsewhere.places.headers = vec![header("x-c", "")];
    let policy = |name: &str, rules| RequestAuthentication { name: name.parse().unwrap(), rules };
    let (one, two) = (policy("n/one", vec![rule("b"), elsewhere]), policy("n/two", vec![rule("a")]));
    assert_eq!(Authentication::of_policies([&policy("n/none", Vec::new())], false), None);

    let config = Authentication::of_policies([&one, &two], false).unwrap();
    let issuers: Vec<_> =
        config.providers.iter().map(|(name, one)| (name.as_str(), one.issuer.clone().unwrap())).collect();
    assert_eq!(issuers, [("origins-0", "a".into()), ("origins-1", "b".into()), ("origins-2", "c".into())]);
    let several = filter(config);
    let alone = filter(Authentication::of_policies([&two], false).unwrap());
    let (a, b, c) = (bearer(&good("a")), bearer(&good("b")), good("c"));
    let bad = bearer(&token(&json!({"iss": "b"}), "ka"));
    for (filter, headers, expected) in [
        (&alone, vec![], ""),
        (&alone, vec![("authorization", a.as_str())], ""),
        (&alone, vec![("authorization", b.as_str())], "Jwt issuer is not configured"),
        (&several, vec![], ""),
        (&several, vec![("authorization", a.as_str())], ""),
        (&several, vec![("authorization", b.as_str())], ""),
        (&several, vec![("x-c", c.as_str())], ""),
        (&several, vec![("authorization", bad.as_str())], "Jwt verification fails"),
        (&several, vec![("authorization", "Basic eDp5")], ""),
        (
            &several,
            vec![("x-c", b.as_str())],
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
        ),
    ] {
        let got = reason(filter, "/", &headers).unwrap_or_default();
        assert!(got == expected || (headers[0].0 == "x-c" && !got.is_empty()), "{headers:?}: {got}");
    }
    // The claims are where policies look for them.
    let mut known = exchange();
    ask(&several, &mut head("/", &[("authorization", &a)]), &mut known).unwrap();
    assert_eq!(known.metadata.at(METADATA, &["payload", "iss"]), Some(&json!("a")));
}

#[test]
fn a_rule_of_istio_in_envoys_terms() {
    let rule = JwtRule {
        audiences: vec!["aud".into()],
        places: Places { cookies: vec!["c".into()], ..Places::default() },
        forward_original_token: true,
        output_payload_to_header: Some(HeaderName::from_static("x-p")),
        output_claim_to_headers: vec![(HeaderName::from_static("x-c"), "nested.key".into())],
        space_delimited_claims: vec!["roles".into(), "scope".into()],
        timeout: Duration::from_secs(2),
        ..JwtRule::new("https://i/", RuleKeys::Discovered)
    };
    let policy = RequestAuthentication { name: "n/p".parse().unwrap(), rules: vec![rule] };
    let config = Authentication::of_policies([&policy], true).unwrap();
    let uri = "https://i/.well-known/openid-configuration";
    let keys = RemoteKeys { timeout: Duration::from_secs(2), life: Duration::from_secs(300), ..RemoteKeys::at(uri) };
    let expected = Provider {
        audiences: vec!["aud".into()],
        places: Places { cookies: vec!["c".into()], ..Places::default() },
        forward: true,
        payload_header: Some(PayloadHeader { name: HeaderName::from_static("x-p"), padded: false }),
        claim_headers: vec![ClaimHeader {
            header: HeaderName::from_static("x-c"),
            claim: vec!["nested".into(), "key".into()],
        }],
        payload_in_metadata: Some("payload".into()),
        space_delimited_claims: vec!["permission".into(), "roles".into(), "scope".into()],
        clear_route_cache: true,
        ..Provider::new("https://i/", KeySource::Remote(keys))
    };
    assert_eq!(config.providers.get("origins-0"), Some(&expected));
    assert!(config.bypass_cors_preflight);
}
