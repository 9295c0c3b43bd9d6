#![allow(clippy::unwrap_used, reason = "tests")]

use std::borrow::Cow;

use http::{Request, Uri};
use proptest::prelude::*;

use super::*;

const ALL: [PathNormalization; 4] = [
    PathNormalization::NONE,
    PathNormalization::BASE,
    PathNormalization::MERGE_SLASHES,
    PathNormalization::DECODE_AND_MERGE_SLASHES,
];

fn text(how: PathNormalization, target: &str) -> String {
    match how.apply(target) {
        Ok(normalized) => normalized.target.into_owned(),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn the_normal_form_is_envoys() {
    for (sent, base) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        // Dot segments.
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../a", "/a"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/../../../c", "/c"),
        ("/a/...", "/a/..."),
        ("/a/..b/.c/d..", "/a/..b/.c/d.."),
        ("/a//../b", "/a/b"),
        ("/.", "/"),
        ("/..", "/"),
        // Dots behind something else are none, also where the path is changed for another reason.
        ("/%61../b", "/a../b"),
        ("/%61./b", "/a./b"),
        ("/a..\\b/%2e", "/a../b/"),
        // The same, escaped.
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a%2eb", "/a.b"),
        // Backslashes.
        ("/a\\b", "/a/b"),
        ("/a\\..\\b", "/b"),
        ("\\a", "Relative"),
        ("/a\\%2e%2e\\b", "/b"),
        // What needs no escape, and what needs one.
        ("/%61%41%30%2d%5f%7e", "/aA0-_~"),
        ("/%21%3b%3d%40", "/%21%3b%3d%40"),
        ("/a b\"<>^`{|}", "/a%20b%22%3C%3E%5E%60%7B%7C%7D"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/\u{1}\u{7f}", "/%01%7F"),
        ("/!$&'()*+,;=:@[]", "/!$&'()*+,;=:@[]"),
        // Escaped slashes stay in this form, in the case that they have.
        ("/a%2fb%2F%5c%5C", "/a%2fb%2F%5c%5C"),
        ("/a/..%2fb", "/a/..%2fb"),
        // Double encoding is undone once at most, and never into something to be undone again.
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/%25%32%65", "/%252e"),
        ("/%%32%65", "/%252e"),
        ("/%%32e", "/%252e"),
        ("/%2%65", "/%252e"),
        ("/%%341", "/%2541"),
        ("/100%", "/100%"),
        ("/%zz%", "/%zz%"),
        ("/%%%41", "/%%A"),
        ("/%/../a%41b", "/aAb"),
        ("/%00", "Nul"),
        ("/a\0", "Nul"),
        // Slashes in a row are other segments here.
        ("//a///b", "//a///b"),
        // The query is nobody's business.
        ("/a/../b?c=/../%2e%2e//\\d", "/b?c=/../%2e%2e//\\d"),
        ("/a?", "/a?"),
        ("/a#b", "Fragment"),
        ("/a?b#c", "Fragment"),
        ("a/b", "Relative"),
        ("?a", "/?a"),
        ("#a", "Fragment"),
        ("*", "*"),
        ("", ""),
    ] {
        assert_eq!(text(PathNormalization::BASE, sent), base, "{sent}");
    }
}

#[test]
fn levels_build_on_one_another() {
    for (sent, levels) in [
        ("/a//b", ["/a//b", "/a//b", "/a/b", "/a/b"]),
        ("//", ["//", "//", "/", "/"]),
        ("///?//", ["///?//", "///?//", "/?//", "/?//"]),
        ("/a/%2F/b", ["/a/%2F/b", "/a/%2F/b", "/a/%2F/b", "/a/b"]),
        ("/a/..%2fb", ["/a/..%2fb", "/a/..%2fb", "/a/..%2fb", "/b"]),
        ("/a/..%5Cb", ["/a/..%5Cb", "/a/..%5Cb", "/a/..%5Cb", "/b"]),
        ("/a%252fb", ["/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb"]),
        ("/a%%2f2f", ["/a%%2f2f", "/a%%2f2f", "/a%%2f2f", "/a%/2f"]),
        ("/a/../b", ["/a/../b", "/b", "/b", "/b"]),
        ("/a\\\\b?%2f", ["/a\\\\b?%2f", "/a//b?%2f", "/a/b?%2f", "/a/b?%2f"]),
    ] {
        assert_eq!(ALL.map(|how| text(how, sent)), levels, "{sent}");
    }
    for (name, level) in ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"].into_iter().zip(ALL) {
        assert_eq!(PathNormalization::istio(name), Some(level));
    }
    assert_eq!(PathNormalization::istio("DEFAULT"), Some(PathNormalization::BASE));
    assert_eq!(PathNormalization::istio("base"), None);
}

