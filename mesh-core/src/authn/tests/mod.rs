#![allow(clippy::unwrap_used, reason = "tests")]

mod claims;
mod istio;
mod model;
mod places;
mod rules;

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

fn reason_of(text: &str) -> String {
    Names::default().read(text).unwrap_err().to_string()
}

fn nested(depth: usize) -> Requirement {
    (0..depth).fold(Requirement::Nothing, |inner, _| Requirement::All(vec![inner]))
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

proptest! {
    #[test]
    fn any_text_is_judged(text in "[ -~]{0,40}", target in "/[a-z%&=?.]{0,20}") {
        let filter = filter(config([("p", of("a"))], Requirement::provider("p")));
        let Ok(uri) = format!("{target}?access_token=x").parse::<http::Uri>() else { return Ok(()) };
        prop_assert!(reason(&filter, &uri.to_string(), &[("authorization", &text)]).is_some());
    }
}
