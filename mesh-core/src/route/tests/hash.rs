use super::*;

fn header_key(name: &str) -> HashKey {
    HashKey::Header { name: name.parse::<Field>().unwrap(), rewrite: None }
}

#[test]
fn hashes_are_those_of_every_other_implementation() {
    // XXH64 of "abc", as published with the algorithm.
    const ABC: u64 = 0x44BC_2CF5_AD77_0999;
    let list = headers(&[("h", "abc"), ("cookie", "c=abc")]);
    let mut request = get("a", "/?q=abc", &list);
    for key in [header_key("h"), HashKey::Query("q".into())] {
        assert_eq!(hash(&[policy(key)], &request), Some(ABC));
    }
    let cookie = CookieKey { name: "c".into(), lifetime: None, path: "".into(), attributes: vec![] };
    assert_eq!(hash(&[policy(HashKey::Cookie(cookie))], &request), Some(ABC));
    let both = [policy(header_key("h")), policy(header_key("none")), policy(HashKey::Query("q".into()))];
    assert_eq!(hash(&both, &request), Some(ABC.rotate_left(1) ^ ABC));
    let rewrite = Some(Substitution::new("x+", "b").unwrap());
    let rewritten = headers(&[("h", "axxxc")]);
    let key = HashKey::Header { name: "h".parse().unwrap(), rewrite };
    assert_eq!(hash(&[policy(key)], &get("a", "/", &rewritten)), Some(ABC));
    assert_eq!(hash(&[policy(HashKey::Source)], &request), None);
    request.head.source = Some("10.0.0.1".parse().unwrap());
    let text = headers(&[("h", "10.0.0.1")]);
    assert_eq!(hash(&[policy(HashKey::Source)], &request), hash(&[policy(header_key("h"))], &get("a", "/", &text)));
}

#[test]
fn the_order_of_values_does_not_count_and_terminal_ends() {
    let list = headers(&[("h", "2"), ("h", "1"), ("i", "3")]);
    let turned = headers(&[("h", "1"), ("h", "2"), ("i", "4")]);
    let key = policy(header_key("h"));
    let of = |policies: &[HashPolicy], list| hash(policies, &get("a", "/", list)).unwrap();
    assert_eq!(of(std::slice::from_ref(&key), &list), of(std::slice::from_ref(&key), &turned));
    let terminal = [HashPolicy { terminal: true, ..key.clone() }, policy(header_key("i"))];
    assert_eq!(of(&terminal, &list), of(&terminal, &turned));
    let open = [key, policy(header_key("i"))];
    assert_ne!(of(&open, &list), of(&open, &turned));
    let fallback = [HashPolicy { key: header_key("none"), terminal: true }, policy(header_key("i"))];
    assert_eq!(of(&fallback, &list), of(&[policy(header_key("i"))], &list));
}

#[test]
fn a_client_without_its_cookie_gets_one_that_hashes_alike() {
    let key = CookieKey {
        name: "c".into(),
        lifetime: Some(Duration::from_secs(60)),
        path: "/p".into(),
        attributes: vec![("SameSite".into(), "Strict".into()), ("Secure".into(), "".into())],
    };
    let policies = [policy(HashKey::Cookie(key))];
    let none = HeaderMap::new();
    let first = RequestHash::new(&policies, &get("a", "/", &none), None, 0xABCD);
    let (key, value) = first.cookies.first().unwrap();
    assert_eq!(key.set(value), "c=\"000000000000abcd\"; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly");
    let sent = headers(&[("cookie", &format!("c={value}"))]);
    let second = RequestHash::new(&policies, &get("a", "/", &sent), None, 1);
    assert_eq!((second.value, second.cookies.len()), (first.value, 0));
}