#[test]
fn escaped_slashes_are_refused_or_lead_elsewhere() {
    let reject = PathNormalization { escaped_slashes: EscapedSlashes::Reject, ..PathNormalization::BASE };
    for sent in ["/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb"] {
        assert_eq!(reject.apply(sent), Err(PathError::EscapedSlash), "{sent}");
    }
    assert_eq!(text(reject, "/a%252fb?%2f"), "/a%252fb?%2f");

    let redirect = PathNormalization { escaped_slashes: EscapedSlashes::Redirect, ..PathNormalization::BASE };
    let there = |target: &'static str| Ok(Normalized { target: Cow::Owned(target.to_owned()), redirect: true });
    assert_eq!(redirect.apply("/a%2f..%5Cb?c"), there("/b?c"));
    assert_eq!(redirect.apply("/a/../b"), Ok(Normalized { target: Cow::Borrowed("/b"), redirect: false }));
    // A browser takes `//evil` for another server.
    assert_eq!(redirect.apply("/%2fevil.example"), Err(PathError::Redirect));
    assert_eq!(redirect.apply("/%5cevil.example"), Err(PathError::Redirect));
    // Not even where backslashes stay what they are: to a browser they are slashes.
    let unnormalized = PathNormalization { normalize: false, ..redirect };
    for target in ["/%5cevil.example", "/\\evil.example/%2f", "/%2Fevil.example"] {
        assert_eq!(unnormalized.apply(target), Err(PathError::Redirect), "{target}");
    }
}

/// Spellings of `/admin` that some service takes for it.
#[test]
fn tricks_do_not_hide_a_path() {
    let strict = PathNormalization::DECODE_AND_MERGE_SLASHES;
    for trick in [
        "/admin",
        "//admin",
        "///admin",
        "/./admin",
        "/%2e/admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/x/%2e./admin",
        "/%61dmin",
        "/%61%64%6d%69%6e",
        "/%61%64%6D%69%6E",
        "\\admin",
        "/\\admin",
        "/x\\..\\admin",
        "/x/..\\admin",
        "/%2Fadmin",
        "/%2fadmin",
        "/%5Cadmin",
        "/%5cadmin",
        "/x/..%2fadmin",
        "/x%2f..%2fadmin",
        "/x%2f%2e%2e%5cadmin",
        "/x/%2e%2e%2fadmin",
        "/admin?x=/../",
        "/admin#/../x",
        "/adm%00in",
        "/admin%00",
        "/admin\0",
        "/../admin",
        "/%2e%2e/admin",
        "/x/y/../../admin",
        "/.//admin",
    ] {
        match strict.apply(trick) {
            Ok(Normalized { target, .. }) => assert_eq!(target.split('?').next(), Some("/admin"), "{trick}"),
            // Refused: nobody gets anywhere.
            Err(error) => {
                assert!(matches!(error, PathError::Fragment | PathError::Nul | PathError::Relative), "{trick}")
            }
        }
    }
    // These are other paths, for us and for whoever gets them from us: they come out as they went in, and a policy that
    // allows by path does not allow them.
    for other in
        ["/ADMIN", "/Admin", "/admin/", "/admin;x=1", "/admin;", "/%252e%252e/admin", "/%2561dmin", "/%c0%afadmin"]
    {
        assert_eq!(text(strict, other), other);
    }
    assert_eq!(text(strict, "/\u{2215}admin"), "/%E2%88%95admin");
    assert_eq!(text(strict, "/admin%20"), "/admin%20");
    assert_eq!(text(strict, "/x/%c0%ae%c0%ae/admin"), "/x/%c0%ae%c0%ae/admin");
}

