use super::*;

#[test]
fn what_a_provider_demands_of_claims() {
    let check = |change: fn(&mut Provider), payload: Value| {
        let mut provider = of("a");
        change(&mut provider);
        let filter = filter(config([("p", provider)], Requirement::provider("p")));
        let mut claims = json!({"iss": "a"});
        claims.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
        reason(&filter, "/", &[("authorization", &bearer(&token(&claims, "ka")))]).unwrap_or_default()
    };
    let audiences: fn(&mut Provider) = |p| p.audiences = vec!["https://shop/".into(), "b".into()];
    for (change, payload, expected) in [
        (audiences, json!({"aud": "shop"}), ""),
        (audiences, json!({"aud": ["x", "http://shop"]}), ""),
        (audiences, json!({"aud": "b/"}), ""),
        (audiences, json!({"aud": "B"}), "Audiences in Jwt are not allowed"),
        (audiences, json!({"aud": []}), "Audiences in Jwt are not allowed"),
        (audiences, json!({}), "Audiences in Jwt are not allowed"),
        (|p| p.subjects = Some(Pattern::prefix("spiffe://a/")), json!({"sub": "spiffe://a/web"}), ""),
        (|p| p.subjects = Some(Pattern::prefix("spiffe://a/")), json!({"sub": "x"}), "Jwt subject is not allowed"),
        (|p| p.subjects = Some(Pattern::prefix("spiffe://a/")), json!({}), "Jwt subject is not allowed"),
        (|p| p.require_expiration = true, json!({}), "Jwt payload [exp] field is required"),
        (|p| p.require_expiration = true, json!({"exp": NOW + 1_000_000}), ""),
        (|p| p.max_lifetime = Some(Duration::from_secs(60)), json!({"exp": NOW + 60}), ""),
        (|p| p.max_lifetime = Some(Duration::from_secs(60)), json!({"exp": NOW + 61}), "Jwt lifetime is too long"),
        (|p| p.max_lifetime = Some(Duration::from_secs(60)), json!({}), "Jwt payload [exp] field is required"),
        (|p| p.clock_skew = Duration::ZERO, json!({"exp": NOW}), ""),
        (|p| p.clock_skew = Duration::ZERO, json!({"exp": NOW - 1}), "Jwt is expired"),
        (|p| p.issuer = None, json!({"iss": "anybody"}), ""),
    ] {
        assert_eq!(check(change, payload.clone()), expected, "{payload}");
    }
}

#[test]
fn audiences_of_a_requirement_count_instead_of_the_providers() {
    let mut provider = of("a");
    provider.audiences = vec!["shop".into()];
    let own = Requirement::Provider { name: "p".into(), audiences: vec!["admin".into()] };
    for (requirement, audience, is_good) in [
        (Requirement::provider("p"), "shop", true),
        (Requirement::provider("p"), "admin", false),
        (own.clone(), "admin", true),
        (own, "shop", false),
    ] {
        let filter = filter(config([("p", provider.clone())], requirement));
        let token = token(&json!({"iss": "a", "aud": audience}), "ka");
        let refused = (!is_good).then(|| Failure::Audience.to_string());
        assert_eq!(reason(&filter, "/", &[("authorization", &bearer(&token))]), refused, "{audience}");
    }
}

#[test]
fn claims_reach_the_service_and_policies_and_nobody_can_forge_them() {
    let claim = |header, path: &[&str]| ClaimHeader {
        header: HeaderName::from_static(header),
        claim: path.iter().copied().map(Text::from).collect(),
    };
    let mut provider = of("a");
    provider.payload_header = Some(PayloadHeader { name: HeaderName::from_static("x-payload"), padded: true });
    provider.claim_headers = vec![
        claim("x-sub", &["sub"]),
        claim("x-int", &["n", "int"]),
        claim("x-float", &["n", "float"]),
        claim("x-whole", &["n", "whole"]),
        claim("x-bool", &["n", "a.b"]),
        claim("x-list", &["list"]),
        claim("x-none", &["n", "none"]),
        claim("x-evil", &["evil"]),
    ];
    provider.payload_in_metadata = Some(PAYLOAD.into());
    provider.header_in_metadata = Some("header".into());
    provider.space_delimited_claims = vec!["scope".into(), "sub".into(), "list".into(), "absent".into()];
    let optional = Requirement::Any(vec![Requirement::provider("p"), Requirement::AllowMissing]);
    let filter = filter(config([("p", provider)], optional));
    let payload = json!({
        "iss": "a", "sub": "joe", "scope": "a  b", "list": [1], "evil": "a\r\nx: y",
        "n": {"int": 42, "float": 1.5, "whole": 3.0, "a.b": true}
    });
    let token = token(&payload, "ka");
    let forged: Vec<(&str, &str)> =
        ["x-sub", "x-int", "x-none", "x-evil", "x-payload"].into_iter().map(|name| (name, "forged")).collect();

    let (mut request, mut known) = (head("/", &forged), exchange());
    request.headers.insert(AUTHORIZATION, bearer(&token).parse().unwrap());
    ask(&filter, &mut request, &mut known).unwrap();
    let sent =
        |name: &str| -> Vec<&str> { request.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect() };
    let list = STANDARD.encode("[1]");
    for (name, value) in [
        ("x-sub", "joe"),
        ("x-int", "42"),
        ("x-float", "1.500000"),
        ("x-whole", "3"),
        ("x-bool", "true"),
        ("x-list", &list),
    ] {
        assert_eq!(sent(name), [value], "{name}");
    }
    assert!(sent("x-none").is_empty() && sent("x-evil").is_empty() && sent("authorization").is_empty());
    let encoded = sent("x-payload")[0];
    assert_eq!(encoded.len() % 4, 0);
    let decoded = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&decoded).unwrap(), payload);
    let at = |path: &[&str]| known.metadata.at(METADATA, path).cloned();
    assert_eq!(at(&[PAYLOAD, "scope"]), Some(json!(["a", "b"])));
    assert_eq!((at(&[PAYLOAD, "sub"]), at(&[PAYLOAD, "n", "int"])), (Some(json!(["joe"])), Some(json!(42))));
    assert_eq!((at(&["header", "kid"]), at(&[PAYLOAD, "list"])), (Some(json!("1")), Some(json!([1]))));

    let (mut request, mut known) = (head("/", &forged), exchange());
    ask(&filter, &mut request, &mut known).unwrap();
    assert!(forged.iter().all(|(name, _)| !request.headers.contains_key(*name)));
    assert_eq!(known.metadata.of(METADATA), None);
}

#[test]
fn a_payload_is_padded_if_it_must_be() {
    let mut provider = of("a");
    provider.payload_header = Some(PayloadHeader { name: HeaderName::from_static("x-payload"), padded: true });
    let filter = filter(config([("p", provider)], Requirement::provider("p")));
    for padding in ["", "x", "xx", "xxx"] {
        let payload = json!({"iss": "a", "pad": padding});
        let mut request = head("/", &[("authorization", &bearer(&token(&payload, "ka")))]);
        ask(&filter, &mut request, &mut exchange()).unwrap();
        let sent = request.headers.get("x-payload").unwrap();
        let decoded = base64::engine::general_purpose::URL_SAFE.decode(sent).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&decoded).unwrap(), payload);
    }
}
