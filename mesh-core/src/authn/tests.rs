#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, Request, StatusCode, request};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::filter::{Answer, Chain, Connection, Exchange, Filter, FilterLayer, Named, Step};
use crate::live::Live;
use crate::name::Text;
use crate::route::{
    Action, FilterOverride, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost,
};
use crate::string_match::Pattern;

const NOW: u64 = 1_800_000_000;

/// A verifier without cryptography: a token is signed by the key whose name stands for its signature.
#[derive(Debug, Default)]
struct Names {
    read: AtomicUsize,
}

struct Key {
    name: String,
    /// Whether it must be fetched first, and what comes of that.
    fetched: Option<Result<(), Failure>>,
}

impl Verifier for Names {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn read(&self, text: &str) -> Result<Arc<Token>, Failure> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Shape);
        };
        let object = |text: &str, part| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Failure::Encoding(part))?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|_| Failure::Json(part))
        };
        Token::new(text, object(header, Part::Header)?, object(payload, Part::Payload)?).map(Arc::new)
    }

    fn keys(&self, source: &KeySource) -> Arc<dyn Keys> {
        Arc::new(match source {
            KeySource::Inline(name) => Key { name: name.to_string(), fetched: None },
            KeySource::Remote(remote) if remote.uri == "down" => {
                Key { name: String::new(), fetched: Some(Err(Failure::KeysUnavailable)) }
            }
            KeySource::Remote(remote) => Key { name: remote.uri.to_string(), fetched: Some(Ok(())) },
        })
    }
}

impl Keys for Key {
    fn verify(&self, token: &Arc<Token>) -> Verification {
        let signed = token.text().rsplit('.').next() == Some(&*self.name);
        let result = if signed { Ok(()) } else { Err(Failure::Signature) };
        match self.fetched {
            None => Verification::Done(result),
            Some(fetched) => Verification::Wait(Box::pin(async move {
                tokio::task::yield_now().await;
                fetched.and(result)
            })),
        }
    }
}

fn token_of(header: &Value, payload: &Value, key: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{key}", part(header), part(payload))
}

fn token(payload: &Value, key: &str) -> String {
    token_of(&json!({"alg": "RS256", "kid": "1"}), payload, key)
}

/// A token of issuer `i`, signed by its key, `ki`.
fn good(issuer: &str) -> String {
    token(&json!({"iss": issuer, "sub": "joe"}), &format!("k{issuer}"))
}

fn inline(key: &str) -> KeySource {
    KeySource::Inline(key.into())
}

/// The provider of issuer `i`.
fn of(issuer: &str) -> Provider {
    Provider::new(issuer, inline(&format!("k{issuer}")))
}

fn header(name: &'static str, prefix: &str) -> TokenHeader {
    TokenHeader { name: HeaderName::from_static(name), prefix: prefix.into() }
}

