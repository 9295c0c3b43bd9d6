use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::route::{Forward, Fraction, RedirectStatus, RetryOn};

fn rule(backends: Vec<BackendRef>) -> HttpRule {
    HttpRule { backends, matches: vec![prefix("/a")], ..HttpRule::default() }
}

fn with(backend: BackendRef, filter: Filter) -> BackendRef {
    BackendRef { filters: vec![filter], ..backend }
}

fn rewrite(path: &str) -> Filter {
    Filter::Rewrite(UrlRewrite { hostname: None, path: Some(PathModifier::Prefix(path.into())) })
}

/// How many of well mixed numbers get each answer.
fn shares(table: &RouteTable) -> BTreeMap<String, usize> {
    // SplitMix64 from 7.
    let mut state = 7_u64;
    let mut shares = BTreeMap::new();
    for _ in 0..20_000 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        *shares.entry(ask(table, &Method::GET, "http://h/a/x", &[], mixed ^ (mixed >> 31))).or_default() += 1;
    }
    shares
}

fn near(shares: &BTreeMap<String, usize>, expected: &[(&str, usize)]) {
    assert_eq!(shares.len(), expected.len(), "{shares:?}");
    for (answer, percent) in expected {
        let found = shares.get(*answer).copied().unwrap_or_default();
        assert!(found.abs_diff(percent * 200) < 300, "{answer}: {found} of 20,000 in {shares:?}");
    }
}

#[test]
fn an_invalid_backend_keeps_its_share() {
    let backends =
        vec![BackendRef::to("a", 30), BackendRef::invalid(20), BackendRef::to("b", 50), BackendRef::to("none", 0)];
    near(&shares(&table(&[one("r", rule(backends))])), &[("a", 30), ("500", 20), ("b", 50)]);
    let broken = with(BackendRef::to("x", 25), Filter::Extension(Extension::Unresolved));
    near(&shares(&table(&[one("r", rule(vec![BackendRef::to("a", 75), broken]))])), &[("a", 75), ("500", 25)]);
}

#[test]
fn what_only_routes_can_do_divides_the_rule() {
    let redirect = RequestRedirect { status: RedirectStatus::SeeOther, ..RequestRedirect::default() };
    let backends = vec![
        with(BackendRef::to("a", 10), rewrite("/b")),
        BackendRef::invalid(20),
        with(BackendRef::to("gone", 30), Filter::Redirect(redirect)),
        BackendRef::to("none", 0),
        BackendRef::to("c", 40),
    ];
    let table = table(&[one("r", rule(backends)), one("s", to("never", vec![prefix("/a")]))]);
    near(&shares(&table), &[("a /b/x", 10), ("500", 20), ("303 http://h/a/x", 30), ("c", 40)]);
}

#[test]
fn a_backend_adds_to_what_its_rule_does() {
    let mirror = |cluster: &str| {
        Filter::Mirror(RequestMirror {
            backend: Backend::Cluster(cluster.into()),
            fraction: Some(Fraction::percent(50)),
        })
    };
    let mut own = with(BackendRef::to("a", 1), mirror("second"));
    own.filters.push(Filter::Rewrite(UrlRewrite { hostname: Some("b.com".parse().unwrap()), path: None }));
    let rule = HttpRule { filters: vec![rewrite("/b"), mirror("first")], ..rule(vec![own, BackendRef::to("c", 1)]) };
    let table = table(&[one("r", rule)]);
    let mut seen = BTreeMap::new();
    let none = HeaderMap::new();
    let request = Request::new(&Method::GET, "h", "/a/x", &none);
    for random in [0, 999_999] {
        let selected = table.find(&request, random).unwrap();
        let mirrors: Vec<_> = selected.mirrors().iter().map(|mirror| mirror.cluster.of(&request).unwrap()).collect();
        seen.insert(told(&selected, &request), mirrors.join(" "));
    }
    assert_eq!(
        seen,
        [("a b.com /b/x".to_owned(), "first second".to_owned()), ("c /b/x".into(), "first".into())].into()
    );
}

proptest! {
    #[test]
    fn the_parts_are_those_of_the_weights(weights in vec(0_u32..=1_000_000, 1..8)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let backends = weights.iter().enumerate().map(|(at, weight)| {
            with(BackendRef::to(&at.to_string(), *weight), rewrite("/b"))
        });
        let table = table(&[one("r", rule(backends.collect()))]);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        // A number is below the end of its backend's share, which is rounded to a millionth, and not below that before.
        let mut end = 0;
        for (at, weight) in weights.iter().enumerate() {
            let start = end;
            end += u64::from(*weight);
            let first = (start * 1_000_000).div_ceil(total) + 1;
            let last = (end * 1_000_000 / total).saturating_sub(2);
            if first <= last {
                for random in [first, last, 5_000_000 + last] {
                    prop_assert_eq!(ask(&table, &Method::GET, "http://h/a", &[], random), format!("{at} /b"));
                }
            }
        }
    }
}