#[test]
fn a_request_gets_its_normal_form() {
    let head = |uri: &str| Request::builder().uri(uri).body(()).unwrap().into_parts().0;
    let mut sent = head("https://shop.example:8443/a/../b?c=1");
    assert_eq!(PathNormalization::BASE.apply_to(&mut sent), Ok(Some(true)));
    assert_eq!(sent.uri, "https://shop.example:8443/b?c=1".parse::<Uri>().unwrap());
    assert_eq!(PathNormalization::BASE.apply_to(&mut sent), Ok(Some(false)));
    let mut bare = head("http://shop.example?q");
    assert_eq!(PathNormalization::NONE.apply_to(&mut bare), Ok(Some(true)));
    assert_eq!(bare.uri.path_and_query().unwrap().as_str(), "/?q");
    let redirect = PathNormalization { escaped_slashes: EscapedSlashes::Redirect, ..PathNormalization::BASE };
    let mut sent = head("/a%2fb");
    assert_eq!(redirect.apply_to(&mut sent), Ok(None));
    assert_eq!(sent.uri, "/a/b");
    for stays in ["*", "shop.example:443"] {
        let mut sent = head(stays);
        assert_eq!(PathNormalization::BASE.apply_to(&mut sent), Ok(Some(false)));
        assert_eq!(sent.uri, stays);
    }
    let mut sent = head("/%00");
    assert_eq!(PathNormalization::BASE.apply_to(&mut sent), Err(PathError::Nul));
}

fn settings() -> impl Strategy<Value = PathNormalization> {
    use EscapedSlashes::{Keep, Redirect, Reject, Unescape};
    let slashes = proptest::sample::select(vec![Keep, Reject, Redirect, Unescape]);
    (any::<bool>(), any::<bool>(), slashes).prop_map(|(normalize, merge_slashes, escaped_slashes)| PathNormalization {
        normalize,
        merge_slashes,
        escaped_slashes,
    })
}