fn config(providers: impl IntoIterator<Item = (&'static str, Provider)>, requirement: Requirement) -> Authentication {
    let providers = providers.into_iter().map(|(name, provider)| (name.into(), provider));
    let matcher = RouteMatch::new(PathMatch::prefix("/"));
    let rules = vec![Rule { matcher, demand: Demand::Inline(requirement) }];
    Authentication { providers: providers.collect(), rules, ..Authentication::default() }
}

fn filter(config: Authentication) -> Authenticate {
    Authenticate::new(config, Arc::new(Names::default())).unwrap()
}

fn head(target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn exchange() -> Exchange {
    let address = "10.0.0.1:1".parse().unwrap();
    Exchange::new(Arc::new(Connection::new(address, address)))
}

/// What became of a request; keys that are fetched are waited for.
fn ask(filter: &Authenticate, head: &mut request::Parts, exchange: &mut Exchange) -> Result<(), Box<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut step = filter.on_request(head, exchange);
    loop {
        match step {
            Step::Next => return Ok(()),
            Step::Answer(answer) => return Err(Box::new(answer)),
            Step::Wait(wait) => step = runtime.block_on(wait)(head, exchange),
        }
    }
}

/// The body of the refusal of a request; none if it passes.
fn reason(filter: &Authenticate, target: &str, headers: &[(&str, &str)]) -> Option<String> {
    let (mut head, mut exchange) = (head(target, headers), exchange());
    let refused = ask(filter, &mut head, &mut exchange).err();
    refused.map(|answer| String::from_utf8(answer.body.to_vec()).unwrap())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_demanded_token_must_be_there_and_good() {
    let filter = filter(config([("p", of("a"))], Requirement::provider("p")));
    let of_payload = |payload: Value| token(&payload, "ka");
    let crit = token_of(&json!({"alg": "RS256", "crit": ["b64"]}), &json!({"iss": "a"}), "ka");
    let unencoded = token_of(&json!({"alg": "RS256", "b64": false}), &json!({"iss": "a"}), "ka");
    let kid = token_of(&json!({"alg": "RS256", "kid": 7}), &json!({"iss": "a"}), "ka");
    let big = format!("{}.{}", good("a"), "a".repeat(limits::MAX_TOKEN_BYTES));
    for (given, expected) in [
        (good("a"), ""),
        (good("b"), "Jwt issuer is not configured"),
        (token(&json!({"iss": "a"}), "kb"), "Jwt verification fails"),
        ("a.b".into(), "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        ("_.e30.x".into(), "Jwt header is an invalid Base64url encoded"),
        ("e30.bnVsbA.x".into(), "Jwt payload is an invalid JSON"),
        (crit, "Jwt header [crit] is not supported"),
        (unencoded, "Jwt header [b64] is not supported"),
        (kid, "Jwt header [kid] field is not a string"),
        (of_payload(json!({"iss": ["a"]})), "Jwt payload [iss] field is not a string"),
        (of_payload(json!({"iss": "a", "sub": null})), "Jwt payload [sub] field is not a string"),
        (of_payload(json!({"iss": "a", "jti": 1})), "Jwt payload [jti] field is not a string"),
        (of_payload(json!({"iss": "a", "exp": "1"})), "Jwt payload [exp] field is not a positive 64 bit integer"),
        (of_payload(json!({"iss": "a", "exp": -1})), "Jwt payload [exp] field is not a positive 64 bit integer"),
        (of_payload(json!({"iss": "a", "nbf": 1e300})), "Jwt payload [nbf] field is not a positive 64 bit integer"),
        (of_payload(json!({"iss": "a", "iat": {}})), "Jwt payload [iat] field is not a positive 64 bit integer"),
        (of_payload(json!({"iss": "a", "aud": 1})), "Jwt payload [aud] field is not a string or string list"),
        (of_payload(json!({"iss": "a", "aud": ["x", 1]})), "Jwt payload [aud] field is not a string or string list"),
        (of_payload(json!({"iss": "a", "exp": NOW - 60})), ""),
        (of_payload(json!({"iss": "a", "exp": NOW - 61})), "Jwt is expired"),
        (of_payload(json!({"iss": "a", "exp": 0})), "Jwt is expired"),
        (of_payload(json!({"iss": "a", "nbf": NOW + 60})), ""),
        (of_payload(json!({"iss": "a", "nbf": NOW + 61})), "Jwt not yet valid"),
        (of_payload(json!({"iss": "a", "exp": NOW as f64 + 0.5})), ""),
        (big, "Jwt is too large"),
    ] {
        let got = reason(&filter, "/x", &[("authorization", &bearer(&given))]);
        assert_eq!(got.unwrap_or_default(), expected, "{given:.60}");
    }
    assert_eq!(reason(&filter, "/x", &[]), Some("Jwt is missing".into()));
}

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
fn a_refusal_challenges_as_a_bearer_is_challenged() {
    let mut provider = of("a");
    provider.audiences = vec!["shop".into()];
    let config = config([("p", provider)], Requirement::provider("p"));
    let refused = |config: &Authentication, target: &str, token: Option<&str>| {
        let value = token.map(bearer);
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        ask(&filter(config.clone()), &mut head(target, &headers), &mut exchange()).unwrap_err()
    };
    let challenge =
        |answer: &Answer| answer.headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());

    let answer = refused(&config, "http://shop.example/cart?access=secret", None);
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (StatusCode::UNAUTHORIZED, "jwt_authn_access_denied{Jwt_is_missing}")
    );
    assert_eq!(challenge(&answer).unwrap(), "Bearer realm=\"http://shop.example/cart\"");
    let answer = refused(&config, "http://shop.example/a\"b", Some("x"));
    assert_eq!(challenge(&answer).unwrap(), "Bearer realm=\"http://shop.example/ab\", error=\"invalid_token\"");
    let long = challenge(&refused(&config, &format!("http://h/{}", "a".repeat(1_000)), None)).unwrap();
    assert_eq!(long.len(), "Bearer realm=\"http://h\"".len() + 256);
    let answer = refused(&config, "/", Some(&good("a")));
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::FORBIDDEN, &b"Audiences in Jwt are not allowed"[..]));

    let silent = Authentication { strip_failure_response: true, ..config };
    let answer = refused(&silent, "/", Some("x"));
    assert_eq!((answer.status, answer.body.len(), challenge(&answer)), (StatusCode::UNAUTHORIZED, 0, None));
    assert!(answer.details.as_str().starts_with("jwt_authn_access_denied{Jwt_is_not_in_the_form"));
}

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

