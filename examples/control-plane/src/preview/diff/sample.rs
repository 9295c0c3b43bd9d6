//! Texts that look as a pattern demands.

use mesh_core::string_match::{Pattern, Regex};
use regex_syntax::hir::{Class, Hir, HirKind};

/// A text that a pattern takes, or none where none could be found.
pub(super) fn of(pattern: &Pattern) -> Option<String> {
    let text = match pattern {
        Pattern::Exact { text, .. } => text.to_string(),
        Pattern::Prefix { text, .. } => format!("{text}x"),
        Pattern::Suffix { text, .. } | Pattern::Contains { text, .. } => format!("x{text}"),
        Pattern::Regex(regex) => return of_regex(regex),
    };
    Some(text).filter(|text| pattern.is_match(text))
}

/// A path that a pattern takes.
pub(super) fn path(pattern: &Pattern) -> Option<String> {
    match pattern {
        Pattern::Suffix { text, .. } | Pattern::Contains { text, .. } => {
            let slash = if text.as_str().starts_with('/') { "/x" } else { "/" };
            Some(format!("{slash}{text}")).filter(|path| pattern.is_match(path))
        }
        _ => of(pattern).filter(|path| path.starts_with('/')),
    }
}

/// A text that an expression takes as a whole.
pub(super) fn of_regex(regex: &Regex) -> Option<String> {
    let tree = regex_syntax::parse(regex.as_str()).ok()?;
    let mut text = String::new();
    write(&tree, &mut text)?;
    Some(text).filter(|text| regex.is_match(text))
}

/// A path that a template takes.
pub(super) fn of_template(template: &str) -> String {
    let segment = |segment: &str| segment.replace("**", "x/x").replace('*', "x");
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Appends the shortest text that comes to mind; of alternatives the first.
fn write(tree: &Hir, text: &mut String) -> Option<()> {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class)?),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                write(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text))?,
        HirKind::Alternation(alternatives) => write(alternatives.first()?, text)?,
    }
    Some(())
}

/// A character of a class; one that people read, if there is one.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let has = |wanted: &char| ranges.iter().any(|(start, end)| (start..=end).contains(&wanted));
    ['x', 'a', 'A', '1'].into_iter().find(has).or_else(|| ranges.first().map(|(start, _)| *start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_the_expression_takes() {
        for expression in ["/v[12]/.*", "a+b{3}c?", "(eu|us)-[0-9]{2}", r"/items/\d+", "[^/]+", ".+", "(?i)abc", ""] {
            let regex = Regex::new(expression).unwrap();
            assert!(of_regex(&regex).is_some_and(|text| regex.is_match(&text)), "{expression}");
        }
        let nothing = Regex::new("[a&&b]").unwrap();
        assert_eq!(of_regex(&nothing), None);
    }

    #[test]
    fn a_path_of_a_template_fits_it() {
        for istio in ["/a/{*}", "/a/{**}", "/{*}/b/{**}/c"] {
            let template = mesh_core::path::PathTemplate::istio(istio).unwrap();
            assert!(template.is_match(&of_template(template.as_str())), "{istio}");
        }
    }
}
