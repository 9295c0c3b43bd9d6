use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::string_match::{Pattern, Regex};

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn path_and_query_end_where_the_next_begins() {
    let headers = HeaderMap::new();
    for (target, path, query) in [
        ("/a", "/a", None),
        ("/a?", "/a", Some("")),
        ("/a?b=c?d", "/a", Some("b=c?d")),
        ("/a?b#c", "/a", Some("b")),
        ("/a#c?b", "/a", None),
        ("", "", None),
    ] {
        let request = Request::new(&Method::GET, "a", target, &headers);
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn the_first_value_of_a_parameter_and_of_a_cookie() {
    let headers = headers(&[("cookie", "a=1; b=\"2\""), ("cookie", "c=3=4;a=5; d")]);
    let request = Request::new(&Method::GET, "a", "/?x=1&y&x=2&&z=a%20b=c", &headers);
    let parameters = ["x", "y", "z", "w", ""].map(|name| request.query_value(name));
    assert_eq!(parameters, [Some("1"), Some(""), Some("a%20b=c"), None, None]);
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(|name| request.cookie(name)),
        [Some("1"), Some("2"), Some("3=4"), None, None]
    );
}

#[test]
fn grpc_is_told_from_what_only_begins_like_it() {
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(
            Request::new(&Method::POST, "a", "/", &headers(&[("content-type", kind)])).is_grpc(),
            grpc,
            "{kind}"
        );
    }
}

/// Envoy's semantics, as the manual of `HeaderMatcher` tells them: the condition, then whether it holds for the header
/// missing, empty, `5`, `abc` and for two values `a`, `b`; plain, inverted, missing as empty, both.
#[test]
fn header_conditions_as_envoy_has_them() {
    let text = |pattern| Condition::Text(pattern);
    let regex = |source| text(Pattern::Regex(Regex::new(source).unwrap()));
    let cases = [
        (Condition::Present(true), ["01111", "10000", "11111", "00000"]),
        (Condition::Present(false), ["10000", "01111", "00000", "11111"]),
        (Condition::Range { start: -10, end: 6 }, ["00100", "01011", "00100", "11011"]),
        (Condition::Range { start: 0, end: 5 }, ["00000", "01111", "00000", "11111"]),
        (text(Pattern::exact("abc")), ["00010", "01101", "00010", "11101"]),
        (text(Pattern::exact("a,b")), ["00001", "01110", "00001", "11110"]),
        (text(Pattern::prefix("a")), ["00011", "01100", "00011", "11100"]),
        (regex("^$"), ["01000", "00111", "11000", "00111"]),
        (regex("[a-c]"), ["00000", "01111", "00000", "11111"]),
    ];
    let sent: [&[_]; 5] = [&[], &[("h", "")], &[("h", "5")], &[("h", "abc")], &[("h", "a"), ("h", "b")]];
    for (condition, expected) in cases {
        for (expected, (invert, missing_as_empty)) in
            expected.into_iter().zip([(false, false), (true, false), (false, true), (true, true)])
        {
            let matcher =
                HeaderMatch { name: "H".parse().unwrap(), condition: condition.clone(), invert, missing_as_empty };
            let given = sent.map(headers);
            let seen = given.each_ref().map(|headers| matcher.is_match(&Request::new(&Method::GET, "a", "/", headers)));
            let seen: String = seen.iter().map(|holds| if *holds { '1' } else { '0' }).collect();
            assert_eq!(seen, expected, "{matcher:?}");
            let seen = given.each_ref().map(|headers| matcher.is_match_response(headers));
            assert_eq!(seen.map(u8::from).map(|bit| bit.to_string()).concat(), expected, "{matcher:?} of a response");
        }
    }
}

#[test]
fn pseudo_headers_are_fields_and_host_is_the_authority() {
    let none = HeaderMap::new();
    let request = Request::new(&Method::PUT, "a:1", "/p?q", &none);
    for (name, value) in
        [(":method", "PUT"), (":scheme", "http"), (":authority", "a:1"), ("Host", "a:1"), (":path", "/p?q")]
    {
        assert_eq!(request.text(&name.parse().unwrap()).as_deref(), Some(value), "{name}");
    }
    assert!(":status".parse::<Field>().is_err() && "a b".parse::<Field>().is_err() && "".parse::<Field>().is_err());
}

#[test]
fn a_value_of_bytes_is_matched_where_it_is_text() {
    let mut headers = HeaderMap::new();
    headers.insert("h", HeaderValue::from_bytes(b"ab\xff").unwrap());
    let request = Request::new(&Method::GET, "a", "/", &headers);
    let is_match = |pattern| HeaderMatch::new("h".parse().unwrap(), Condition::Text(pattern)).is_match(&request);
    assert!(is_match(Pattern::prefix("ab")) && !is_match(Pattern::exact("ab")));
}

#[test]
fn values_are_matched_by_kind() {
    use serde_json::{Value, json};
    let text = |text| ValueMatch::Text(Pattern::exact(text));
    let list = |element| ValueMatch::Contains(Box::new(element));
    let number = |number| ValueMatch::Number(number);
    let values =
        [json!(null), json!(true), json!(1), json!(1.5), json!("a"), json!(["a", 1]), json!([["a"]]), json!({"a": 1})];
    for (matcher, yes) in [
        (ValueMatch::Null, vec![0]),
        (ValueMatch::Bool(true), vec![1]),
        (ValueMatch::Bool(false), vec![]),
        (number(NumberMatch::Exact(1.0)), vec![2]),
        (number(NumberMatch::Exact(f64::NAN)), vec![]),
        (number(NumberMatch::Range { start: 1.0, end: 1.5 }), vec![2]),
        (number(NumberMatch::Range { start: 1.0, end: 1.6 }), vec![2, 3]),
        (text("a"), vec![4]),
        (text("1"), vec![]),
        (ValueMatch::Present(true), (0..8).collect()),
        (ValueMatch::Present(false), vec![]),
        (list(text("a")), vec![5]),
        (list(list(text("a"))), vec![6]),
        (list(number(NumberMatch::Exact(1.0))), vec![5]),
        (ValueMatch::Or(vec![text("a"), ValueMatch::Null, list(text("a"))]), vec![0, 4, 5]),
        (ValueMatch::Or(vec![]), vec![]),
    ] {
        let seen: Vec<usize> = (0..values.len()).filter(|at| matcher.is_match(&values[*at])).collect();
        assert_eq!(seen, yes, "{matcher}");
    }
    assert_eq!(NumberMatch::Exact(0.0), NumberMatch::Exact(-0.0));
    assert!(NumberMatch::Exact(0.0).is_match(-0.0));
    let mut metadata = Metadata::default();
    metadata.set("f", "k", Value::Null);
    let present = |key: &str| MetadataMatch::new("f", vec![key.into()], ValueMatch::Present(true));
    assert!(present("k").is_match(&metadata) && !present("none").is_match(&metadata));
    assert!(MetadataMatch { invert: true, ..present("none") }.is_match(&metadata));
}