fn reason_of(text: &str) -> String {
    Names::default().read(text).unwrap_err().to_string()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rule = |path: &str, demand| Rule { matcher: RouteMatch::new(PathMatch::prefix(path)), demand };
    let mut config = config([("a", of("a")), ("b", of("b"))], Requirement::Nothing);
    config.requirements = BTreeMap::from([("either".into(), either(["a", "b"]))]);
    config.rules = vec![
        rule("/open", Demand::Inline(Requirement::Nothing)),
        rule("/a", Demand::Inline(Requirement::provider("a"))),
        rule("/either", Demand::Named("either".into())),
    ];
    let ask = |config: &Authentication, target: &str, token: &str| {
        reason(&filter(config.clone()), target, &[("authorization", &bearer(token))]).is_none()
    };
    let (a, b) = (good("a"), good("b"));
    let passes: Vec<_> = ["/open", "/a", "/either", "/other", "/a?x=1"]
        .map(|target| (ask(&config, target, &a), ask(&config, target, &b), ask(&config, target, "x")))
        .into();
    assert_eq!(
        passes,
        [(true, true, true), (true, false, false), (true, true, false), (true, true, true), (true, false, false)]
    );

    for (broken, expected) in [
        (Demand::Named("none".into()), ConfigError::UnknownRequirement("none".into())),
        (Demand::Inline(Requirement::All(vec![Requirement::provider("c")])), ConfigError::UnknownProvider("c".into())),
        (Demand::Inline(nested(limits::MAX_DEPTH + 1)), ConfigError::TooDeep),
    ] {
        config.rules = vec![rule("/", broken)];
        let error = Authenticate::new(config.clone(), Arc::new(Names::default())).unwrap_err();
        assert_eq!(error, expected);
    }
    config.rules = vec![rule("/", Demand::Inline(nested(limits::MAX_DEPTH)))];
    assert!(ask(&config, "/", "x"));
}

fn nested(depth: usize) -> Requirement {
    (0..depth).fold(Requirement::Nothing, |inner, _| Requirement::All(vec![inner]))
}

fn either(names: [&str; 2]) -> Requirement {
    Requirement::Any(names.map(Requirement::provider).into())
}

