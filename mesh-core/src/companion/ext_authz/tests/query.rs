use super::*;

#[test]
fn queries_are_changed_in_place() {
    let target: Uri = "http://shop/a?x=1&y&x=2&z=3".parse().unwrap();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    for (set, remove, expected) in [
        (&[][..], &[][..], "http://shop/a?x=1&y&x=2&z=3"),
        (&[("x", "9")], &[], "http://shop/a?x=9&y&z=3"),
        (&[("new", "a%20b")], &[], "http://shop/a?x=1&y&x=2&z=3&new=a%20b"),
        (&[("y", "")], &["x"], "http://shop/a?y=&z=3"),
        (&[("x", "1"), ("x", "2")], &["x", "y", "z"], "http://shop/a"),
        (&[], &["%78"], "http://shop/a?x=1&y&x=2&z=3"),
    ] {
        let edits =
            QueryEdits { set: pairs(set), remove: remove.iter().map(|name: &&str| (*name).to_owned()).collect() };
        assert_eq!(edits.apply(&target).unwrap(), expected);
    }
    let edits = QueryEdits { set: pairs(&[("a", "b")]), remove: vec![] };
    assert_eq!(edits.apply(&"/plain".parse().unwrap()).unwrap(), "/plain?a=b");
}

proptest! {
    /// Whatever an authorizer writes: the request that goes on has the host and length that the client sent.
    #[test]
    fn no_change_moves_the_end_of_a_message(
        names in proptest::collection::vec("(?i)(host|content-length|transfer-encoding|:path|x-a|te|\\PC{0,3})", 0..6),
        value in "\\PC{0,6}",
    ) {
        let edits: Vec<_> = names.iter().map(|name| HeaderEdit::set(name.as_str(), value.clone())).collect();
        let sent = || HeaderMap::from_iter([
            (http::header::HOST, HeaderValue::from_static("shop")),
            (http::header::CONTENT_LENGTH, HeaderValue::from_static("5")),
        ]);
        if let Ok(edits) = crate::companion::HeaderEdits::new(&edits, None, false) {
            let mut headers = sent();
            edits.apply(&mut headers);
            for name in &crate::companion::HeaderEdits::removals(&names, None).unwrap() {
                headers.remove(name);
            }
            prop_assert_eq!(headers, sent().into_iter().map(|(name, value)| (name.unwrap(), value)).collect::<HeaderMap>());
        }
    }

    /// A changed target never has more parameters than were asked for.
    #[test]
    fn no_value_brings_parameters_along(name in "\\PC{0,4}", value in "\\PC{0,6}") {
        let edits = QueryEdits { set: vec![(name, value)], remove: vec![] };
        if let Ok(uri) = edits.apply(&"/a?x=1".parse().unwrap()) {
            prop_assert!(uri.query().unwrap().split('&').count() <= 2);
            prop_assert_eq!(uri.path(), "/a");
        }
    }
}
