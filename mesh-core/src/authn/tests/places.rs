use super::*;

#[test]
fn tokens_are_found_at_their_places_and_taken_from_there() {
    let mut provider = of("a");
    provider.places = Places {
        headers: vec![header("x-token", ""), header("x-prefixed", "T=")],
        params: vec!["jwt".into()],
        cookies: vec!["session".into()],
    };
    let mut keeping = provider.clone();
    keeping.forward = true;
    let (good, bad) = (good("a"), token(&json!({"iss": "a"}), "other"));
    let encoded = good.replace('.', "%2E");
    let at = |provider: &Provider, target: &str, headers: &[(&str, &str)]| {
        let filter = filter(config([("p", provider.clone())], Requirement::provider("p")));
        let mut head = head(target, headers);
        ask(&filter, &mut head, &mut exchange()).map(|()| head).map_err(|answer| answer.body)
    };
    let param = |name: &str, value: &str| format!("/p?a=1&{name}={value}&b=%20");

    let passed = at(&provider, "/", &[("x-token", &good)]).unwrap();
    assert!(!passed.headers.contains_key("x-token"));
    let passed = at(&provider, "/", &[("x-prefixed", &format!("v1 T= {good}"))]).unwrap();
    assert!(!passed.headers.contains_key("x-prefixed"));
    for given in [param("jwt", &good), param("jwt", &encoded), param("j%77t", &good)] {
        let passed = at(&provider, &given, &[]).unwrap();
        assert_eq!(passed.uri, "/p?a=1&b=%20", "{given}");
    }
    assert_eq!(at(&provider, &format!("http://h:1/p?jwt={good}"), &[]).unwrap().uri, "http://h:1/p");
    assert_eq!(at(&keeping, &param("jwt", &good), &[]).unwrap().uri, *param("jwt", &good));
    let passed = at(&keeping, "/", &[("x-token", &good)]).unwrap();
    assert_eq!(passed.headers.get("x-token").unwrap(), &good);
    let passed = at(&provider, "/", &[("cookie", &format!("a=b; session=\"{good}\""))]).unwrap();
    assert!(passed.headers.contains_key(COOKIE));

    for (target, headers) in [
        (param("JWT", &good), vec![]),
        ("/".into(), vec![("x-prefixed", good.as_str())]),
        ("/".into(), vec![("authorization", good.as_str())]),
        (format!("/#jwt={good}").replace('#', "%23"), vec![]),
    ] {
        assert_eq!(at(&provider, &target, &headers).unwrap_err(), "Jwt is missing", "{target}");
    }
    // One bad token spoils the request, wherever it stands, and each value of a header is a token.
    for headers in [
        vec![("x-token", good.as_str()), ("x-token", bad.as_str())],
        vec![("x-token", bad.as_str()), ("x-token", good.as_str())],
        vec![("x-token", good.as_str()), ("cookie", &*format!("session={bad}"))],
    ] {
        assert_eq!(at(&provider, "/", &headers).unwrap_err(), "Jwt verification fails");
        assert_eq!(at(&provider, &param("jwt", &bad), &headers[..1]).unwrap_err(), "Jwt verification fails");
    }
    for (target, headers) in [
        (format!("/?jwt={good}&a=1&jwt={bad}"), vec![]),
        (format!("/?jwt={bad}&jw%74={good}"), vec![]),
        ("/".to_owned(), vec![("cookie", format!("session={good}; session={bad}"))]),
        ("/".to_owned(), vec![("cookie", format!("session={bad}")), ("cookie", format!("session={good}"))]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(at(&keeping, &target, &headers).unwrap_err(), "Jwt verification fails", "{target}");
    }
    let params = format!("/?{}", vec![format!("jwt={good}"); limits::MAX_TOKENS + 1].join("&"));
    assert_eq!(at(&provider, &params, &[]).unwrap_err(), "Found multiple Jwt tokens");
    let cookies = vec![format!("session={good}"); limits::MAX_TOKENS + 1].join(";");
    assert_eq!(at(&provider, "/", &[("cookie", &cookies)]).unwrap_err(), "Found multiple Jwt tokens");
    let many = vec![("x-token", good.as_str()); limits::MAX_TOKENS + 1];
    assert_eq!(at(&provider, "/", &many).unwrap_err(), "Found multiple Jwt tokens");
    assert!(at(&provider, "/", &many[1..]).is_ok());
}

#[test]
fn tokens_are_found_at_the_default_places() {
    let filter = filter(config([("p", of("a"))], Requirement::provider("p")));
    let good = good("a");
    for (target, value, passes) in [
        ("/".to_owned(), Some(bearer(&good)), true),
        (format!("/?access_token={good}"), None, true),
        ("/".to_owned(), Some(format!("bearer {good}")), false),
        ("/".to_owned(), Some(good.clone()), false),
        ("/".to_owned(), Some("Basic Zm9v".to_owned()), false),
    ] {
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        let expected = if passes { None } else { Some("Jwt is missing".to_owned()) };
        assert_eq!(reason(&filter, &target, &headers), expected, "{target} {value:?}");
    }
    assert!(reason(&filter, "/", &[("authorization", "Bearer ")]).unwrap().contains("two dots"));
}

#[test]
fn a_token_that_was_taken_is_not_there_for_the_next_provider() {
    let twice = |forward: bool| {
        let (mut one, mut two) = (of("a"), of("a"));
        (one.forward, two.forward) = (forward, forward);
        let both = Requirement::All(vec![Requirement::provider("p"), Requirement::provider("q")]);
        let filter = filter(config([("p", one), ("q", two)], both));
        let (mut headers, query) = (vec![], format!("/?access_token={}", good("a")));
        let by_query = reason(&filter, &query, &headers);
        let value = bearer(&good("a"));
        headers.push(("authorization", value.as_str()));
        (by_query, reason(&filter, "/", &headers))
    };
    assert_eq!(twice(true), (None, None));
    let missing = || Some("Jwt is missing".to_owned());
    assert_eq!(twice(false), (missing(), missing()));
}

#[test]
fn without_a_provider_in_demand_a_token_is_judged_by_its_issuers() {
    let mut anybody = of("z");
    anybody.issuer = None;
    let verdict = |requirement: Requirement, providers: Vec<(&'static str, Provider)>, text: &str| {
        reason(&filter(config(providers, requirement)), "/", &[("authorization", &bearer(text))]).unwrap_or_default()
    };
    let both = || vec![("a", of("a")), ("z", anybody.clone())];
    let by_z = token(&json!({"iss": "b"}), "kz");
    assert_eq!(verdict(Requirement::AllowMissing, both(), &good("a")), "");
    assert_eq!(verdict(Requirement::AllowMissing, both(), &by_z), "");
    assert_eq!(verdict(Requirement::AllowMissing, both(), &good("b")), "Jwt verification fails");
    assert_eq!(verdict(Requirement::AllowMissing, vec![("a", of("a"))], &by_z), "Jwt issuer is not configured");
    assert_eq!(verdict(Requirement::AllowMissing, both(), "x"), reason_of("x"));
    assert_eq!(verdict(Requirement::AllowMissingOrFailed, both(), "x"), "");
}