#[tokio::test]
async fn a_route_demands_something_else() {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};
    use tower::{Layer, ServiceExt, service_fn};

    let mut config = config([("a", of("a")), ("b", of("b"))], Requirement::provider("a"));
    config.requirements = BTreeMap::from([("of-b".into(), Requirement::provider("b"))]);
    config.providers.get_mut("a").unwrap().claim_headers =
        vec![ClaimHeader { header: HeaderName::from_static("x-sub"), claim: vec!["sub".into()] }];
    let route = |path: &str, setting: Option<FilterOverride>| {
        let action = Action::Forward(Box::new(Forward::to("c")));
        let mut route = Route::new(RouteMatch::new(PathMatch::prefix(path)), action);
        route.filters.extend(setting.map(|setting| ("jwt".into(), setting)));
        route
    };
    let named = |name: &str| Some(FilterOverride::Authn(Some(name.into())));
    let routes = vec![
        route("/b", named("of-b")),
        route("/free", Some(FilterOverride::Authn(None))),
        route("/wrong", named("none")),
        route("/", None),
    ];
    let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
    let filters = vec![Named::new("jwt", filter(config))];
    let layer = FilterLayer::chain(Live::constant(Chain { routes: Some(Arc::new(table)), filters }));
    let service = layer.layer(service_fn(async |request: Request<_>| {
        let subject = request.headers().get("x-sub").map(|value| Bytes::copy_from_slice(value.as_bytes()));
        drop(request);
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(subject.unwrap_or_default())))
    }));
    for (path, token, expected) in [
        ("/", good("a"), Ok("joe")),
        ("/", good("b"), Err(401)),
        ("/b", good("a"), Err(401)),
        ("/b", good("b"), Ok("")),
        ("/free", "x".into(), Ok("")),
        ("/wrong", good("a"), Err(403)),
    ] {
        let request = Request::builder().uri(format!("http://shop{path}")).header("authorization", bearer(&token));
        let request = request.header("x-sub", "forged").body(Empty::<Bytes>::new()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let got = if status == 200 { Ok(std::str::from_utf8(&body).unwrap()) } else { Err(status) };
        assert_eq!(got, expected, "{path}");
    }
}

#[test]
fn a_browser_that_asks_for_permission_brings_no_token() {
    let mut config = config([("p", of("a"))], Requirement::provider("p"));
    let asks = |bypass: bool, method: &str, headers: &[(&str, &str)]| {
        let mut config = config.clone();
        config.bypass_cors_preflight = bypass;
        let mut head = head("/", headers);
        head.method = method.parse().unwrap();
        ask(&filter(config), &mut head, &mut exchange()).is_ok()
    };
    let both = [("origin", "https://a"), ("access-control-request-method", "GET")];
    assert!(asks(true, "OPTIONS", &both));
    assert!(!asks(false, "OPTIONS", &both) && !asks(true, "GET", &both) && !asks(true, "OPTIONS", &both[..1]));
    assert!(!asks(true, "OPTIONS", &[both[0], ("access-control-request-method", "")]));
    config.bypass_cors_preflight = true;
}

#[test]
fn keys_that_are_fetched_are_waited_for() {
    let remote = |uri: &str| KeySource::Remote(RemoteKeys::at(uri));
    let (slow, down) = (Provider::new("s", remote("ks")), Provider::new("d", remote("down")));
    let wanted = || Requirement::All(vec![Requirement::provider("s"), Requirement::provider("a")]);
    let mut elsewhere = of("a");
    elsewhere.places.headers = vec![header("x-a", "")];
    let both = filter(config([("s", slow.clone()), ("a", elsewhere)], wanted()));
    let value = bearer(&good("s"));
    assert_eq!(reason(&both, "/", &[("authorization", &value), ("x-a", &good("a"))]), None);
    assert_eq!(reason(&both, "/", &[("authorization", &value)]).unwrap(), "Jwt is missing");
    let forged = bearer(&token(&json!({"iss": "s"}), "other"));
    assert_eq!(reason(&both, "/", &[("authorization", &forged)]).unwrap(), "Jwt verification fails");

    let fails = filter(config([("d", down)], Requirement::provider("d")));
    assert_eq!(reason(&fails, "/", &[("authorization", &bearer(&good("d")))]).unwrap(), "Jwks remote fetch is failed");
    // What its claims rule out is refused without a fetch.
    let (mut head, mut exchange) = (head("/", &[("authorization", &bearer(&good("x")))]), exchange());
    assert!(matches!(fails.on_request(&mut head, &mut exchange), Step::Answer(_)));
}

