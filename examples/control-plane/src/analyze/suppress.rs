//! What is not to be said.

use std::collections::HashMap;
use std::str::FromStr;

use crate::finding::{Code, Finding, Origin, Severity};
use crate::inventory;
use crate::world::World;

/// Istio's annotation: codes, separated by commas, or `*`.
const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Findings of one code about some objects, as `istioctl analyze --suppress` has it: `CODE=Kind name.namespace`, where `*`
/// stands for any text. `Kind namespace/name` is understood too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    object: String,
}

/// A text that suppresses nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form `CODE=Kind namespace/name`")]
#[non_exhaustive]
pub struct NotASuppression(String);

impl FromStr for Suppression {
    type Err = NotASuppression;

    fn from_str(text: &str) -> Result<Self, NotASuppression> {
        let (code, object) = text.split_once('=').ok_or_else(|| NotASuppression(text.to_owned()))?;
        let known = code == "*" || code.starts_with("MESH") || code.starts_with("IST");
        if !known || object.is_empty() {
            return Err(NotASuppression(text.to_owned()));
        }
        let object = match object.split_once(' ') {
            Some((kind, name)) if !name.contains('/') => match name.rsplit_once('.') {
                Some((name, namespace)) => format!("{kind} {namespace}/{name}"),
                None => object.to_owned(),
            },
            _ => object.to_owned(),
        };
        Ok(Self { code: code.to_owned(), object })
    }
}

impl Suppression {
    fn is_for(&self, finding: &Finding, object: &str) -> bool {
        is_code(&self.code, finding.code) && matches(&self.object, object)
    }
}

/// What the objects of a world suppress by annotation, and what somebody asked for beside.
#[derive(Debug, Default)]
pub struct Suppressions<'w> {
    /// By the object.
    annotated: HashMap<String, &'w str>,
    /// Objects by place, for findings that do not say theirs.
    objects: HashMap<&'w Origin, String>,
    asked: &'w [Suppression],
}

impl<'w> Suppressions<'w> {
    /// Those by annotation.
    #[must_use]
    pub fn of(world: &'w World) -> Self {
        Self::with(world, &[])
    }

    /// Those by annotation, and those that are asked for.
    #[must_use]
    pub fn with(world: &'w World, asked: &'w [Suppression]) -> Self {
        let mut all = Self { asked, ..Self::default() };
        for item in inventory::items(world) {
            let codes = item.metadata.annotations.get(ANNOTATION);
            if codes.is_some() || !asked.is_empty() {
                all.objects.insert(item.origin, item.id.to_string());
            }
            if let Some(codes) = codes {
                all.annotated.insert(item.id.to_string(), codes);
            }
        }
        all
    }

    /// Leaves out what is suppressed. Errors are not: what refuses an object is said.
    pub fn retain(&self, findings: &mut Vec<Finding>) {
        findings.retain(|finding| finding.severity == Severity::Error || !self.suppresses(finding));
    }

    fn suppresses(&self, finding: &Finding) -> bool {
        let object = match finding.object.as_str() {
            "" => self.objects.get(&finding.origin).map_or("", String::as_str),
            object => object,
        };
        let codes = self.annotated.get(object).copied().unwrap_or_default();
        if codes.split(',').any(|code| is_code(code.trim(), finding.code)) {
            return true;
        }
        self.asked.iter().any(|asked| asked.is_for(finding, object))
    }
}

/// Whether a text means a code: it, Istio's of the same number, or all.
fn is_code(text: &str, code: Code) -> bool {
    let number = |text: &str| text.strip_prefix("MESH").or_else(|| text.strip_prefix("IST")).map(ToOwned::to_owned);
    text == "*" || number(text).is_some_and(|number_of| number(code.0) == Some(number_of))
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("Service shop/*", "Service shop/a", true),
            ("Service shop/*", "Service shops/a", false),
            ("* shop/a", "Pod shop/a", true),
            ("*a*b*", "xaxbx", true),
            ("*a*b", "xaxbx", false),
            ("ab", "ab", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn forms() {
        let parse = |text: &str| text.parse::<Suppression>().map(|one| (one.code, one.object));
        let of = |code: &str, object: &str| Ok((code.to_owned(), object.to_owned()));
        assert_eq!(parse("IST0118=Service catalog.shop"), of("IST0118", "Service shop/catalog"));
        assert_eq!(parse("MESH0118=Service shop/catalog"), of("MESH0118", "Service shop/catalog"));
        assert_eq!(parse("MESH0118=Service *.shop"), of("MESH0118", "Service shop/*"));
        assert_eq!(parse("*=Namespace shop"), of("*", "Namespace shop"));
        for bad in ["", "MESH0118", "MESH0118=", "0118=Service a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