#[test]
fn what_a_backend_says_of_the_path_counts_more() {
    let backends = vec![with(BackendRef::to("a", 1), rewrite("/own")), BackendRef::to("c", 1)];
    let table = table(&[one("r", HttpRule { filters: vec![rewrite("/rule")], ..rule(backends) })]);
    let at = |random| ask(&table, &Method::GET, "http://h/a/x", &[], random);
    assert_eq!((at(0), at(999_999)), ("a /own/x".into(), "c /rule/x".into()));
}

#[test]
fn a_backend_that_redirects_edits_the_headers_of_the_answer() {
    let edit = |name: &'static str, value: &str| {
        let set = vec![(HeaderName::from_static(name), value.into())];
        Filter::ResponseHeaders(HeaderModifier { set, ..HeaderModifier::default() })
    };
    let mut own = with(BackendRef::to("a", 1), Filter::Redirect(RequestRedirect::default()));
    own.filters.push(edit("x-a", "backend"));
    let filters = vec![edit("x-a", "rule"), edit("x-b", "rule")];
    let table = table(&[one("r", HttpRule { filters, ..rule(vec![own]) })]);
    let none = HeaderMap::new();
    let request = Request::new(&Method::GET, "h", "/a", &none);
    let mut answered = HeaderMap::new();
    table.find(&request, 0).unwrap().edit_response(&request, &mut answered);
    assert_eq!(answered, headers(&[("x-a", "backend"), ("x-b", "rule")]));
}

fn forward(rule: HttpRule) -> Forward {
    let config = config(Entry::http(80), None, &[one("r", rule)]);
    let Action::Forward(forward) = config.hosts[0].routes[0].action.clone() else { panic!("not sent on") };
    *forward
}

#[test]
fn timeouts_are_those_of_the_request_or_of_each_attempt() {
    let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
    let retry = Some(Retry::default());
    for (request, backend_request, retry, timeout, per_try) in [
        (None, None, None, Duration::ZERO, None),
        (seconds(0), None, None, Duration::ZERO, None),
        (seconds(9), None, None, Duration::from_secs(9), None),
        (seconds(9), seconds(3), None, Duration::from_secs(3), None),
        (seconds(0), seconds(3), None, Duration::from_secs(3), None),
        (seconds(9), seconds(0), None, Duration::from_secs(9), None),
        (seconds(9), seconds(3), retry.clone(), Duration::from_secs(9), seconds(3)),
        (None, seconds(3), retry.clone(), Duration::ZERO, seconds(3)),
        (None, None, retry, Duration::ZERO, None),
    ] {
        let timeouts = RuleTimeouts { request, backend_request };
        let forward = forward(HttpRule { timeouts, retry, ..to("c", vec![]) });
        assert_eq!(forward.timeout, Some(timeout), "{timeouts:?}");
        assert_eq!(forward.retry.and_then(|retry| retry.per_try_timeout), per_try, "{timeouts:?}");
    }
}

#[test]
fn only_listed_codes_and_lost_connections_are_tried_again() {
    use crate::route::Outcome;
    let retry = Retry { codes: vec![500, 503], attempts: Some(3), back_off: Some(Duration::from_millis(100)) };
    let policy = forward(HttpRule { retry: Some(retry), ..to("c", vec![]) }).retry.unwrap();
    let none = HeaderMap::new();
    for (status, again) in [(500, true), (503, true), (502, false), (504, false), (429, false)] {
        assert_eq!(policy.should_retry(Outcome::Response { status, headers: &none }, 1), again, "{status}");
    }
    for outcome in [Outcome::ConnectFailure, Outcome::Refused, Outcome::Reset { sent: true }, Outcome::PerTryTimeout] {
        assert!(policy.should_retry(outcome, 3), "{outcome:?}");
        assert!(!policy.should_retry(outcome, 4), "attempts are beside the first");
    }
    assert!(!policy.should_retry(Outcome::Timeout, 1));
    assert_eq!(policy.back_off.base, Duration::from_millis(100));
    let default = forward(HttpRule { retry: Some(Retry::default()), ..to("c", vec![]) }).retry.unwrap();
    assert_eq!(default.retries, 2);
    assert!(!default.on.has(RetryOn::STATUS_CODES));
    assert_eq!(forward(to("c", vec![])).retry, None);
}