#[test]
fn a_token_is_taken_apart_once_per_request() {
    let names = Arc::new(Names::default());
    let rules: Vec<JwtRule> =
        ["a", "b", "c", "d"].map(|name| JwtRule::new(name, RuleKeys::Inline(format!("k{name}").into()))).into();
    let policy = RequestAuthentication { name: "ns/p".parse().unwrap(), rules };
    let config = Authentication::of_policies([&policy], false).unwrap();
    let filter = Authenticate::new(config, Arc::<Names>::clone(&names)).unwrap();
    assert_eq!(reason(&filter, "/", &[("authorization", &bearer(&good("d")))]), None);
    assert_eq!(names.read.load(Ordering::Relaxed), 1);
}

#[test]
fn routes_are_chosen_anew_where_claims_may_count() {
    let chosen = |change: fn(&mut Provider)| {
        let mut provider = of("a");
        change(&mut provider);
        let filter = filter(config([("p", provider)], Requirement::provider("p")));
        let mut known = exchange();
        known.route = crate::filter::Routed::Nowhere(crate::route::Unrouted::NoRoute);
        ask(&filter, &mut head("/", &[("authorization", &bearer(&good("a")))]), &mut known).unwrap();
        matches!(known.route, crate::filter::Routed::Unasked)
    };
    assert!(!chosen(|provider| provider.clear_route_cache = true));
    assert!(!chosen(|provider| provider.payload_in_metadata = Some("p".into())));
    assert!(chosen(|provider| {
        provider.clear_route_cache = true;
        provider.payload_in_metadata = Some("p".into());
    }));
    assert!(chosen(|provider| {
        provider.clear_route_cache = true;
        provider.claim_headers =
            vec![ClaimHeader { header: HeaderName::from_static("x-s"), claim: vec!["sub".into()] }];
    }));
}

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

/// The places of four issuers, `a` to `d`: two share one.
const PLACES: [(&str, &str); 4] = [("a", "x-1"), ("b", "x-1"), ("c", "x-2"), ("d", "x-3")];

/// What a request may bring at a place.
#[derive(Debug, Clone, Copy)]
enum Brought {
    Nothing,
    Good(usize),
    Forged(usize),
    Foreign,
}

