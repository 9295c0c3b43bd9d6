use http::{HeaderMap, HeaderValue};

use super::*;
use crate::route::AppendAction::{self, AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
use crate::string_match::Regex;

fn edit(name: &str, value: &'static str, action: AppendAction) -> HeaderEdit {
    HeaderEdit { name: name.into(), value: value.into(), action }
}

fn made(edits: &HeaderEdits) -> Vec<(String, String)> {
    let mut headers = HeaderMap::new();
    headers.append("old", HeaderValue::from_static("1"));
    headers.append("old", HeaderValue::from_static("2"));
    edits.apply(&mut headers);
    let mut made: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    made.sort();
    made
}

#[test]
fn an_action_says_what_becomes_of_a_header_that_is_there() {
    for (action, on_old, on_new) in [
        (AppendIfExistsOrAdd, &["1", "2", "v"][..], true),
        (AddIfAbsent, &["1", "2"], true),
        (OverwriteIfExistsOrAdd, &["v"], true),
        (OverwriteIfExists, &["v"], false),
    ] {
        let edits = HeaderEdits::new(&[edit("Old", "v", action), edit("new", "v", action)], None, true).unwrap();
        let mut expected: Vec<_> = on_old.iter().map(|value| ("old".to_owned(), (*value).to_owned())).collect();
        expected.extend(on_new.then(|| ("new".to_owned(), "v".to_owned())));
        expected.sort();
        assert_eq!(made(&edits), expected, "{action:?}");
    }
}

#[test]
fn what_says_where_a_message_ends_or_whom_it_is_for_is_not_changed() {
    for name in [
        ":path",
        ":authority",
        ":nonsense",
        "host",
        "Host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "http2-settings",
    ] {
        for action in [AppendIfExistsOrAdd, OverwriteIfExistsOrAdd] {
            let asked = [edit(name, "v", action), edit("x-a", "v", action)];
            let lenient = HeaderEdits::new(&asked, None, false).unwrap();
            assert_eq!(lenient, HeaderEdits::new(&asked[1..], None, true).unwrap(), "{name}");
            let strict = HeaderEdits::new(&asked, None, true);
            assert_eq!(strict, Err(EditError::Protected { name: name.into() }), "{name}");
        }
        assert_eq!(HeaderEdits::removals(&[name.into(), "x-a".into()], None).unwrap(), ["x-a"], "{name}");
    }
}

#[test]
fn what_is_no_header_is_an_error_whoever_writes_it() {
    for strict in [false, true] {
        let check = |name: &str, value: &'static str| HeaderEdits::new(&[HeaderEdit::set(name, value)], None, strict);
        for name in ["", "a b", "a\r\nb", "naïve", "a:"] {
            assert_eq!(check(name, "v"), Err(EditError::Name { name: name.into() }));
        }
        for value in ["a\r\nx-evil: 1", "a\0", "\x7f"] {
            assert_eq!(check("x-user", value), Err(EditError::Value { name: "x-user".into() }), "{value:?}");
        }
        assert!(check("x-user", "").is_ok() && check("x-user", "naïve").is_ok());
    }
    assert!(HeaderEdits::removals(&["a b".into()], None).unwrap().is_empty());
}

#[test]
fn an_answer_has_a_most_of_changes() {
    let many = |count| vec![HeaderEdit::set("a", "b"); count];
    assert!(HeaderEdits::new(&many(MAX_EDITS), None, true).is_ok());
    assert_eq!(HeaderEdits::new(&many(MAX_EDITS + 1), None, true), Err(EditError::TooMany));
    let long = |bytes| [HeaderEdit::set("a", vec![b'v'; bytes])];
    assert!(HeaderEdits::new(&long(MAX_EDIT_BYTES - 1), None, true).is_ok());
    assert_eq!(HeaderEdits::new(&long(MAX_EDIT_BYTES), None, true), Err(EditError::TooLarge));
    // Leaving one of them in would pass on what was to be taken away.
    assert_eq!(HeaderEdits::removals(&vec!["a".into(); MAX_EDITS + 1], None), Err(EditError::TooMany));
}

#[test]
fn rules_say_which_headers_may_be_changed() {
    let regex = |source| Some(Regex::new(source).unwrap());
    let rules = EditRules::default;
    for (rules, allowed) in [
        (rules(), &["x-a", "y"][..]),
        (EditRules { allow_envoy: true, ..rules() }, &["x-a", "x-envoy-b", "y"]),
        (EditRules { disallow_all: true, ..rules() }, &[]),
        (EditRules { disallow_all: true, allow_envoy: true, ..rules() }, &[]),
        (EditRules { disallow_all: true, allow: regex("x-.*"), ..rules() }, &["x-a", "x-envoy-b"]),
        (EditRules { disallow: regex("x-.*"), ..rules() }, &["y"]),
        (EditRules { disallow: regex(".*"), allow: regex(".*"), ..rules() }, &[]),
        (EditRules { allow: regex(".*"), ..rules() }, &["x-a", "x-envoy-b", "y"]),
    ] {
        let names = ["x-a", "x-envoy-b", "y", "host"];
        let all = names.map(|name| HeaderEdit::set(name, "v"));
        let expected: Vec<_> = allowed.iter().map(|name| HeaderEdit::set(*name, "v")).collect();
        let expected = HeaderEdits::new(&expected, None, true).unwrap();
        assert_eq!(HeaderEdits::new(&all, Some(&rules), false).unwrap(), expected, "{rules:?}");
        assert_eq!(HeaderEdits::removals(&names.map(str::to_owned), Some(&rules)).unwrap(), allowed, "{rules:?}");
        let rules = EditRules { disallow_is_error: true, ..rules };
        assert_eq!(HeaderEdits::new(&all, Some(&rules), false).is_err(), allowed.len() < 3, "{rules:?}");
        assert_eq!(HeaderEdits::removals(&names.map(str::to_owned), Some(&rules)).is_err(), allowed.len() < 3);
    }
}