/// The normal form by its definition: segments one by one, for paths without tricks in tricks.
fn plainly(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut given = path.split('/').skip(1).peekable();
    while let Some(segment) = given.next() {
        let last = given.peek().is_none();
        match segment {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

proptest! {
    #[test]
    fn once_is_enough(how in settings(), target in "/([a.%/\\\\25eEfFcC0-1?#\u{e9}]|%2e|%2f|%5C|%%|\\.\\./){0,12}") {
        if let Ok(once) = how.apply(&target) {
            let again = how.apply(&once.target);
            prop_assert_eq!(again.as_ref().map(|again| &*again.target), Ok(&*once.target));
            prop_assert!(matches!(again, Ok(Normalized { target: Cow::Borrowed(_), .. })), "nothing left to do");
            let query = |text: &str| text.split_once('?').map(|(_, query)| query.to_owned());
            prop_assert_eq!(query(&once.target), query(&target));
            if how.normalize {
                let path = once.target.split('?').next().unwrap();
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(path.is_ascii() && !path.contains('\\'));
            }
            if how.merge_slashes {
                prop_assert!(!once.target.split('?').next().unwrap().contains("//"));
            }
        }
    }

    #[test]
    fn dots_are_resolved_as_the_definition_says(path in "(/(a|b|\\.|\\.\\.|)){1,6}") {
        prop_assert_eq!(text(PathNormalization::BASE, &path), plainly(&path));
    }

    #[test]
    fn the_same_path_in_another_spelling_is_the_same(
        path in "(/[a-z]{1,3}){1,4}",
        spelled in proptest::collection::vec(0..6_u8, 16),
    ) {
        let spelling: String = path.chars().zip(spelled.iter().cycle()).map(|(character, how)| match (character, how) {
            ('/', 1) => "/./".to_owned(),
            ('/', 2) => "/x/../".to_owned(),
            ('/', 3) => "/%2e/".to_owned(),
            ('/', 4) => "//".to_owned(),
            ('/', 5) => "/%2f".to_owned(),
            ('/', _) => "/".to_owned(),
            (letter, 0..=2) => letter.to_string(),
            (letter, 3..=4) => format!("%{:02x}", letter as u8),
            (letter, _) => format!("%{:02X}", letter as u8),
        }).collect();
        prop_assert_eq!(text(PathNormalization::DECODE_AND_MERGE_SLASHES, &spelling), path, "{}", spelling);
    }

    /// A template is what the expression is that Envoy makes of it, but that wildcards stand for any character.
    #[test]
    fn a_template_is_its_expression(
        segments in proptest::collection::vec("(\\*|a|b|ab|\\{x\\}|a\\{y\\}|\\{z\\}b|\\{w=a/\\*\\})", 0..4),
        end in "(|/|/\\*\\*|/\\*\\*b|/\\*\\*/a|/\\*b)",
        path in "(/(a|b|ab|aab|\\*|)){0,6}",
    ) {
        let source = format!("/{}{}", segments.join("/"), end);
        if let Ok(template) = PathTemplate::new(&source) {
            let expression = source
                .replace("{w=a/*}", "a/*")
                .replace("{x}", "*")
                .replace("{y}", "*")
                .replace("{z}", "*")
                .replace("**", "\u{1}")
                .replace('*', "[^/]+")
                .replace('\u{1}', ".*");
            let expression = crate::string_match::Regex::new(&expression).unwrap();
            prop_assert_eq!(template.is_match(&path), expression.is_match(&path), "{} {}", source, path);
            prop_assert!(!template.is_match(&path) || path.starts_with(template.literal_prefix()));
        }
    }
}

#[test]
fn templates() {
    for (template, yes, no) in [
        ("/", &["/"][..], &["", "/a", "//"][..]),
        ("/a/*", &["/a/b", "/a/b*c", "/a/="], &["/a", "/a/", "/a/b/", "/a/b/c", "/A/b"]),
        ("/a/**", &["/a/", "/a/b", "/a/b/c/", "/a//"], &["/a", "/ab", "/b/a/"]),
        ("/**", &["/", "/a/b"], &["", "a"]),
        ("/*/b/**", &["/a/b/", "/x/b/c/d"], &["/a/b", "//b/c", "/a/c/b/"]),
        ("/**/b", &["/a/b", "/a/c/b", "//b"], &["/b", "/a/b/c"]),
        ("/**.m4s", &["/a/b.m4s", "/.m4s"], &["/a/b", "/m4s"]),
        ("/v/*.m4s", &["/v/a.m4s"], &["/v/.m4s", "/v/a/b.m4s"]),
        ("/a/", &["/a/"], &["/a", "/a/b"]),
        ("/{a}/{b=x/*}/{c=**}", &["/1/x/2/", "/1/x/2/3/4"], &["/1/x/2", "/1/y/2/3"]),
        ("/api/v{version}/{id}.json", &["/api/v2/7.json"], &["/api/v/7.json", "/api/v2/.json", "/api/2/7.json"]),
    ] {
        let parsed = PathTemplate::new(template).unwrap();
        assert_eq!(parsed.as_str(), template);
        for path in yes {
            assert!(parsed.is_match(path), "{template} {path}");
        }
        for path in no {
            assert!(!parsed.is_match(path), "{template} {path}");
        }
    }
    for template in [
        "",
        "a",
        "/a//b",
        "//",
        "/**/*",
        "/**/**",
        "/{a=**}/{b}",
        "/{a}/{a}",
        "/{}",
        "/{1}",
        "/{a",
        "/a}",
        "/{a=}",
        "/{a=b//c}",
        "/a*",
        "/a**",
        "/***",
        "/*b/c",
        "/**b/c",
        "/{a}{b}",
        "/{a{b}}",
        "/a b",
        "/a?b",
        "/a#b",
        "/\u{e9}",
        "/{aaaaaaaaaaaaaaaaa}",
        "/{a}/{b}/{c}/{d}/{e}/{f}",
        "/x{a=b/c}",
    ] {
        let error = PathTemplate::new(template).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{template}` is no template")), "{error}");
    }
}

#[test]
fn templates_in_istios_notation() {
    let template = PathTemplate::istio("/users/{*}/cart/{**}").unwrap();
    assert_eq!(template.to_string(), "/users/*/cart/**");
    for template in ["/a/{b}", "/a/*", "/a{*}", "/{**}/{*}", "/a/{*}b", "/{***}", "a/{*}"] {
        let error = PathTemplate::istio(template).unwrap_err();
        assert!(error.to_string().contains(template), "{error}");
    }
    assert!(PathTemplate::is_istio("/{*}") && PathTemplate::is_istio("/a/{**}") && !PathTemplate::is_istio("/a/*"));
}