/// What a requirement says of a request, told naively: the places are looked at again for each provider.
fn naive(requirement: &Requirement, brought: &[Brought; 3]) -> Result<(), Failure> {
    let place = |issuer: usize| PLACES[issuer].1[2..].parse::<usize>().unwrap() - 1;
    match requirement {
        Requirement::Nothing | Requirement::AllowMissingOrFailed => Ok(()),
        Requirement::Provider { name, .. } => {
            let at = PLACES.iter().position(|(issuer, _)| *name == *issuer).unwrap();
            match brought[place(at)] {
                Brought::Nothing => Err(Failure::Missing),
                Brought::Good(issuer) if issuer == at => Ok(()),
                Brought::Forged(issuer) if issuer == at => Err(Failure::Signature),
                _ => Err(Failure::Issuer),
            }
        }
        Requirement::All(list) => list.iter().try_for_each(|one| naive(one, brought)),
        Requirement::AllowMissing => brought.iter().enumerate().rev().try_for_each(|(at, one)| match one {
            Brought::Nothing => Ok(()),
            Brought::Good(issuer) | Brought::Forged(issuer) if place(*issuer) != at => Err(Failure::Issuer),
            Brought::Good(_) => Ok(()),
            Brought::Forged(_) => Err(Failure::Signature),
            Brought::Foreign => Err(Failure::Issuer),
        }),
        Requirement::Any(list) => {
            let lenient = |kind| list.contains(&kind);
            let strict: Vec<_> = list
                .iter()
                .filter(|one| !matches!(one, Requirement::AllowMissing | Requirement::AllowMissingOrFailed))
                .map(|one| naive(one, brought))
                .collect();
            if strict.contains(&Ok(())) || lenient(Requirement::AllowMissingOrFailed) {
                return Ok(());
            }
            if strict.is_empty() && lenient(Requirement::AllowMissing) {
                return naive(&Requirement::AllowMissing, brought);
            }
            let errors = || strict.iter().filter_map(|one| one.err());
            let worst = errors().rfind(|error| !matches!(error, Failure::Missing | Failure::Issuer));
            let issuer = errors().find(|error| *error == Failure::Issuer);
            match worst.or(issuer) {
                Some(error) => Err(error),
                None if lenient(Requirement::AllowMissing) => Ok(()),
                None => Err(Failure::Missing),
            }
        }
    }
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let leaf = prop_oneof![
        6 => (0..4usize).prop_map(|at| Requirement::provider(PLACES[at].0)),
        1 => Just(Requirement::Nothing),
        2 => Just(Requirement::AllowMissing),
        1 => Just(Requirement::AllowMissingOrFailed),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let list = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![list().prop_map(Requirement::Any), list().prop_map(Requirement::All)]
    })
}

fn brought() -> impl Strategy<Value = [Brought; 3]> {
    let one = || {
        prop_oneof![
            2 => Just(Brought::Nothing),
            4 => (0..4usize).prop_map(Brought::Good),
            1 => (0..4usize).prop_map(Brought::Forged),
            1 => Just(Brought::Foreign),
        ]
    };
    [one(), one(), one()]
}

proptest! {
    #[test]
    fn a_tree_of_requirements_means_what_it_says(wanted in requirement(), given in brought(), slow in any::<[bool; 4]>()) {
        let providers = PLACES.iter().zip(slow).map(|((issuer, place), slow)| {
            let mut provider = of(issuer);
            provider.places.headers = vec![header(place, "")];
            provider.forward = true;
            if slow {
                provider.keys = KeySource::Remote(RemoteKeys::at(format!("k{issuer}")));
            }
            (*issuer, provider)
        });
        let filter = filter(config(providers, wanted.clone()));
        let mut request = head("/", &[]);
        for (at, one) in given.iter().enumerate() {
            let text = match one {
                Brought::Nothing => continue,
                Brought::Good(issuer) => good(PLACES[*issuer].0),
                Brought::Forged(issuer) => token(&json!({"iss": PLACES[*issuer].0}), "other"),
                Brought::Foreign => good("z"),
            };
            request.headers.insert(["x-1", "x-2", "x-3"][at], text.parse().unwrap());
        }
        let got = ask(&filter, &mut request, &mut exchange());
        let text = got.err().map(|answer| String::from_utf8(answer.body.to_vec()).unwrap());
        prop_assert_eq!(text, naive(&wanted, &given).err().map(|failure| failure.to_string()));
    }

    #[test]
    fn any_text_is_judged(text in "[ -~]{0,40}", target in "/[a-z%&=?.]{0,20}") {
        let filter = filter(config([("p", of("a"))], Requirement::provider("p")));
        let Ok(uri) = format!("{target}?access_token=x").parse::<http::Uri>() else { return Ok(()) };
        prop_assert!(reason(&filter, &uri.to_string(), &[("authorization", &text)]).is_some());
    }
}
