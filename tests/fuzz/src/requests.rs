//! What looks at requests: the normal form of paths, their templates.

use mesh_core::path::{EscapedSlashes, Normalized, PathNormalization, PathTemplate};

use crate::Target;

pub(crate) const PATH: Target = Target { name: "path", run: path, seeds: paths };
pub(crate) const TEMPLATE: Target = Target { name: "path_template", run: template, seeds: templates };

/// The normal form has no other one, has none of what was to go, and leaves the query alone.
fn path(bytes: &[u8]) {
    let Ok(target) = std::str::from_utf8(bytes) else { return };
    for escaped_slashes in
        [EscapedSlashes::Keep, EscapedSlashes::Reject, EscapedSlashes::Redirect, EscapedSlashes::Unescape]
    {
        for (normalize, merge_slashes) in [(false, false), (false, true), (true, false), (true, true)] {
            let how = PathNormalization { normalize, merge_slashes, escaped_slashes };
            let Ok(Normalized { target: once, .. }) = how.apply(target) else { continue };
            let again = how.apply(&once);
            assert!(again.is_ok_and(|again| again.target == once), "{how:?}: `{once}` is not the last");
            let (path, query) = once.split_once('?').map_or((&*once, None), |(path, query)| (path, Some(query)));
            assert_eq!(query, target.split_once('?').map(|(_, query)| query), "{how:?}");
            if normalize && path != "*" {
                assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{how:?}: `{path}`");
                assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{how:?}: `{path}`");
            }
            assert!(!merge_slashes || !path.contains("//"), "{how:?}: `{path}`");
            if escaped_slashes != EscapedSlashes::Keep {
                let lower = path.to_ascii_lowercase();
                assert!(!lower.contains("%2f") && !lower.contains("%5c"), "{how:?}: `{path}`");
            }
        }
    }
}

fn paths() -> Vec<Vec<u8>> {
    let texts = [
        "/a/b/../c/./d?q=/../",
        "/%2e%2e/%61dmin%2f%5C",
        "/x\\..\\admin//b",
        "/%%32%65%%341%zz%",
        "/caf\u{e9} {}|^`<>\"",
        "*",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// First line a template, then paths. What matches begins as the template does.
fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let source = lines.next().unwrap_or_default();
    let paths: Vec<&str> = lines.collect();
    for template in [PathTemplate::new(source), PathTemplate::istio(source)].into_iter().flatten() {
        let again = PathTemplate::new(template.as_str());
        assert!(again.is_ok_and(|again| again == template), "`{template}` is not read again");
        for path in &paths {
            assert!(!template.is_match(path) || path.starts_with(template.literal_prefix()), "{template} {path}");
        }
    }
}

fn templates() -> Vec<Vec<u8>> {
    let texts = [
        "/a/*/b/**\n/a/x/b/c/d\n/a/b",
        "/users/{*}/cart/{**}\n/users/7/cart/",
        "/{a}/{b=x/*}/v{c}.json\n/1/x/2/v3.json",
        "/**.m4s\n/a/b.m4s",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
